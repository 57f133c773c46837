"""The page of a study or a comparison: what it shows, from the results; its HTML; and its plots as pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.files import file_name, write_text
from headstart.core.text import count, duration, plural
from headstart.data.sources.named import display_name
from headstart.evaluation.metrics import format_report
from headstart.evaluation.over_seeds import MIN_SEEDS
from headstart.inference.model_files import read_description
from headstart.reporting.page import Fact, environment, interval, p_value, percent, points, render_page
from headstart.reporting.plots import Plot, standalone
from headstart.reporting.samples import sample_rows, samples_by_class
from headstart.reporting.scale import Scale, nice_scale
from headstart.reporting.svg import SERIES
from headstart.workflows.experiment import analysis
from headstart.workflows.experiment.plots import curve_plots, sweep_plot, sweep_points
from headstart.workflows.experiment.recipe import Recipe
from headstart.workflows.experiment.results import JobResult, Study, group_name
from headstart.workflows.experiment.rows import ArmRow, Curve, DifferenceRow, ExperimentReport, Sweep, TextBlock

if TYPE_CHECKING:
    from headstart.data.loading import LoadedImages
    from headstart.workflows.experiment.worker import Library

MOST_CLASSES = 20
"""Of more classes no classification report is shown."""
SWEPT = 4
"""The rows of an arm with more points than this are behind a click: the plot of the sweep shows them better."""


def write_page(report: ExperimentReport, out: Path, pictures: bool = False) -> None:
    """Write report.html, and its plots as pictures/*.svg."""
    for name, svg in page_pictures(report).items() if pictures else ():
        write_text(out / "pictures" / f"{name}.svg", svg)
    write_text(out / "report.html", render_experiment(report))


def study_report(study: Study, command: str, library: Library, machine: str) -> ExperimentReport:
    """The page of a study."""
    recipe, results, rows = study.recipe, study.results, study.rows
    how = read_description(results[0].job.folder)["preprocessing"]
    photos = library.photos(results[0].job.arm.images, how["resize"], how["interpolation"])  # as the first arm saw them
    time = Fact("training time", duration(sum(r.seconds for r in results)), machine)
    return _report(
        recipe, results, samples_by_class(photos), machine, [time], title=recipe.title, rows=rows,
        answer=study.answer, command=command, more=recipe.about, differences=study.differences, texts=_texts(results),
        curves=analysis.curves(recipe, results), sweeps=analysis.sweeps(recipe, rows),
    )  # fmt: skip


def comparison_report(
    recipe: Recipe, results: Sequence[JobResult], answer: str, command: str, photos: LoadedImages,
    facts: Sequence[Fact], machine: str,
) -> ExperimentReport:  # fmt: skip
    """The page of a comparison: everything point by point ("10 per class")."""
    points = [point for point, _ in recipe.arms[0].points()]
    rows = analysis.by_point(recipe, analysis.table(recipe, results))
    return _report(
        recipe, results, samples_by_class(photos), machine, facts, rows=rows, answer=answer, command=command,
        title=f"{photos.manifest.name}: {', '.join(arm.name for arm in recipe.arms)}", kind="comparison",
        points={point: group_name(point) for point in points if point},
        differences=analysis.by_point(recipe, analysis.differences(recipe, results)),
        curves=analysis.by_point(recipe, analysis.curves(recipe, results, swept=True)),
        sweeps=analysis.sweeps(recipe, rows) if len(points) > 1 else (),
    )  # fmt: skip


def _report(
    recipe: Recipe, results: Sequence[JobResult], samples: Mapping[str, Sequence[Any]], machine: str,
    facts: Sequence[Fact], **own: Any,
) -> ExperimentReport:  # fmt: skip
    """``own`` with what the pages of studies and comparisons share."""
    splits = sorted({result.split for result in results})
    size = f"{plural(len(recipe.arms), 'arm')}, {plural(recipe.seeds, 'seed')}"
    caveats = []
    if recipe.quick:
        caveats.append(recipe.quick)
    if recipe.seeds < MIN_SEEDS:
        few = (
            "One seed is one run" if recipe.seeds == 1 else f"{recipe.seeds} seeds show little of how much runs differ"
        )
        caveats.append(f"{few}: intervals are over photos only; other splits and starts are not in them.")
    if "val" in splits:
        caveats.append(
            "There is no test split: arms are evaluated on the validation photos that they were chosen by, so their "
            "accuracies are slightly too high."
        )
    notes = [
        f"Accuracy is measured on {' and '.join(splits)} photos, once per training; choices are made on val.",
        "A seed decides which photos are val (and train, where few are drawn), the order, the crops and every random "
        "weight. Within a seed, arms on the same image set use the same photos in the same splits.",
        f"From {MIN_SEEDS} seeds on, an interval is for the expected accuracy: on new photos, of networks trained with "
        "other seeds on training sets of this size drawn anew. It allows for photos that seeds share. With fewer, it "
        "is over photos, for the networks at hand: Wilson's; for differences a paired bootstrap and McNemar's test.",
        "A difference is called better where its p-value, with Holm's correction for all differences of the page, is "
        "below 0.05; else it is not yet clear, which does not mean that there is none.",
    ]
    return ExperimentReport(
        split=splits[0] if len(splits) == 1 else "", caveats=caveats, notes=notes, samples=samples,
        names={label: display_name(label) for label in samples if display_name(label) != label},
        facts=[Fact("trainings", str(len(results)), size), *facts], environment=environment(machine), **own,
    )  # fmt: skip


def _texts(results: Sequence[JobResult]) -> list[TextBlock]:
    """The classification report and the architecture of every arm that is not swept, first seed."""
    from headstart.workflows.predict import describe

    shown = [result for result in results if not result.job.seed and not result.job.arm.sweep]
    found: list[TextBlock] = []
    for result in shown:
        classes = read_description(result.job.folder)["classes"]
        if len(classes) <= MOST_CLASSES:
            report = format_report(result.metrics[result.split], classes)
            heading = f"{result.arm}: classification report on {result.split}"
            found.append(TextBlock(heading, report, open=not found))
    networks: dict[str, list[str]] = {}
    for result in shown:
        if (result.job.folder / "model.safetensors").exists():
            networks.setdefault(describe(result.job.folder), []).append(result.arm)
    return found + [TextBlock(f"{', '.join(arms)}: the network", text) for text, arms in networks.items()]


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
        trained=any(not curve.level and (curve.train_accuracy or curve.train_loss) for curve in report.curves),
        sweeps=[_sweep_table(sweep, plot) for sweep, plot in _sweep_plots(report)],
        samples=sample_rows(report.samples, report.names),
    )


def page_pictures(report: ExperimentReport) -> dict[str, str]:
    """File stem ("accuracy-per-epoch", "sweep-shots") to SVG file, of every plot of the page."""
    plots = curve_plots(report.curves, report.arms, report.points)
    swept = [
        (f"sweep-{re.sub(r'[^a-z0-9]+', '-', sweep.key.lower()).strip('-') or 'points'}", plot)
        for sweep, plot in _sweep_plots(report)
    ]
    pictures: dict[str, str] = {}
    for name, plot in [*plots.items(), *swept]:
        stem = base = file_name(name, 100)
        again = 1
        while stem.casefold() in map(str.casefold, pictures):  # two sweeps over the same option, points A and a
            again += 1
            stem = f"{base}-{again}"
        pictures[stem] = standalone(plot)
    return pictures


def expectation(row: ArmRow) -> str:
    """ "below what is expected (90–97 %)", or nothing where the mean lies within or nothing is expected."""
    if row.expected is None or row.expected[0] <= row.mean <= row.expected[1]:
        return ""
    side = "below" if row.mean < row.expected[0] else "above"
    return f"{side} what is expected ({interval(*row.expected, _digits(row.expected))})"


def _figures(report: ExperimentReport) -> dict[str, Any] | None:
    """The table of arms, all on one scale of accuracy; arms of a long sweep in tables of their own, on a second scale:
    it reaches down to the accuracies of few photos, and would crowd the others together.
    """
    if not report.rows:
        return None
    sweeps: dict[tuple[str, str], list[ArmRow]] = {}
    for row in report.rows:
        if row.point:
            sweeps.setdefault((row.arm, row.images), []).append(row)
    long = {key: rows for key, rows in sweeps.items() if len(rows) > SWEPT}
    swept = [row for rows in long.values() for row in rows]
    shown = [row for row in report.rows if row not in swept or _published(row)]
    images = list(dict.fromkeys(row.images for row in report.rows if row.images))
    several = len(images) > 1
    methods: dict[str, dict[str, None]] = {}
    for row in report.rows:
        if row.method:
            methods.setdefault(row.method, {})[row.arm] = None
    each = []
    for row in report.rows:
        if len(row.values) > 1:
            name = " · ".join(filter(None, (row.arm, report.points.get(row.point, row.point))))
            each.append((name, percent(row.mean), list(map(percent, row.values))))
    return {
        "table": _table(shown, shown, several, report.points),
        "swept": [
            {**_table(rows, swept, False), "arm": arm, "images": name if several else ""}
            for (arm, name), rows in long.items()
        ],
        "images": "" if several else "".join(images), "seeds": max(len(row.values) for row in report.rows),
        "published": any(map(_published, report.rows)), "each": each,
        "expected": any(row.band for row in report.rows),
        # arms are named only where there are several methods
        "methods": [(method, ", ".join(arms) if len(methods) > 1 else "") for method, arms in methods.items()],
    }  # fmt: skip


def _published(row: ArmRow) -> str:
    return row.published_words or ("" if row.published is None else percent(row.published))


def _table(
    rows: Sequence[ArmRow], scaled: Sequence[ArmRow], images: bool, heads: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """One table on a scale that holds all of ``scaled``; a setting that all lines share is shown once.

    ``images``: whether each line names its image set; ``heads``: point to the heading above its first line.
    """
    ends = [end for row in scaled for end in (row.mean, row.low, row.high, row.published, *row.values)]
    scale = nice_scale([end for end in ends if end is not None] or [0.0, 1.0], 4)
    settings = {row.setting for row in rows}
    shared = settings.pop() if len(rows) > 1 and len(settings) == 1 else ""
    lines, heads = [], dict(heads or {})
    for row in rows:
        several = len(row.values) > 1
        lines.append({
            "row": row, "head": heads.pop(row.point, ""), "setting": "" if shared else row.setting,
            "mean": percent(row.mean), "interval": "" if row.low is None else interval(row.low, row.high),
            "one": not several, "published": _published(row), "remark": expectation(row),
            "mark": None if row.published is None else scale.place(row.published),
            "seeds": list(map(scale.place, row.values)) if several else [],
            "time": duration(row.seconds) if row.seconds else "", **_places(row, scale),
        })  # fmt: skip
    return {
        "lines": lines, "setting": shared, "ticks": _ticks(scale, percent), "names_images": images,
        "published": any(map(_published, rows)),
    }  # fmt: skip


def _differences(report: ExperimentReport) -> dict[str, Any] | None:
    """Every difference with its interval on one scale that holds zero; ``settled`` where it is called better."""
    rows = report.differences
    if not rows:
        return None
    scale = nice_scale([0.0, *(end for row in rows for end in (row.mean, row.low, row.high) if end is not None)])
    shown: dict[str, list[dict[str, Any]]] = {}
    methods = {row.method for row in rows}
    shared = methods.pop() if len(rows) > 1 and len(methods) == 1 else ""
    for row in rows:
        # Under image set and point, the point with the name of what was varied.
        axis = next((s.axis for s in report.sweeps if row.point in sweep_points(s)), "")
        point = report.points.get(row.point) or (f"{axis}: {row.point}" if axis and row.point else row.point)
        line = {
            "row": row,
            "settled": row.settled,
            "words": _difference_words(row, report, shared),
            "seeds": [],
            "mark": None,
        }
        group = " · ".join(filter(None, (row.images, point)))
        shown.setdefault(group, []).append({**line, **_places(row, scale)})
    photos = any(row.over == "photos" for row in rows)
    return {
        "ticks": _ticks(scale, points), "zero": scale.place(0.0), "groups": shown, "photos": photos,
        "number": len(rows), "method": shared,
    }  # fmt: skip


def _difference_words(row: DifferenceRow, report: ExperimentReport, shared: str) -> str:
    """Verdict with its p, then how many photos only one of the two classified correctly, then the method if it is not
    ``shared`` by all.
    """
    p = p_value(row.p_value if row.p_holm is None else row.p_holm)
    verdict = f"{row.verdict} ({p})" if row.verdict and p else row.verdict or p
    counts = ""
    if row.only_first is not None and row.only_second is not None:
        same = [other for other in report.rows if (other.images, other.point) == (row.images, row.point)]
        tested = {other.judged for other in same if other.arm in (row.first, row.second)}
        photos = f"of {count(max(tested))} photos, " if len(tested) == 1 else ""
        counts = f"{photos}{count(row.only_first)} correct only by {row.first}, "
        counts += f"{count(row.only_second)} only by {row.second}"
    return " · ".join(filter(None, (verdict, counts, "" if shared else row.method or f"over {row.over}")))


def _best_epochs(curves: Sequence[Curve]) -> list[tuple[str, str, str, str]]:
    """(arm, best validation accuracy, its epoch, the accuracy at the end) of every arm with epochs."""
    found = []
    for curve in curves:
        values = dict(zip(curve.epochs, curve.val_accuracy, strict=False))
        if values and not curve.level:
            best = max(values, key=lambda epoch: values[epoch])
            found.append((curve.arm, percent(values[best]), str(best), percent(values[max(values)])))
    return found


def _sweep_plots(report: ExperimentReport) -> list[tuple[Sweep, Plot]]:
    return [(sweep, sweep_plot(sweep, report.arms, f"sweep-{n}")) for n, sweep in enumerate(report.sweeps)]


def _sweep_table(sweep: Sweep, plot: Plot) -> dict[str, Any]:
    """A plot and its figures: a row per point, a column per arm; the level lines below."""
    columns = [  # point to (mean, interval over seeds)
        {row.point: (percent(row.mean), interval(row.low, row.high) if row.band else "") for row in line}
        for line in sweep.lines
    ]
    return {
        "plot": plot, "axis": sweep.axis, "arms": [line[0].arm for line in sweep.lines],
        "rows": [(p, [cells.get(p, ("–", "")) for cells in columns]) for p in sweep_points(sweep)],
        "levels": [(label, percent(level)) for label, level in sweep.levels],
    }  # fmt: skip


def _places(row: ArmRow | DifferenceRow, scale: Scale) -> dict[str, Any]:
    """Where dot and interval go, in percent of the scale; ``left`` and ``width`` are None without one."""
    left = None if row.low is None else scale.place(row.low)
    width = None if left is None or row.high is None else round(scale.place(row.high) - left, 3)
    return {"dot": scale.place(row.mean), "left": left, "width": width}


def _ticks(scale: Scale, label: Callable[[float, int], str]) -> list[tuple[float, str]]:
    """(place in percent, label) of every tick, all with the decimals that the finest of them needs."""
    return [(scale.place(tick), label(tick, _digits(scale.ticks))) for tick in scale.ticks]


def _digits(shares: Iterable[float]) -> int:
    """No decimal where all shares are whole percents, else one."""
    return 0 if all(math.isclose(100 * share, round(100 * share), abs_tol=1e-6) for share in shares) else 1
