"""The page of a study or a comparison, and its plots as pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from headstart.core.text import count
from headstart.reporting.page import interval, p_value, percent, points, render_page
from headstart.reporting.plots import Plot, standalone
from headstart.reporting.samples import sample_rows
from headstart.reporting.scale import Scale, nice_scale
from headstart.reporting.svg import SERIES
from headstart.workflows.experiment.plots import curve_plots, sweep_plot, sweep_points
from headstart.workflows.experiment.rows import ArmRow, Curve, DifferenceRow, ExperimentReport, Sweep

SWEPT = 4  # an arm with more points than this has its rows behind a click: the plot of the sweep tells them better
_UNITS = ((1, "s"), (60, "min"), (3600, "h"))


def render_experiment(report: ExperimentReport) -> str:
    """One self-contained HTML page: accuracies, differences, curves, sweeps, and the command that makes them again."""
    return render_page(
        "workflows/experiment/experiment.html.j2",
        report=report,
        colours={arm: f"series-{index % SERIES + 1}" for index, arm in enumerate(report.arms)},
        figures=_figures(report),
        differences=_differences(report),
        curves=list(curve_plots(report.curves, report.arms, report.points).values()),
        epochs=_best_epochs(report.curves),
        bands=any(curve.val_accuracy_low and curve.val_accuracy_high for curve in report.curves),
        trained=any(not curve.level and (curve.train_accuracy or curve.train_loss) for curve in report.curves),
        levels=any(curve.level for curve in report.curves),
        sweeps=[{"plot": plot, **_sweep_table(sweep)} for sweep, plot in _sweep_plots(report)],
        samples=sample_rows(report.samples, report.names),
    )


def page_pictures(report: ExperimentReport) -> dict[str, str]:
    """File stem ("accuracy-per-epoch", "sweep-shots") → SVG file, of every plot of the page."""
    pictures = {stem: standalone(plot) for stem, plot in curve_plots(report.curves, report.arms, report.points).items()}
    again = 1
    for sweep, plot in _sweep_plots(report):
        stem = base = f"sweep-{re.sub(r'[^a-z0-9]+', '-', sweep.key.lower()).strip('-') or 'points'}"
        while stem in pictures:  # two sweeps over the same thing
            again += 1
            stem = f"{base}-{again}"
        pictures[stem] = standalone(plot)
    return pictures


def in_time(seconds: float) -> str:
    """38 → "38 s", 310 → "5.2 min", 9000 → "2.5 h"; nothing where no time was taken."""
    if not seconds or not math.isfinite(seconds):
        return ""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds < 99.5 * size), _UNITS[-1])
    return f"{seconds / size:.{1 if seconds < 9.95 * size else 0}f} {unit}"


def expectation(row: ArmRow) -> str:
    """ "below what is expected (90–97 %)", or nothing where the mean lies within or nothing is expected."""
    if row.expected is None or not math.isfinite(row.mean):
        return ""
    low, high = row.expected
    if low <= row.mean <= high:
        return ""
    side = "below" if row.mean < low else "above"
    return f"{side} what is expected ({interval(low, high, _digits(row.expected))})"


def _figures(report: ExperimentReport) -> dict[str, Any] | None:
    """The table of arms, all on one scale of accuracy; arms of a long sweep in tables of their own, on one of theirs:
    it reaches down to where few photos lead, and would crowd the others together."""
    if not report.rows:
        return None
    long = {key: rows for key, rows in _swept(report.rows).items() if len(rows) > SWEPT}
    shown = [row for row in report.rows if _key(row) not in long or not row.point or _is_published(row)]
    images = list(dict.fromkeys(row.images for row in report.rows if row.images))
    swept = [row for rows in long.values() for row in rows]
    return {
        "table": _table(shown, _scale(shown), {**_columns(shown), "images": len(images) > 1}, report.points),
        "swept": [
            {
                **_table(rows, _scale(swept), {**_columns(swept), "images": False}),
                "arm": arm,
                "images": name if len(images) > 1 else "",
            }
            for (arm, name), rows in long.items()
        ],
        "images": images[0] if len(images) == 1 else "",
        "seeds": max(len(row.values) for row in report.rows),
        "published": any(_is_published(row) for row in report.rows),
        "methods": _methods(report.rows),
        "each": _each_seed(report),
    }


def _each_seed(report: ExperimentReport) -> list[tuple[str, str, list[str]]]:
    """(arm and point, mean, accuracy per run) of every row with several runs."""
    rows = [row for row in report.rows if len(row.values) > 1]
    names = (" · ".join(filter(None, (row.arm, report.points.get(row.point, row.point)))) for row in rows)
    return [
        (name, percent(_finite(row.mean)), [percent(_finite(value)) for value in row.values])
        for name, row in zip(names, rows, strict=True)
    ]


def _scale(rows: Sequence[ArmRow]) -> Scale:
    """The axis that holds all that these rows plot."""
    ends = [end for row in rows for end in (row.mean, row.low, row.high, row.published, *row.values)]
    held = [end for end in map(_finite, ends) if end is not None]
    return nice_scale(held or [0.0, 1.0], 4)


def _swept(rows: Sequence[ArmRow]) -> dict[tuple[str, str], list[ArmRow]]:
    """(arm, image set) → its rows at the points of a sweep."""
    found: dict[tuple[str, str], list[ArmRow]] = {}
    for row in rows:
        if row.point:
            found.setdefault(_key(row), []).append(row)
    return found


def _key(row: ArmRow) -> tuple[str, str]:
    return row.arm, row.images


def _is_published(row: ArmRow) -> bool:
    return row.published is not None or bool(row.published_words)


def _table(
    rows: Sequence[ArmRow], scale: Scale, columns: dict[str, bool], heads: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Lines of one table; a setting that all of them share is shown once. ``heads``: point to what stands above its
    first line.
    """
    settings = {row.setting for row in rows}
    shared = settings.pop() if len(rows) > 1 and len(settings) == 1 else ""
    firsts = {row.point: n for n, row in reversed(list(enumerate(rows)))}
    return {
        "lines": [
            _line(row, scale, "" if shared else row.setting)
            | {"head": (heads or {}).get(row.point, "") if firsts[row.point] == n else ""}
            for n, row in enumerate(rows)
        ],
        "setting": shared,
        "ticks": _ticks(scale, percent),
        "has": columns,
    }


