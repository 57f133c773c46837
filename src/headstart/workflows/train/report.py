"""From a training to the HTML of report.html."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.text import plural
from headstart.data.filenames import shown
from headstart.data.schema import SPLITS, Split
from headstart.data.sources.named import display_name
from headstart.evaluation.examples import confident_hits, most_confident
from headstart.inference.saliency import Explainer, has_maps
from headstart.reporting.command import command_line
from headstart.reporting.images import overlay
from headstart.reporting.page import Fact, environment
from headstart.reporting.samples import picture
from headstart.runs.folder import CONTENTS
from headstart.training.planning import plan_rows
from headstart.training.strategies import STRATEGIES
from headstart.workflows.train.page import DataCheck, Mistake, PlanRow, RunReport, render_run

if TYPE_CHECKING:
    from headstart.inference.classifier import Classifier
    from headstart.training.plan import Plan
    from headstart.training.preparation import Prepared
    from headstart.training.strategies.base import FitResult
    from headstart.workflows.train.assess import Results


SAMPLES_PER_CLASS = 6
MISTAKES = 12
HITS = 12


def run_page(prepared: Prepared, fitted: FitResult, results: Results, path: Path, classifier: Classifier) -> str:
    """The page of one training."""
    wrong, correct = evidence(prepared, results, plan=fitted.plan, classifier=classifier)
    dataset, plan = prepared.dataset, fitted.plan
    epochs = [{**asdict(row), "phase": row.strategy} for row in fitted.history]
    report = RunReport(
        title=f"{dataset.name}: {len(dataset.classes)} classes",
        answer=answer(results.metrics, prepared.backbone.name),
        more=story(prepared, fitted),
        caveats=caveats(prepared, results.metrics),
        command=command_line("train", prepared.options.data, prepared.options.given()),
        classes=dataset.classes,
        names={label: display_name(label) for label in dataset.classes if display_name(label) != label},
        facts=facts(prepared, fitted, results),
        metrics=results.metrics,
        temperature=fitted.temperature or 1.0,
        counts={split: dataset.counts(split) for split in SPLITS if len(prepared.labels[split])},
        history=epochs,
        best_epoch=fitted.best_epoch,
        probe_path=[asdict(step) for step in fitted.probe.path] if fitted.probe else [],
        chosen_l2=fitted.probe.l2 if fitted.probe else None,
        samples=samples(prepared, plan),
        mistakes=wrong,
        hits=correct,
        data_check=data_check(prepared),
        plan=[
            PlanRow(name, f"{value:g}" if isinstance(value, float) else str(value), reason)
            for name, value, reason in plan_rows(plan)
        ],
        environment=environment(prepared.machine.words),
        contents=CONTENTS,
        usage=usage(path),
    )
    return render_run(report)


def answer(metrics: dict[str, Any], backbone: str) -> str:
    """The result in one sentence."""
    split = "test" if "test" in metrics else "val"
    found = metrics[split]["accuracy"]
    which = "test photos that it never saw" if split == "test" else "validation photos"
    return (
        f"The classifier names {found['value']:.1%} of {metrics[split]['photos']} {which} correctly"
        f" (95 % confidence interval {found['low']:.1%} to {found['high']:.1%})."
    )


def story(prepared: Prepared, fitted: FitResult) -> str:
    """How the classifier was trained, in a sentence or two."""
    photos, classes = len(prepared.labels["train"]), len(prepared.dataset.classes)
    way, backbone = STRATEGIES.get(fitted.plan.strategy).describe(fitted.plan), prepared.backbone
    text = f"Trained on {photos} photos of {classes} classes by {way}: {backbone.name}, {backbone.source}."
    return f"{text} {fitted.decision[:1].upper()}{fitted.decision[1:]}." if fitted.decision else text


def caveats(prepared: Prepared, metrics: dict[str, Any]) -> list[str]:
    """What limits the result."""
    notes = ["This is one run: another seed draws other splits. A comparison over seeds shows how much that matters."]
    if "test" not in metrics:
        notes.append(
            "There is no test split: choices were made on the photos that this accuracy is measured on, so it is a"
            " little too high."
        )
    elif metrics["test"]["photos"] < 100:
        notes.append(f"Only {metrics['test']['photos']} test photos: the interval is wide.")
    if prepared.leaked:
        notes.append(
            f"Splits of the data share {plural(prepared.leaked, 'pair')} of near-duplicates, so the accuracy is too"
            " high: a check of the data shows them."
        )
    if not STRATEGIES.get(prepared.options.strategy).pretrained:
        notes.append("No pretrained weights were used: compare with a pretrained backbone to see what it would add.")
    return notes


def facts(prepared: Prepared, fitted: FitResult, results: Results) -> list[Fact]:
    """The tiles at the top."""
    plan, seconds = fitted.plan, results.seconds
    return [
        Fact("photos", str(len(prepared.dataset.samples)), f"{len(prepared.labels['train'])} to train on"),
        Fact("classes", str(len(prepared.dataset.classes))),
        Fact("backbone", prepared.backbone.name, prepared.backbone.source),
        Fact("strategy", plan.strategy, STRATEGIES.get(plan.strategy).describe(plan)),
        Fact("training", f"{seconds['training']:.0f} s", f"{prepared.machine.device.type.upper()}, {plan.precision}"),
    ]


def data_check(prepared: Prepared) -> DataCheck:
    """What reading the photos found."""
    return DataCheck(
        prepared.dataset.summary,
        len(prepared.dataset.samples),
        prepared.dataset.bad,
        prepared.photos.conversions,
        prepared.dataset.notes,
    )


def samples(prepared: Prepared, plan: Plan) -> dict[str, list[np.ndarray]]:
    """A few training photos of each class, as the network sees them."""
    labels, chosen = prepared.labels["train"], {}
    for c, name in enumerate(prepared.dataset.classes):
        places = np.flatnonzero(labels == c)
        spread = places[np.linspace(0, len(places) - 1, min(SAMPLES_PER_CLASS, len(places))).astype(int)]
        chosen[name] = [picture(prepared.pixels["train"], int(i), plan.image_size) for i in spread]
    return chosen


def evidence(
    prepared: Prepared, results: Results, plan: Plan, classifier: Classifier
) -> tuple[list[Mistake], list[Mistake]]:
    """(the most confident mistakes, the most confident correct predictions), on test where there is one, with saliency
    maps where the network has them; without maps, correct predictions have nothing to show.
    """
    split: Split = "test" if "test" in results.probabilities else "val"
    probabilities, labels = results.probabilities[split], prepared.labels[split]
    wrong, correct = most_confident(probabilities, labels, MISTAKES), confident_hits(probabilities, labels, HITS)
    chosen = [*wrong, *correct] if has_maps(classifier) else wrong
    photos = [picture(prepared.pixels[split], i, plan.image_size) for i in chosen]
    predicted = prepared.objective.decide(probabilities)[chosen].tolist()
    looked = _looked(classifier, photos, predicted) if has_maps(classifier) else [None] * len(chosen)
    classes, members = prepared.dataset.classes, prepared.dataset.split(split)
    found = [
        Mistake(
            photo, classes[labels[i]], classes[best], float(probabilities[i, best]),
            shown(members[i].path, prepared.dataset.root), seen,
        )
        for i, photo, best, seen in zip(chosen, photos, predicted, looked, strict=True)
    ]  # fmt: skip
    return found[: len(wrong)], found[len(wrong) :]


def _looked(classifier: Classifier, photos: list[np.ndarray], predicted: list[int]) -> list[np.ndarray]:
    if not photos:
        return []
    maps = Explainer(classifier).maps(np.stack(photos), predicted)
    return [overlay(photo, heat) for photo, heat in zip(photos, maps, strict=True)]


def usage(path: Path) -> list[tuple[str, str]]:
    """What to do with the run next."""
    uses = (
        ("predict", " photo.jpg", "classify new photos"),
        ("evaluate", " other-photos/", "evaluate it on other labelled photos"),
        ("explain", " photos/", "saliency maps, and the most similar training photos"),
        ("serve", "", "a page to drop photos on, and HTTP for programs"),
        ("export", "", "one file that runs without headstart"),
        ("describe", "", "print the architecture"),
    )
    return [(command_line(command, path, {}) + photos, what) for command, photos, what in uses]
