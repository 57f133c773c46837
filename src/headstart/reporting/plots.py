"""Plots of a run: training curves, a probe's grid, calibration. Drawn through matplotlib's Figure API alone: no pyplot,
no global state, no display.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.text import printable
from headstart.reporting.svg import COLOURS, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


EpochRow = Mapping[str, Any]
"""A row of history.csv: ``epoch``, ``phase`` (the part of the strategy), ``train_accuracy``, ``val_loss`` …; None for
what was not measured."""
ProbeRow = Mapping[str, Any]
"""The same of one strength ``l2`` of a probe's grid."""
# Inches of 72 units: narrow, because a plot is scaled to its column and its text must still be read on a phone.
SIZE = (4.9, 2.9)
FONT = 10


@dataclass(frozen=True)
class Key:
    """One entry of a plot's key: ``colour`` is the name of a CSS variable, ``line`` one of solid, dashed, dot."""

    label: str
    colour: str
    line: str = "solid"


_KEYS = {"train": Key("train", "muted", "dashed"), "val": Key("validation", "accent")}
_LINES: dict[str, dict[str, Any]] = {
    "train": {"color": COLOURS["muted"], "linewidth": 1.3, "linestyle": (0, (4, 2.5))},
    "val": {"color": COLOURS["accent"], "linewidth": 2.0},
}


@dataclass(frozen=True)
class Plot:
    """An SVG element, what to write above it, and what its colours mean."""

    heading: str
    svg: str
    key: tuple[Key, ...] = ()


MEASURES = {
    "map": "Mean average precision", "accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "loss": "Loss",
}  # fmt: skip
"""Columns of history.csv that are drawn, without the split before them."""