def _columns(rows: Sequence[ArmRow]) -> dict[str, bool]:
    """Which columns hold anything."""
    return {
        "published": any(_is_published(row) for row in rows),
        "seconds": any(in_time(row.seconds) for row in rows),
        "judged": any(row.judged for row in rows),
    }


def _line(row: ArmRow, scale: Scale, setting: str) -> dict[str, Any]:
    low, high, published = _finite(row.low), _finite(row.high), _finite(row.published)
    both = low is not None and high is not None
    return {
        "row": row,
        "setting": setting,
        "mean": percent(_finite(row.mean)),
        "interval": interval(low, high) if both else "",
        "one": len(row.values) == 1,
        "published": row.published_words or ("" if published is None else percent(published)),
        "mark": None if published is None else scale.place(published),
        "seeds": [scale.place(value) for value in row.values if math.isfinite(value)] if len(row.values) > 1 else [],
        "time": in_time(row.seconds),
        "remark": expectation(row),
        **_places(row.mean, low, high, scale),
    }


def _methods(rows: Sequence[ArmRow]) -> list[tuple[str, str]]:
    """(how intervals were found, for which arms: nothing where it is one way for all)."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.method:
            found.setdefault(row.method, []).append(row.arm)
    if len(found) == 1:
        return [(next(iter(found)), "")]
    return [(method, ", ".join(dict.fromkeys(arms))) for method, arms in found.items()]


def _differences(report: ExperimentReport) -> dict[str, Any] | None:
    """Every difference with its interval on one scale that holds zero; ``settled`` where the interval does not."""
    rows = report.differences
    ends = [end for row in rows for end in map(_finite, (row.mean, row.low, row.high)) if end is not None]
    if not rows or not ends:
        return None
    scale = nice_scale([0.0, *ends])
    shown: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        low, high = _finite(row.low), _finite(row.high)
        settled = low is not None and high is not None and not low <= 0 <= high
        line = {"row": row, "settled": settled, "words": _difference_words(row, report), "seeds": [], "mark": None}
        shown.setdefault(_group(row, report), []).append({**line, **_places(row.mean, low, high, scale)})
    return {
        "ticks": _ticks(scale, points),
        "zero": scale.place(0.0),
        "groups": shown,
        "photos": any(row.over == "photos" for row in rows),
    }


def _group(row: DifferenceRow, report: ExperimentReport) -> str:
    """Image set and point of a difference, the point with the name of what was varied."""
    axis = next((s.axis for s in report.sweeps if any(row.point in line.points for line in s.lines)), "")
    point = report.points.get(row.point) or (f"{axis}: {row.point}" if axis and row.point else row.point)
    return " · ".join(part for part in (row.images, point) if part)


def _difference_words(row: DifferenceRow, report: ExperimentReport) -> str:
    """Verdict with its p, then how many photos only one of the two classified correctly, then the method."""
    p = p_value(_finite(row.p_value))
    verdict = f"{row.verdict} ({p})" if row.verdict and p else row.verdict or p
    counts = ""
    if row.only_first is not None and row.only_second is not None:
        judged = _judged(row, report.rows)
        photos = f"of {count(judged)} photos, " if judged else ""
        counts = f"{photos}{count(row.only_first)} correct only by {row.first}, "
        counts += f"{count(row.only_second)} only by {row.second}"
    return " · ".join(part for part in (verdict, counts, row.method or f"over {row.over}") if part)


def _judged(row: DifferenceRow, rows: Sequence[ArmRow]) -> int:
    """The number of photos that both arms were tested on; 0 where it is not known or not the same."""
    same = [other for other in rows if (other.images, other.point) == (row.images, row.point)]
    found = {other.judged for other in same if other.arm in (row.first, row.second)}
    return found.pop() if len(found) == 1 else 0


def _best_epochs(curves: Sequence[Curve]) -> list[tuple[str, str, str, str]]:
    """(arm, best validation accuracy, its epoch, the accuracy at the end) of every arm with epochs."""
    found = []
    for curve in curves:
        values = {epoch: v for epoch, v in zip(curve.epochs, curve.val_accuracy, strict=False) if math.isfinite(v)}
        if values and not curve.level:
            best = max(values, key=lambda epoch: values[epoch])
            name = f"{curve.arm} · {curve.point}" if curve.point else curve.arm
            found.append((name, percent(values[best]), str(best), percent(values[max(values)])))
    return found


def _sweep_plots(report: ExperimentReport) -> list[tuple[Sweep, Plot]]:
    drawn = [(sweep, sweep_plot(sweep, report.arms, f"sweep-{n}")) for n, sweep in enumerate(report.sweeps)]
    return [(sweep, plot) for sweep, plot in drawn if plot is not None]


def _sweep_table(sweep: Sweep) -> dict[str, Any]:
    """The plotted figures: a row per point, a column per arm; the level lines below."""
    found = [_sweep_cells(sweep, n) for n in range(len(sweep.lines))]
    rows = [(point, [cells.get(point, ("–", "")) for cells in found]) for point in sweep_points(sweep)]
    levels = [(label, percent(level)) for label, level in sweep.levels if math.isfinite(level)]
    return {"axis": sweep.axis, "arms": [line.arm for line in sweep.lines], "rows": rows, "levels": levels}


def _sweep_cells(sweep: Sweep, number: int) -> dict[str, tuple[str, str]]:
    """Point → (mean, interval) of one line."""
    line = sweep.lines[number]
    banded = bool(line.low and line.high)
    ends = list(zip(map(_finite, line.low), map(_finite, line.high), strict=True)) if banded else []
    cells = {}
    for n, (point, mean) in enumerate(zip(line.points, line.mean, strict=True)):
        low, high = ends[n] if banded else (None, None)
        cells[point] = (percent(_finite(mean)), interval(low, high) if low is not None and high is not None else "")
    return cells


def _places(mean: float, low: float | None, high: float | None, scale: Scale) -> dict[str, Any]:
    """Where dot and interval go, in percent of the scale; None: there is none."""
    left = None if low is None else scale.place(low)
    right = None if high is None else scale.place(high)
    width = None if left is None or right is None else round(right - left, 3)
    return {"dot": scale.place(mean) if math.isfinite(mean) else None, "left": left, "width": width}


def _ticks(scale: Scale, label: Callable[[float, int], str]) -> list[tuple[float, str]]:
    """(place in percent, label) of every tick, all with the decimals that the finest of them needs."""
    return [(scale.place(tick), label(tick, _digits(scale.ticks))) for tick in scale.ticks]


def _digits(shares: Iterable[float]) -> int:
    """No decimal where all shares are whole percents, else one."""
    return 0 if all(math.isclose(100 * share, round(100 * share), abs_tol=1e-6) for share in shares) else 1


def _finite(value: float | None) -> float | None:
    """The value if it is a number that can be shown."""
    return value if value is not None and math.isfinite(value) else None
