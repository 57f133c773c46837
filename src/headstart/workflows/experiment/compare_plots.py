"""The curves of a comparison. In: ``Curve`` per arm and group. Out: one ``Plot`` per group, arms overlaid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.reporting.plots import Key, Plot, epoch_axis, new_figure, percent_axis
from headstart.reporting.svg import SERIES, series_colour, to_svg
from headstart.workflows.experiment.compare_rows import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def arm_curves(curves: Sequence[Curve], groups: Sequence[str], arms: Sequence[str]) -> list[Plot]:
    """Validation accuracy by epoch, a plot per group, all with one y axis; an arm keeps its colour throughout."""
    if not curves:
        return []
    ends = [value for curve in curves for line in (curve.mean, curve.low or (), curve.high or ()) for value in line]
    margin = 0.04 * max(max(ends) - min(ends), 0.02)
    limits = (min(ends) - margin, min(max(ends), 1.0) + margin)
    order = [*groups, *dict.fromkeys(curve.group for curve in curves if curve.group not in groups)]
    found = [(group, [curve for curve in curves if curve.group == group]) for group in order]
    return [_group_plot(group, members, arms, limits, n) for n, (group, members) in enumerate(found) if members]


def _group_plot(
    group: str, curves: Sequence[Curve], arms: Sequence[str], limits: tuple[float, float], number: int
) -> Plot:
    figure, axes = new_figure()
    longest = max((curve.epochs[-1] for curve in curves if len(curve.mean) > 1), default=1)
    keys = []
    for curve in curves:
        place = arms.index(curve.arm) if curve.arm in arms else len(arms)
        _draw(axes, curve, series_colour(place), longest)
        keys.append(Key(curve.arm, f"series-{place % SERIES + 1}", "solid" if len(curve.mean) > 1 else "dashed"))
    axes.set_ylim(*limits)
    percent_axis(axes, "y")
    epoch_axis(axes, int(longest))
    words = "; ".join(f"{curve.arm} ends at {curve.mean[-1]:.1%}" for curve in curves)
    svg = to_svg(figure, f"arms-{number}", f"Validation accuracy by epoch. {words}")
    return Plot(group or "Validation accuracy", svg, tuple(keys))


def _draw(axes: Axes, curve: Curve, colour: str, longest: float) -> None:
    """A line with its band; an arm of one value as a level line over all epochs."""
    level = len(curve.mean) == 1
    epochs = [min(1, longest), longest] if level else list(curve.epochs)
    mean, low, high = (list(line) * (2 if level else 1) for line in (curve.mean, curve.low or (), curve.high or ()))
    if low and high:
        axes.fill_between(epochs, low, high, color=colour, alpha=0.14, linewidth=0)
    axes.plot(epochs, mean, color=colour, linewidth=2, linestyle=(0, (4, 2.5)) if level else "-")
