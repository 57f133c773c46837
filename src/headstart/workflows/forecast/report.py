"""The HTML page of a forecast."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from headstart.core.text import count
from headstart.reporting.page import Fact, environment, render_page
from headstart.reporting.plots import Key, Plot, new_figure, percent_axis
from headstart.reporting.svg import COLOURS, to_svg
from headstart.workflows.forecast.result import Forecast

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def render_forecast(found: Forecast, command: str, machine: str) -> str:
    """One self-contained HTML page: the sentence, the curve, the figures behind it."""
    fewest, most = min(found.counts.values()), max(found.counts.values())
    each = f"{count(fewest)} each" if fewest == most else f"{count(fewest)} to {count(most)} each"
    report = SimpleNamespace(
        title=f"{found.data}: forecast",
        answer=found.answer,
        more=(
            f"About {100 * found.now.level:g} in 100 bands contain the true value: the accuracy of a probe of"
            f" {found.backbone} on new photos like these. Fine-tuning may do better."
        ),
        caveats=list(found.notes),
        facts=[
            Fact("photos to learn from", count(found.photos), f"{len(found.counts)} classes, {each}"),
            Fact("now", f"{found.now.value:.3f}", f"{found.now.low:.3f} to {found.now.high:.3f}"),
            Fact("backbone", found.backbone, "frozen, with a linear head"),
        ],
        command=command,
        environment=environment(machine),
    )
    return render_page(
        "workflows/forecast/forecast.html.j2", report=report, found=found, plot=learning_curve_plot(found),
        rows=[(*row, gain) for row, gain in zip(found.rows, (None, *found.gains), strict=True)],
        measured=list(zip(found.measured.sizes, found.measured.accuracy, strict=True)),
    )  # fmt: skip


def learning_curve_plot(found: Forecast) -> Plot:
    """Accuracy over photos per class: the band, the expected line, measured accuracies, the target."""
    classes, bands = len(found.counts), found.curve_bands
    figure, axes = new_figure((9.2, 4.2))
    x = [band.photos / classes for band in bands]
    accent, sizes = COLOURS["accent"], found.measured.sizes / classes
    axes.fill_between(x, [b.low for b in bands], [b.high for b in bands], color=accent, alpha=0.16, linewidth=0)
    axes.plot(x, [b.value for b in bands], color=accent, linewidth=2)
    axes.plot(sizes, found.measured.accuracy, "o", color=COLOURS["ink"], markersize=5, zorder=3)
    for band in found.ahead:
        axes.vlines(band.photos / classes, band.low, band.high, color=accent, linewidth=2)
        axes.plot(band.photos / classes, band.value, "o", color=accent, markersize=6, zorder=3)
    axes.axvline(found.per_class, color=COLOURS["muted"], linewidth=1, linestyle=(0, (3, 3)))
    keys = [
        Key("measured", "ink", "dot"), Key("expected, with band", "accent"),
        Key(f"now: {found.per_class:,.0f} per class", "muted", "dashed"),
    ]  # fmt: skip
    if found.needed is not None:
        axes.axhline(found.needed.target, color=COLOURS["bad"], linewidth=1.2, linestyle=(0, (5, 2.5)))
        keys.append(Key(f"target {found.needed.target:g}", "bad", "dashed"))
    _photo_axis(axes, [*sizes, *(band.photos / classes for _, band in found.rows)])
    percent_axis(axes, "y")
    ends = (f"{b.value:.1%} ({b.low:.1%} to {b.high:.1%}) at {b.photos:.0f}" for _, b in found.rows)
    svg = to_svg(figure, "learning-curve", f"Accuracy by photos: {'; '.join(ends)}")
    return Plot("Learning curve", svg, tuple(keys))


def _photo_axis(axes: Axes, numbers: list[float]) -> None:
    """A logarithmic axis with round numbers of photos on it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(min(numbers) * 0.93, max(numbers) * 1.07)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.set_xlabel("photos per class (logarithmic)")