def _measures(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """``MEASURES``; accuracy has another name where photos have any number of labels."""
    of_labels = any(row.get("val_map") is not None for row in rows)
    return MEASURES | ({"accuracy": "All labels right"} if of_labels else {})


def training_curves(history: Sequence[EpochRow], best_epoch: int | None = None) -> list[Plot]:
    """Accuracy and loss per epoch, train and val, a ring on the best epoch; a measure that no epoch has is left out."""
    kept = [i for i, row in enumerate(history, 1) if row.get("epoch", -1) == best_epoch]
    ring = (kept[-1], "kept") if kept else None

    def dress(axes: Axes) -> None:
        _mark_phases(axes, history)
        epoch_axis(axes, len(history))

    return _curves(history, "curve", _measures(history), ring, dress, dots=len(history) <= 12)


def probe_path(rows: Sequence[ProbeRow], chosen_l2: float | None = None) -> list[Plot]:
    """Accuracy and loss over the grid of L2, weakest first; the chosen strength carries a ring."""
    ordered = sorted(rows, key=lambda row: row["l2"])
    names = [f"{float(format(row['l2'], '.2g')):g}".replace("e-0", "e-") for row in ordered]  # 1e-5, 0.01, 320
    chosen = [i for i, row in enumerate(ordered) if chosen_l2 is not None and math.isclose(row["l2"], chosen_l2)]
    ring = (chosen[0] + 1, f"chosen: {names[chosen[0]]}") if chosen else None

    def dress(axes: Axes) -> None:
        # Evenly spaced: grids are geometric, and one that begins with 0 has no place on a logarithmic axis.
        step = max(1, math.ceil(len(names) / 6))
        axes.set_xticks(range(1, len(names) + 1, step), names[::step])
        axes.set_xlabel("L2")

    headings = {measure: f"{kind} over L2 strength" for measure, kind in _measures(rows).items()}
    return _curves(ordered, "probe", headings, ring, dress, dots=True)


def _curves(
    rows: Sequence[Mapping[str, Any]],
    name: str,
    headings: Mapping[str, str],
    ring: tuple[int, str] | None,
    dress: Callable[[Axes], None],
    dots: bool,
) -> list[Plot]:
    """A plot per measure that any row has, train and val; ``ring``: which row is marked, from 1, and its label."""
    plots = []
    places = range(1, len(rows) + 1)  # phases may each count their epochs from one
    for measure, heading in headings.items():
        lines = {split: [_number(row.get(f"{split}_{measure}")) for row in rows] for split in ("train", "val")}
        lines = {split: values for split, values in lines.items() if any(map(math.isfinite, values))}
        if not lines:
            continue
        figure, axes = new_figure()
        for split, values in lines.items():
            axes.plot(places, values, marker="o" if dots else "", markersize=3, **_LINES[split])
        dress(axes)
        if measure != "loss":
            percent_axis(axes, "y")
            low, high = axes.get_ylim()
            axes.set_ylim(low, min(high, 1 + (1 - low) / 20))  # nothing lies above 100 %
        keys = [_KEYS[split] for split in lines]
        if ring and "val" in lines:
            axes.plot(
                ring[0], lines["val"][ring[0] - 1], "o", color=COLOURS["bad"], markersize=9, markerfacecolor="none",
                markeredgewidth=1.6,
            )  # fmt: skip
            keys.append(Key(ring[1], "bad", "ring"))
        ends = ", ".join(f"{split} from {values[0]:.3g} to {values[-1]:.3g}" for split, values in lines.items())
        plots.append(Plot(heading, to_svg(figure, f"{name}-{measure}", f"{heading}: {ends}"), tuple(keys)))
    return plots


def reliability(calibration: dict[str, Any], of_labels: bool = False) -> Plot:
    """Accuracy by confidence (a reliability diagram): a dot per bin, its area growing with its photos. Faint: the same
    before temperature scaling, where ``calibration`` has ``before``. ``of_labels``: the share of photos that have a
    label by its probability, for all labels together.
    """
    of, by, one, hit = ("share with the label", "probability", "label", "there") if of_labels else _ONE_CLASS
    figure, axes = new_figure((4.9, 3.6))
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=1, linestyle=(0, (3, 3)))
    key = [Key(f"a bin of {one}s", "accent", "dot"), Key("ideal", "muted", "dashed")]
    if before := calibration.get("before"):
        _bins(axes, before["bins"], color="none", edgecolor=COLOURS["muted"], linewidth=1.1, zorder=2, alpha=0.75)
        key.insert(1, Key("before scaling", "muted", "ring"))
    colours = {"color": COLOURS["accent"], "edgecolor": COLOURS["paper"]}
    bins = _bins(axes, calibration["bins"], **colours, linewidth=0.8, zorder=3)
    axes.set(xlim=(-0.02, 1.04), ylim=(-0.02, 1.06), xlabel=by, ylabel=of)
    percent_axis(axes, "x")
    percent_axis(axes, "y")
    dots = (f"{b['count']} {one}s at {b['confidence']:.0%} {by}: {b['accuracy']:.0%} {hit}" for b in bins)
    svg = to_svg(figure, "reliability", f"Reliability diagram. {'; '.join(dots)}")
    return Plot(f"{by[:1].upper()}{by[1:]} and {of}", svg, tuple(key))


_ONE_CLASS = ("accuracy", "confidence", "photo", "correct")


def _bins(axes: Axes, every: Sequence[dict[str, Any]], **style: Any) -> list[dict[str, Any]]:
    """A dot for each bin that holds photos; returns those."""
    bins = [b for b in every if b["count"]]
    most = max(b["count"] for b in bins)
    areas = [16 + 120 * b["count"] / most for b in bins]
    axes.scatter([b["confidence"] for b in bins], [b["accuracy"] for b in bins], s=areas, **style)
    return bins


def new_figure(size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """An empty plot in the page's style: no box, faint horizontal lines, muted labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(COLOURS["line"])
    axes.tick_params(length=0, labelsize=FONT, labelcolor=COLOURS["muted"], pad=4)
    axes.xaxis.label.set(color=COLOURS["muted"], fontsize=FONT)
    axes.yaxis.label.set(color=COLOURS["muted"], fontsize=FONT)
    axes.grid(axis="y", color=COLOURS["line"], linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def percent_axis(axes: Axes, which: str) -> None:
    """Labels of shares as percent; no label beyond 100 %."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %" if share <= 1 + 1e-9 else ""))


