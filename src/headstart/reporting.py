"""From a training to its page. In: what was prepared, trained and judged. Out: the HTML of report.html."""

from __future__ import annotations

import os
import platform
import shlex
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart._version import __version__
from headstart.checking.findings import counted
from headstart.data.imageset import SPLITS, Split
from headstart.data.named import display_name
from headstart.data.names import natural_key, shown
from headstart.data.pixels import Pixels, centre
from headstart.evaluation.mistakes import most_confident, surest_hits
from headstart.explaining.cam import Explainer, has_maps, overlay
from headstart.report.data import DataCheck, Fact, Mistake, PlanRow, RunReport
from headstart.report.run import render_run
from headstart.runfolder import CONTENTS

if TYPE_CHECKING:
    from headstart.classifier import Classifier
    from headstart.prepare import Photos, Prepared
    from headstart.run import Results
    from headstart.training.plan import Plan
    from headstart.training.strategies import Outcome

SAMPLES_PER_CLASS = 6
MISTAKES = 12
HITS = 12

STRATEGY_NAMES = {
    "probe": "a linear probe on the frozen backbone",
    "head": "a new head on the frozen backbone",
    "finetune": "fine-tuning of the whole network",
    "partial": "partial fine-tuning",
    "lp-ft": "a probe, then fine-tuning from it",
    "scratch": "training from random weights",
}


def run_page(prepared: Prepared, outcome: Outcome, results: Results, path: Path, classifier: Classifier) -> str:
    """The page of one training."""
    wrong, right = evidence(prepared, results, plan=outcome.plan, classifier=classifier)
    image_set, plan = prepared.image_set, outcome.plan
    epochs = [{**asdict(row), "phase": row.strategy} for row in outcome.history]
    report = RunReport(
        title=f"{image_set.name}: {len(image_set.classes)} classes",
        answer=answer(results.metrics, prepared.backbone.name),
        more=story(prepared, outcome),
        caveats=caveats(prepared, results.metrics),
        command=prepared.options.command(),
        classes=image_set.classes,
        names={label: display_name(label) for label in image_set.classes if display_name(label) != label},
        facts=facts(prepared, outcome, results),
        metrics=results.metrics,
        temperature=outcome.temperature or 1.0,
        counts={split: image_set.counts(split) for split in SPLITS if len(prepared.labels[split])},
        history=epochs,  # type: ignore[arg-type]
        best_epoch=outcome.best_epoch,
        probe_path=[asdict(step) for step in outcome.probe.path] if outcome.probe else [],  # type: ignore[misc]
        chosen_l2=outcome.probe.l2 if outcome.probe else None,
        samples=samples(prepared, plan),
        mistakes=wrong,
        hits=right,
        data_check=data_check(prepared),
        plan=[
            PlanRow(name, f"{value:g}" if isinstance(value, float) else str(value), reason)
            for name, value, reason in plan.rows()
        ],
        environment=environment(prepared.machine.words),
        contents=CONTENTS,
        usage=usage(path),
    )
    return render_run(report)


def answer(metrics: dict[str, Any], backbone: str) -> str:
    """The one sentence to take home."""
    split = "test" if "test" in metrics else "val"
    found = metrics[split]["accuracy"]
    which = "test photos that it never saw" if split == "test" else "validation photos"
    return (
        f"The classifier names {found['value']:.1%} of {metrics[split]['photos']} {which} correctly"
        f" (95 % interval {found['low']:.1%} to {found['high']:.1%})."
    )


def story(prepared: Prepared, outcome: Outcome) -> str:
    """How it came about, in a sentence or two."""
    photos, classes = len(prepared.labels["train"]), len(prepared.image_set.classes)
    source = "random weights" if outcome.plan.strategy == "scratch" else prepared.backbone.source
    way = way_of(outcome.plan)
    text = f"Trained on {photos} photos of {classes} classes by {way}: {prepared.backbone.name}, {source}."
    return f"{text} {outcome.decision[:1].upper()}{outcome.decision[1:]}." if outcome.decision else text


def way_of(plan: Plan) -> str:
    """The strategy in words."""
    whole = plan.strategy not in {"finetune", "lp-ft"} or plan.boundary == "start"
    return STRATEGY_NAMES[plan.strategy] if whole else f"fine-tuning from {plan.boundary} on"


def caveats(prepared: Prepared, metrics: dict[str, Any]) -> list[str]:
    """What a careful reader should know."""
    notes = ["This is one run: another seed draws other splits. headstart compare shows how much that matters."]
    if "test" not in metrics:
        notes.append(
            "There is no test split: choices were made on the photos that this accuracy is measured on, so it is a"
            " little too good."
        )
    elif metrics["test"]["photos"] < 100:
        notes.append(f"Only {metrics['test']['photos']} test photos: the interval is wide.")
    if prepared.leaked:
        notes.append(
            f"Splits of the data share {counted(prepared.leaked, 'pair')} of near copies, which flatters the accuracy:"
            " `headstart check` shows them."
        )
    if prepared.options.strategy == "scratch":
        notes.append("No pretrained weights were used: compare with --strategy auto to see what they would add.")
    return notes


