"""The page of a comparison. In: ``CompareReport``. Out: the text of its report.html."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from headstart.reporting.page import percent, points, render_page
from headstart.reporting.samples import sample_rows
from headstart.reporting.scale import Scale, nice_scale
from headstart.reporting.svg import SERIES
from headstart.workflows.experiment.compare_plots import arm_curves
from headstart.workflows.experiment.compare_rows import ArmRow, CompareReport, DifferenceRow


def render_compare(report: CompareReport) -> str:
    """One self-contained HTML page: per group every arm on one line of accuracy, the differences, the curves."""
    colours = {arm: f"series-{index % SERIES + 1}" for index, arm in enumerate(report.arms)}
    return render_page(
        "workflows/experiment/compare.html.j2",
        report=report,
        colours=colours,
        seeds=max((len(row.values) for row in report.rows), default=0),
        accuracy=_accuracy(report.rows, report.groups),
        differences=_differences(report.differences),
        curves=arm_curves(report.curves, report.groups, report.arms),
        samples=sample_rows(report.samples, report.names),
    )


def _accuracy(rows: Sequence[ArmRow], groups: Sequence[str]) -> dict[str, Any] | None:
    """Every arm as a dot with its interval and its seeds, all groups on one scale so that they can be compared too."""
    if not rows:
        return None
    ends = [value for row in rows for value in (row.mean, row.low, row.high, *row.values) if value is not None]
    scale = nice_scale(ends)
    shown = {group: [_arm(row, scale) for row in rows if row.group == group] for group in groups}
    return {"ticks": _ticks(scale, percent), "groups": shown}


def _arm(row: ArmRow, scale: Scale) -> dict[str, Any]:
    return {"row": row, "seeds": [scale.place(value) for value in row.values], **_places(row, scale)}


def _differences(rows: Sequence[DifferenceRow]) -> dict[str, Any] | None:
    """Every difference with its interval on one scale that holds zero; ``settled`` where the interval does not."""
    if not rows:
        return None
    ends = [value for row in rows for value in (row.mean, row.low, row.high) if value is not None]
    scale = nice_scale([0.0, *ends])
    shown: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        settled = row.low is not None and row.high is not None and not row.low <= 0 <= row.high
        shown.setdefault(row.group, []).append({"row": row, "settled": settled, "seeds": [], **_places(row, scale)})
    return {"ticks": _ticks(scale, points), "zero": scale.place(0.0), "groups": shown}


def _places(row: ArmRow | DifferenceRow, scale: Scale) -> dict[str, Any]:
    """Where dot and interval go, in percent of the scale; ``left`` and ``width`` are None for one run."""
    left = None if row.low is None else scale.place(row.low)
    right = None if row.high is None else scale.place(row.high)
    width = None if left is None or right is None else round(right - left, 3)
    return {"dot": scale.place(row.mean), "left": left, "width": width}


def _ticks(scale: Scale, label: Callable[[float, int], str]) -> list[tuple[float, str]]:
    """(place in percent, label) of every tick, all with the decimals that the finest of them needs."""
    digits = 0 if all(math.isclose(100 * tick, round(100 * tick), abs_tol=1e-6) for tick in scale.ticks) else 1
    return [(scale.place(tick), label(tick, digits)) for tick in scale.ticks]