def epoch_axis(axes: Axes, epochs: int) -> None:
    """Whole numbers only, whatever the number of epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(1 - 0.02 * epochs, epochs * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(min(8, max(1, epochs)), integer=True))
    axes.set_xlabel("epoch")


def _mark_phases(axes: Axes, history: Sequence[EpochRow]) -> None:
    """A thin line and a name where one part of the strategy ends and the next begins."""
    phases = [row.get("phase", "") for row in history]
    starts = [i for i, phase in enumerate(phases) if i == 0 or phase != phases[i - 1]]
    if len(starts) < 2:
        return
    for start in starts:
        if start:
            axes.axvline(start + 0.5, color=COLOURS["line"], linewidth=1)
        axes.annotate(
            phases[start], (max(start + 0.5, 1), 1.0), xycoords=("data", "axes fraction"), xytext=(3, 2),
            textcoords="offset points", fontsize=FONT - 1, color=COLOURS["muted"],
        )  # fmt: skip


def _number(value: Any) -> float:
    """NaN, which matplotlib leaves blank, for what was not measured or is not finite."""
    return math.nan if value is None or not math.isfinite(value) else float(value)


_LETTER = 0.56  # width of a letter, in font sizes, on the safe side
_NARROW, _WIDE = frozenset("fijlrt.,:;'|()[]-/ 1I"), frozenset("mwMWQO%@…")


def standalone(plot: Plot) -> str:
    """The plot as an SVG file: heading and key in the picture, colours of the light scheme, a white ground."""
    opening, body = plot.svg.split(">", 1)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', opening)
    label = re.search(r'aria-label="[^"]*"', opening)
    if box is None:
        raise ValueError("the plot's svg has no viewBox from 0 0")
    margin, scale = 12.0, 1.7
    width, height = float(box[1]) + 2 * margin, float(box[2])
    head, top = _picture_head(plot, margin, width - margin)
    total = top + height + margin
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width * scale:.0f}" height="{total * scale:.0f}" viewBox="0 0 {width:g} {total:g}" '
        f'font-family="Helvetica, Arial, Liberation Sans, sans-serif" role="img" {label.group() if label else ""}>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{head}'
        f'<g transform="translate({margin:g} {top:g})" stroke-linejoin="round">'
        f"{body.strip().removesuffix('</svg>')}</g></svg>\n"
    )
    return re.sub(r"var\(--([\w-]+)\)", lambda match: _light_scheme().get(match[1], match[0]), text)


def _picture_head(plot: Plot, left: float, right: float) -> tuple[str, float]:
    """Heading and key as SVG, wrapped to the width, and where the plot below them begins."""
    size = min(13.0, 13.0 * (right - left) / max(1.0, 1.08 * _width(plot.heading, 13.0)))  # bold is wider
    style = f'font-size="{size:.3g}" font-weight="600" fill="var(--ink)"'
    parts = [f'<text x="{left:g}" y="22" {style}>{escape(printable(plot.heading))}</text>']
    x, y = left, 40.0
    for key in plot.key:
        width = 24 + _width(key.label, 9.5)
        if x > left and x + width > right:
            x, y = left, y + 14
        dash = ' stroke-dasharray="4 2.5"' if key.line == "dashed" else ""
        parts.append(
            f'<path d="M{x:g} {y - 3:g}h14" stroke="var(--{key.colour})" stroke-width="2"{dash}/>'
            f'<text x="{x + 18:g}" y="{y:g}" font-size="9.5" fill="var(--muted)">{escape(printable(key.label))}</text>'
        )
        x += width + 10
    return "".join(parts), y + 8


def _width(text: str, size: float) -> float:
    """About how wide a sans-serif font sets the text: a little more than most do."""
    return size * sum(0.32 if letter in _NARROW else 0.88 if letter in _WIDE else _LETTER for letter in text)


@lru_cache(maxsize=1)
def _light_scheme() -> dict[str, str]:
    """CSS variable → colour of the light scheme, which comes first in the page's style; the background is white."""
    style = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    colours = re.findall(r"--([\w-]+): (#[0-9a-fA-F]{6})\b", style[: style.index("@media")])
    return {**dict(colours), "paper": "#ffffff"}