def facts(prepared: Prepared, outcome: Outcome, results: Results) -> list[Fact]:
    """The tiles at the top."""
    plan, seconds = outcome.plan, results.seconds
    return [
        Fact("photos", str(len(prepared.image_set.samples)), f"{len(prepared.labels['train'])} to train on"),
        Fact("classes", str(len(prepared.image_set.classes))),
        Fact("backbone", prepared.backbone.name, prepared.backbone.source),
        Fact("strategy", plan.strategy, way_of(plan)),
        Fact("training", f"{seconds['training']:.0f} s", f"{prepared.machine.device.type.upper()}, {plan.precision}"),
    ]


def data_check(prepared: Prepared) -> DataCheck:
    """What reading the photos found."""
    return DataCheck(
        prepared.image_set.summary,
        len(prepared.image_set.samples),
        prepared.image_set.bad,
        prepared.photos.conversions,
        prepared.image_set.notes,
    )


def samples(prepared: Prepared, plan: Plan) -> dict[str, list[np.ndarray]]:
    """A few training photos of each class, as the network sees them."""
    labels, chosen = prepared.labels["train"], {}
    for c, name in enumerate(prepared.image_set.classes):
        places = np.flatnonzero(labels == c)
        spread = places[np.linspace(0, len(places) - 1, min(SAMPLES_PER_CLASS, len(places))).astype(int)]
        chosen[name] = [picture(prepared.pixels["train"], int(i), plan.image_size) for i in spread]
    return chosen


def samples_by_class(
    photos: Photos, most_classes: int | None = None, per_class: int = 4
) -> dict[str, list[np.ndarray]]:
    """A few photos of each class, before they are split; of many classes those that come first."""
    by_class: dict[str, list[int]] = {}
    for i, photo in enumerate(photos.listing.photos):
        if photos.pixels.digests[i] is not None:
            by_class.setdefault(photo.label, []).append(i)
    chosen = {}
    for label in sorted(by_class, key=natural_key)[:most_classes]:
        members = by_class[label]
        spread = [members[j] for j in np.linspace(0, len(members) - 1, per_class).astype(int)]
        chosen[label] = [picture(photos.pixels, i, photos.pixels.resize) for i in spread]
    return chosen


def caveats_side_by_side(one_run: bool, on_val: bool) -> list[str]:
    """What a careful reader of several trainings should know."""
    notes = []
    if one_run:
        notes.append("One seed is one run: intervals are over photos only; other splits and starts are not in them.")
    if on_val:
        notes.append("There is no test split: arms are judged, a little too well, on the photos that they chose by.")
    return notes


def evidence(
    prepared: Prepared, results: Results, plan: Plan, classifier: Classifier
) -> tuple[list[Mistake], list[Mistake]]:
    """(the most confident wrong answers, the surest right ones), on test where there is one, with maps of what spoke
    for each answer where the network has such maps; without, right answers have nothing to show.
    """
    split: Split = "test" if "test" in results.probabilities else "val"
    probabilities, labels = results.probabilities[split], prepared.labels[split]
    wrong, right = most_confident(probabilities, labels, MISTAKES), surest_hits(probabilities, labels, HITS)
    chosen = [*wrong, *right] if has_maps(classifier) else wrong
    photos = [picture(prepared.pixels[split], i, plan.image_size) for i in chosen]
    answers = [int(probabilities[i].argmax()) for i in chosen]
    looked = _looked(classifier, photos, answers) if has_maps(classifier) else [None] * len(chosen)
    classes, members = prepared.image_set.classes, prepared.image_set.split(split)
    found = [
        Mistake(
            photo, classes[labels[i]], classes[answer], float(probabilities[i, answer]),
            shown(members[i].path, prepared.image_set.root), seen,
        )
        for i, photo, answer, seen in zip(chosen, photos, answers, looked, strict=True)
    ]  # fmt: skip
    return found[: len(wrong)], found[len(wrong) :]


def _looked(classifier: Classifier, photos: list[np.ndarray], answers: list[int]) -> list[np.ndarray]:
    if not photos:
        return []
    maps = Explainer(classifier).maps(np.stack(photos), answers)
    return [overlay(photo, heat) for photo, heat in zip(photos, maps, strict=True)]


def picture(pixels: Pixels, i: int, size: int) -> np.ndarray:
    """Photo i as the network sees it, uint8 [size, size, 3]."""
    return np.ascontiguousarray(centre(pixels.row(i), size))


def environment(machine: str) -> dict[str, str]:
    """Versions and machine, for the foot of a page."""
    import torch

    return {
        "headstart": __version__, "torch": torch.__version__, "timm": version("timm"),
        "python": platform.python_version(), "machine": machine, "system": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip


def usage(path: Path) -> list[tuple[str, str]]:
    """What to do with the run next."""
    run = shlex.quote(os.fspath(path))
    return [
        (f"headstart predict {run} photo.jpg", "name new photos"),
        (f"headstart evaluate {run} other-photos/", "measure it on other labelled photos"),
        (f"headstart explain {run} photos/", "see where it looks, and which training photos are most alike"),
        (f"headstart serve {run}", "a page to drop photos on, and HTTP for programs"),
        (f"headstart export {run}", "one file that runs without headstart"),
        (f"headstart describe {run}", "print the architecture"),
    ]
