"""What the page of a study or a comparison shows, from its results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.files import write_text
from headstart.core.text import duration, plural
from headstart.data.sources.named import display_name
from headstart.evaluation.metrics import format_report
from headstart.reporting.page import Fact, environment
from headstart.reporting.samples import samples_by_class
from headstart.runs.folder import RunFolder
from headstart.workflows.experiment import analysis
from headstart.workflows.experiment.page import page_pictures, render_experiment
from headstart.workflows.experiment.recipe import Recipe
from headstart.workflows.experiment.results import JobResult, Study, group_name
from headstart.workflows.experiment.rows import ExperimentReport, TextBlock

if TYPE_CHECKING:
    from headstart.data.loading import LoadedImages
    from headstart.workflows.experiment.datasets import Library

MOST_CLASSES = 20
"""Of more classes the sample grid shows the first ones."""


def write_page(report: ExperimentReport, out: Path, pictures: bool = False) -> None:
    """Write report.html, and its plots as pictures/*.svg."""
    for name, svg in page_pictures(report).items() if pictures else ():
        write_text(out / "pictures" / f"{name}.svg", svg)
    write_text(out / "report.html", render_experiment(report))


def study_report(study: Study, command: str, library: Library, machine: str) -> ExperimentReport:
    """The page of a study."""
    recipe, results, rows = study.recipe, study.results, study.rows
    how = RunFolder(results[0].job.folder).read_json("model.json")["preprocessing"]
    photos = library.photos(results[0].job.arm.images, how["resize"], how["interpolation"])  # as the first arm saw them
    time = Fact("training time", duration(sum(r.seconds for r in results)), machine)
    return ExperimentReport(
        title=recipe.title, answer=study.answer, command=command, rows=rows, more=recipe.about,
        differences=study.differences, curves=analysis.curves(recipe, results), sweeps=analysis.sweeps(recipe, rows),
        texts=_texts(results), **_common(recipe, results, photos, machine, [time], MOST_CLASSES),
    )  # fmt: skip


def comparison_report(
    recipe: Recipe, results: Sequence[JobResult], answer: str, command: str, photos: LoadedImages,
    facts: Sequence[Fact], machine: str,
) -> ExperimentReport:  # fmt: skip
    """The page of a comparison: everything point by point ("10 per class")."""
    points = [point for point, _ in recipe.arms[0].points()]
    rows = analysis.by_point(recipe, analysis.table(recipe, results))
    return ExperimentReport(
        title=f"{photos.manifest.name}: {', '.join(arm.name for arm in recipe.arms)}", answer=answer, command=command,
        rows=rows, kind="comparison", points={point: group_name(point) for point in points if point},
        differences=analysis.by_point(recipe, analysis.seed_differences(recipe, results)),
        curves=analysis.by_point(recipe, analysis.curves(recipe, results, swept=True)),
        sweeps=analysis.sweeps(recipe, rows) if len(points) > 1 else (),
        **_common(recipe, results, photos, machine, facts),
    )  # fmt: skip


def _common(
    recipe: Recipe, results: Sequence[JobResult], photos: LoadedImages, machine: str, facts: Sequence[Fact],
    most_classes: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What the pages of studies and comparisons share."""
    samples, splits = samples_by_class(photos, most_classes), sorted({result.split for result in results})
    caveats = []
    if recipe.seeds == 1:
        caveats.append("One seed is one run: intervals are over photos only; other splits and starts are not in them.")
    if "val" in splits:
        caveats.append(
            "There is no test split: arms are evaluated on the validation photos that they were chosen by, so their "
            "accuracies are slightly too high."
        )
    size = f"{plural(len(recipe.arms), 'arm')}, {plural(recipe.seeds, 'seed')}"
    return {
        "split": splits[0] if len(splits) == 1 else "",
        "caveats": caveats,
        "facts": [Fact("trainings", str(len(results)), size), *facts],
        "samples": samples,
        "names": {label: display_name(label) for label in samples if display_name(label) != label},
        # How the figures came about, in sentences.
        "notes": [
            f"Accuracy is measured on {' and '.join(splits)} photos, once per training; choices are made on val.",
            "A seed decides which photos are val (and train, where few are drawn), the order, the crops and every "
            "random weight. Within a seed, arms on the same image set use the same photos in the same splits.",
            "Over seeds: the mean with Student's t interval, differences paired by seed. Over photos: a paired "
            "bootstrap of the photos, and McNemar's exact test.",
        ],
        "environment": environment(machine),
    }


def _texts(results: Sequence[JobResult]) -> list[TextBlock]:
    """The classification report and the architecture of every arm that is not swept, first seed."""
    from headstart.workflows.predict import describe

    shown = [result for result in results if not result.job.seed and not result.job.arm.sweep]
    found: list[TextBlock] = []
    for result in shown:
        classes = RunFolder(result.job.folder).read_json("model.json")["classes"]
        if len(classes) <= MOST_CLASSES:
            report = format_report(result.metrics[result.split], classes)
            heading = f"{result.arm}: classification report on {result.split}"
            found.append(TextBlock(heading, report, open=not found))
    networks: dict[str, list[str]] = {}
    for result in shown:
        if (result.job.folder / "model.safetensors").exists():
            networks.setdefault(describe(result.job.folder), []).append(result.arm)
    return found + [TextBlock(f"{', '.join(arms)}: the network", text) for text, arms in networks.items()]
