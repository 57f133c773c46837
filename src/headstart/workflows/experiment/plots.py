"""The plots of a study or a comparison: curves per epoch, accuracies along a sweep. An arm has the colour of its place
in ``arms`` in every plot."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headstart.core.text import printable
from headstart.reporting.plots import _LETTER, FONT, SIZE, Key, Plot, epoch_axis, new_figure, percent_axis
from headstart.reporting.svg import COLOURS, SERIES, series_colour, to_svg
from headstart.workflows.experiment.rows import ArmRow, Curve, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST_NAME = 22  # letters of a point's name under an axis
_LEVEL = (0, (5, 2.5))
_TRAIN = (0, (2.5, 1.8))


def curve_plots(
    curves: Sequence[Curve], arms: Sequence[str], points: Mapping[str, str] | None = None
) -> dict[str, Plot]:
    """File stem to accuracy and loss per epoch, all arms of a point in one plot; a measure that no arm has is left out.

    ``points``: point to its heading. The accuracies of all points have one y axis, so that they can be compared.
    """
    plots: dict[str, Plot] = {}
    accuracies: list[float] = []  # all that a plot shows
    for curve in curves:
        train = () if curve.level else curve.train_accuracy
        accuracies += [*curve.val_accuracy, *train, *curve.val_accuracy_low, *curve.val_accuracy_high]
    for measure in ("accuracy", "loss"):
        for point in dict.fromkeys(curve.point for curve in curves):
            stem = f"{measure}-per-epoch{f'-{point}' if point else ''}"
            name = (points or {}).get(point, point)
            heading = f"{name}: {measure}" if name else f"{measure.capitalize()} per epoch"
            mine = [curve for curve in curves if curve.point == point]
            if plot := _curve_plot(mine, arms, measure, heading, stem, list(filter(math.isfinite, accuracies))):
                plots[stem] = plot
    return plots


def sweep_plot(sweep: Sweep, arms: Sequence[str], name: str) -> Plot:
    """Accuracy over the points: on a logarithmic axis where all are numbers above zero, else evenly spaced.

    ``name`` (unique on the page) keeps the ids of the svg apart.
    """
    points = sweep_points(sweep)
    numbers = _numbers(points)
    half = (LONGEST_NAME - 1) // 2  # of a long name the middle is left out, since names differ at their ends
    names = [p if len(p) <= LONGEST_NAME else f"{p[:half]}…{p[-half:]}" for p in map(printable, points)]
    names = [] if numbers else names
    slanted = max(map(len, names), default=0) * FONT * _LETTER + 6 > 72 * SIZE[0] * 0.85 / len(points)
    # Slanted names take room below; the plot above them keeps its height.
    figure, axes = new_figure((SIZE[0], SIZE[1] + (0.045 * max(map(len, names)) if slanted else 0.0)))
    places = dict(zip(points, numbers or [float(n) for n in range(len(points))], strict=True))
    for line in sweep.lines:
        _draw_line(axes, line, places, series_colour(arms.index(line[0].arm)))
    for arm, level in sweep.levels:
        axes.axhline(level, color=series_colour(arms.index(arm)), linewidth=1.6, linestyle=_LEVEL)
    ends = [end for line in sweep.lines for row in line for end in (row.mean, *row.band)]
    _accuracy_axis(axes, [*ends, *(level for _, level in sweep.levels)])
    if numbers:
        _number_axis(axes, points, numbers)
    else:
        _name_axis(axes, names, slanted)
    axes.set_xlabel(sweep.axis)
    words = "; ".join(
        f"{line[0].arm}: {', '.join(f'{row.mean:.1%} at {row.point}' for row in line)}" for line in sweep.lines
    )
    keys = [*(_key(line[0].arm, arms) for line in sweep.lines), *(_key(arm, arms, True) for arm, _ in sweep.levels)]
    return Plot(sweep.heading, to_svg(figure, name, f"{sweep.heading}. {words}"), tuple(keys))


def _key(arm: str, arms: Sequence[str], dashed: bool = False) -> Key:
    return Key(arm, f"series-{arms.index(arm) % SERIES + 1}", "dashed" if dashed else "solid")


def sweep_points(sweep: Sweep) -> list[str]:
    """The points of all lines, each once: numbers in order of size, names as they come."""
    points = list(dict.fromkeys(row.point for line in sweep.lines for row in line))
    numbers = _numbers(points)
    return points if numbers is None else [point for _, point in sorted(zip(numbers, points, strict=True))]


def _curve_plot(
    curves: Sequence[Curve], arms: Sequence[str], measure: str, heading: str, stem: str, accuracies: Sequence[float]
) -> Plot | None:  # fmt: skip
    """Validation as a solid line with its band, training as a thin dashed one, in the colour of the arm."""
    drawn = [(curve, _values(curve, "val", measure), _values(curve, "train", measure)) for curve in curves]
    drawn = [(curve, val, () if curve.level else train) for curve, val, train in drawn]
    drawn = [(curve, val, train) for curve, val, train in drawn if val or train]
    if not drawn:
        return None
    figure, axes = new_figure()
    longest = max((epoch for curve, _, _ in drawn if not curve.level for epoch in curve.epochs), default=1)
    keys, words = [], []
    for curve, val, train in drawn:
        _draw_curve(axes, curve, val, train, measure == "accuracy", series_colour(arms.index(curve.arm)), longest)
        keys.append(_key(curve.arm, arms, curve.level))
        last = next(v for v in reversed(val or train) if math.isfinite(v))
        words.append(f"{curve.arm} ends at {last:{'.1%' if measure == 'accuracy' else '.3g'}}")
    if measure == "accuracy":
        _accuracy_axis(axes, accuracies)
    epoch_axis(axes, longest)
    if any(train for _, _, train in drawn):
        keys.append(Key("training", "muted", "dashed"))
    svg = to_svg(figure, re.sub(r"[^a-z0-9-]+", "-", stem), f"{heading}. {'; '.join(words)}")
    return Plot(heading, svg, tuple(keys))


def _draw_curve(
    axes: Axes, curve: Curve, val: Sequence[float], train: Sequence[float], banded: bool, colour: str, longest: int
) -> None:  # fmt: skip
    low, high = (curve.val_accuracy_low, curve.val_accuracy_high) if banded else ((), ())
    epochs, marker = curve.epochs, "o" if len(curve.epochs) <= 12 else ""
    if curve.level:  # its only value, over all epochs
        epochs, marker = [min(1, longest - 1), longest], ""
        val, low, high = ([*values[-1:]] * 2 for values in (val, low, high))
    if low and high:
        axes.fill_between(epochs, low, high, color=colour, alpha=0.14 if curve.level else 0.16, linewidth=0)
    if train:
        axes.plot(epochs, train, color=colour, linewidth=1.1, linestyle=_TRAIN)
    if val:
        style = _LEVEL if curve.level else "-"
        axes.plot(epochs, val, color=colour, linewidth=2, linestyle=style, marker=marker, markersize=3)


def _values(curve: Curve, split: str, measure: str) -> Sequence[float]:
    """One line of a curve; what is not finite becomes a gap, and a line of gaps alone is none."""
    values = [v if math.isfinite(v) else math.nan for v in getattr(curve, f"{split}_{measure}")]
    return values if any(math.isfinite(v) for v in values) else ()


def _draw_line(axes: Axes, line: Sequence[ArmRow], places: Mapping[str, float], colour: str) -> None:
    """The arm at its points, from left to right, each with a dot; a band over seeds where there are several."""
    line = sorted(line, key=lambda row: places[row.point])
    x = [places[row.point] for row in line]
    if all(row.band for row in line):
        low, high = zip(*(row.band for row in line), strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        if len(x) == 1:  # a band of no width cannot be seen
            axes.vlines(x, low, high, color=colour, alpha=0.4, linewidth=4)
    axes.plot(x, [row.mean for row in line], color=colour, linewidth=2, marker="o", markersize=4)


def _accuracy_axis(axes: Axes, ends: Sequence[float]) -> None:
    """All values with a margin, never beyond 100 % by more than that."""
    margin = 0.05 * max(max(ends) - min(ends), 0.02)
    axes.set_ylim(min(ends) - margin, min(max(ends), 1.0) + margin)
    percent_axis(axes, "y")


def _number_axis(axes: Axes, points: Sequence[str], numbers: Sequence[float]) -> None:
    """A logarithmic axis, a tick at every point, and its label where it does not run into the one before."""
    from matplotlib.ticker import NullLocator

    low, high = min(numbers), max(numbers)
    air = max(math.log(high / low) * 0.04, 0.02) if high > low else 0.5
    axes.set_xscale("log")
    axes.set_xlim(low * math.exp(-air), high * math.exp(air))
    room = 72 * SIZE[0] * 0.85 / (math.log(high / low) + 2 * air)
    labels: list[tuple[float, str]] = []
    for number, point in sorted(zip(numbers, points, strict=True), reverse=True):
        width = FONT * _LETTER * len(point) + 4
        # From the right: the end of a sweep must be named, and points crowd there.
        if not labels or room * math.log(labels[-1][0] / number) > width:
            labels.append((number, point))
    axes.set_xticks(list(numbers), [dict(labels).get(number, "") for number in numbers], parse_math=False)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", length=3, color=COLOURS["line"])


def _name_axis(axes: Axes, names: Sequence[str], slanted: bool) -> None:
    """Evenly spaced names, slanted where the widest does not fit between its neighbours."""
    step = max(1, math.ceil(FONT * 1.3 * len(names) / (72 * SIZE[0] * 0.85))) if slanted else 1
    axes.set_xticks(range(0, len(names), step), names[::step], parse_math=False)
    axes.set_xlim(-0.4, len(names) - 0.6)
    if slanted:
        for label in axes.get_xticklabels():
            label.set(rotation=38, ha="right", va="top", rotation_mode="anchor")


def _numbers(points: Sequence[str]) -> list[float] | None:
    """The points as numbers, if all are finite, above zero and apart; else None."""
    try:
        numbers = [float(point) for point in points]
    except ValueError:
        return None
    apart = len(set(numbers)) == len(numbers)
    return numbers if apart and all(math.isfinite(n) and n > 0 for n in numbers) else None
