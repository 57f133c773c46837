"""The page of a study. In: a ``Study``. Out: report.html and the pictures, written into its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headstart.core.files import write_text
from headstart.core.text import plural
from headstart.data.sources.named import display_name
from headstart.evaluation.metrics import format_report
from headstart.reporting.page import Fact, environment
from headstart.reporting.samples import samples_by_class
from headstart.runs.folder import RunFolder
from headstart.workflows.experiment import analysis as findings
from headstart.workflows.experiment.page import render_study, study_pictures
from headstart.workflows.experiment.rows import StudyReport, StudyText
from headstart.workflows.experiment.text import caveats_side_by_side

if TYPE_CHECKING:
    from headstart.workflows.experiment.datasets import Library
    from headstart.workflows.experiment.study_result import Study


MOST_CLASSES = 20
"""Of more classes the sample grid shows the first ones."""


def write_page(study: Study, command: str, library: Library, machine: str) -> None:
    """Write report.html and pictures/*.svg."""
    report = _report(study, command, library, machine)
    for name, svg in study_pictures(report).items():
        write_text(study.path / "pictures" / f"{name}.svg", svg)
    write_text(study.path / "report.html", render_study(report))


def _report(study: Study, command: str, library: Library, machine: str) -> StudyReport:
    recipe, rows = study.recipe, study.rows
    samples = _samples(study, library)
    seeds = recipe.seeds
    return StudyReport(
        title=recipe.title,
        answer=study.answer,
        command=command,
        rows=rows,
        about=recipe.about,
        caveats=caveats_side_by_side(seeds == 1, any(r.split == "val" for r in study.results)),
        facts=[
            Fact("trainings", str(len(study.results)), f"{len(recipe.arms)} arms, {plural(seeds, 'seed')}"),
            Fact("training time", _time(sum(r.seconds for r in study.results)), machine),
        ],
        differences=study.differences,
        curves=findings.curves(recipe, study.results),
        sweeps=findings.sweeps(recipe, rows),
        samples=samples,
        names={label: display_name(label) for label in samples if display_name(label) != label},
        texts=_texts(study),
        notes=_notes(study),
        environment=environment(machine),
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _notes(study: Study) -> list[str]:
    """How the figures came about, in sentences."""
    splits = sorted({result.split for result in study.results})
    return [
        f"Accuracy is measured on {' and '.join(splits)} photos, once per training; choices are made on val.",
        "A seed decides which photos are val (and train, where few are drawn), the order, the crops and every random "
        "weight. Within a seed, arms on the same image set see the same photos in the same splits.",
        "Over seeds: the mean with Student's t interval, differences paired by seed. Over photos: a paired bootstrap "
        "of the photos judged, and McNemar's exact test.",
    ]


def _texts(study: Study) -> list[StudyText]:
    """The classification report and the architecture of every arm that is not swept, first seed."""
    found: list[StudyText] = []
    for result in study.results:
        if result.job.seed or result.job.arm.sweep:
            continue
        classes = RunFolder(result.job.folder).read_json("model.json")["classes"]
        if len(classes) <= MOST_CLASSES:
            report = format_report(result.metrics[result.split], classes)
            heading = f"{result.arm}: classification report on {result.split}"
            found.append(StudyText(heading, report, open=not found))
    return [*found, *_architectures(study)]


def _architectures(study: Study) -> list[StudyText]:
    from headstart.workflows.predict import describe

    found: dict[str, list[str]] = {}
    for result in study.results:
        if not result.job.seed and not result.job.arm.sweep and (result.job.folder / "model.safetensors").exists():
            found.setdefault(describe(result.job.folder), []).append(result.arm)
    return [StudyText(f"{', '.join(arms)}: the network", text) for text, arms in found.items()]


def _samples(study: Study, library: Library) -> dict[str, list[np.ndarray]]:
    """A few photos of each class of the first image set, as the first arm sees them."""
    first = study.results[0]
    how = RunFolder(first.job.folder).read_json("model.json")["preprocessing"]
    photos = library.photos(first.job.arm.images, how["resize"], how["interpolation"])
    return samples_by_class(photos, MOST_CLASSES)
