"""The content of report.html."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.text import plural
from headstart.data.schema import SPLITS
from headstart.data.sources.named import display_name
from headstart.evaluation.metrics import JUDGED, few_per_class, has_labels, headline, judged_on, worst_first
from headstart.evaluation.ood import some_of_each
from headstart.reporting.command import command_line
from headstart.reporting.page import Fact, environment
from headstart.reporting.samples import SHOWN, picture
from headstart.runs.folder import CONTENTS
from headstart.training.planning import plan_rows
from headstart.training.strategies import STRATEGIES
from headstart.workflows.train.assess import asked_by
from headstart.workflows.train.evidence import evidence
from headstart.workflows.train.folds import strengths
from headstart.workflows.train.page import DataCheck, RunReport, render_run

if TYPE_CHECKING:
    from headstart.inference.classifier import Classifier
    from headstart.training.plan import Plan
    from headstart.training.preparation import Prepared
    from headstart.training.strategies.base import FitResult
    from headstart.workflows.train.assess import Results


SAMPLES_PER_CLASS = 6
USAGE = (
    ("predict", " photo.jpg", "classify new photos"),
    ("evaluate", " other-photos/", "evaluate it on other labelled photos"),
    ("explain", " photos/", "saliency maps, and the most similar training photos"),
    ("serve", "", "a page to drop photos on, and HTTP for programs"),
    ("export", "", "one file that runs without headstart"),
    ("describe", "", "print the architecture"),
)
"""Commands for a run, what follows its folder, and what they do."""


def _usage(prepared: Prepared, path: Path) -> list[tuple[str, str]]:
    """How the run is used; with a network of the caller's, in Python alone."""
    if prepared.parts.network is None:
        return [(command_line(command, path, {}) + photos, what) for command, photos, what in USAGE]
    network = prepared.parts.written["backbone"]
    return [
        (f"run = hs.open_run({str(path)!r}, network={network})", "read it again, with the network's code"),
        ("run.predict('photo.jpg')", "classify new photos"),
        ("run.evaluate('other-photos/')", "evaluate it on other labelled photos"),
        ("run.export()", "one file that runs without headstart, and without the network's code"),
    ]


def run_page(prepared: Prepared, fitted: FitResult, results: Results, path: Path, classifier: Classifier) -> str:
    """The page of one training."""
    dataset, backbone, plan, probe = prepared.dataset, prepared.backbone, fitted.plan, fitted.probe
    way, labels = STRATEGIES.get(plan.strategy).describe(plan), prepared.labels["train"]
    kinds = "labels" if dataset.several else "classes"
    more = f"Trained on {len(labels)} photos of {len(dataset.classes)} {kinds} by {way}: "
    more += f"{backbone.name}, {backbone.source}."
    if fitted.decision:
        more += f" {fitted.decision[:1].upper()}{fitted.decision[1:]}."
    device = f"{prepared.machine.device.type.upper()}, {plan.precision}"
    some = some_of_each(labels, SAMPLES_PER_CLASS)
    wrong, correct = evidence(prepared, results, plan, classifier)
    report = RunReport(
        title=f"{dataset.name}: {len(dataset.classes)} {kinds}",
        answer=_answer(results.metrics),
        more=more,
        caveats=_caveats(prepared, plan, results.metrics),
        command=asked_by(prepared),
        classes=dataset.classes,
        names={label: display_name(label) for label in dataset.classes if display_name(label) != label},
        facts=[
            Fact(
                "photos",
                f"{len(dataset.samples):,}",
                f"{len(labels):,} {f'in {len(fitted.folds)} folds' if fitted.folds else 'to train on'}",
            ),
            Fact(kinds, str(len(dataset.classes))),
            Fact("backbone", backbone.name, backbone.source),
            Fact("strategy", plan.strategy, way),
            Fact("training", f"{results.seconds['training']:.0f} s", device),
        ],
        metrics=results.metrics,
        temperature=fitted.temperature or 1.0,
        counts=_counts(prepared),
        photos={s: len(own) for s, own in prepared.labels.items() if len(own)} if dataset.several else {},
        history=[{**asdict(row), "phase": row.strategy} for row in fitted.history],
        best_epoch=fitted.best_epoch,
        probe_path=[asdict(step) for step in strengths(fitted)],
        chosen_l2=probe.l2 if probe else None,
        samples={
            dataset.classes[c]: [
                picture(prepared.pixels["train"], int(i), plan.image_size)
                for i in (_of(labels, some, c) if number < SHOWN else ())
            ]
            for number, c in enumerate(_classes_in_order(results.metrics))
        },
        mistakes=wrong,
        hits=correct,
        data_check=DataCheck(
            dataset.summary, len(dataset.samples), dataset.bad, prepared.photos.conversions, dataset.notes
        ),
        plan=[
            (name, f"{value:g}" if isinstance(value, float) else str(value), reason)
            for name, value, reason in plan_rows(plan)
        ],
        environment=environment(prepared.machine.words),
        contents=CONTENTS,
        usage=_usage(prepared, path),
    )
    return render_run(report)


def _counts(prepared: Prepared) -> dict[str, list[int]]:
    """Photos per class of each split, or of each fold in place of train."""
    dataset = prepared.dataset
    labels, classes = prepared.labels["train"], len(dataset.classes)
    folds = {
        f"fold {number}": np.bincount(labels[list(fold.held_out)], minlength=classes).tolist()
        for number, fold in enumerate(dataset.folds, 1)
    }
    splits = {split: dataset.counts(split) for split in SPLITS if len(prepared.labels[split])}
    return {**folds, **{split: row for split, row in splits.items() if not (folds and split == "train")}}


def _of(labels: np.ndarray, some: np.ndarray, c: int) -> np.ndarray:
    """Those of ``some`` that have class c; of any number of labels, as many as of one class."""
    if labels.ndim == 1:
        return np.asarray(some[labels[some] == c])
    return np.asarray(some[labels[some, c] > 0][:SAMPLES_PER_CLASS])


def _classes_in_order(metrics: dict[str, Any]) -> list[int]:
    """All classes, the worst first where there are more than a page shows."""
    rows = metrics[judged_on(metrics)]["report"]["classes"]
    return list(range(len(rows))) if len(rows) <= SHOWN else worst_first(rows)


def _answer(metrics: dict[str, Any]) -> str:
    """The result in one sentence."""
    split = judged_on(metrics)
    which = {"test": "unseen test photos", "val": "validation photos", "folds": "photos"}[split]
    name, found = headline(metrics[split])
    if has_labels(metrics[split]):
        right = metrics[split]["accuracy"]["value"]
        of = f"{metrics[split]['photos']} {which}"
        return (
            f"On {of} the {name} of the labels is {found['value']:.1%} (95 % confidence interval"
            f" {found['low']:.1%} to {found['high']:.1%}); {right:.1%} of the photos get exactly their labels."
        )
    how_sure = f"(95 % confidence interval {found['low']:.1%} to {found['high']:.1%})"
    over = "" if name == "accuracy" else "Averaged over the classes, "
    if split == "folds":
        seen = f"{found['value']:.1%} of {metrics[split]['photos']} photos are classified correctly"
        return f"{over}{seen} by a model that did not see them {how_sure}."
    every = f"{metrics[split]['photos']} {which}" if name == "accuracy" else f"the {which}"
    return f"{over}{found['value']:.1%} of {every} are classified correctly {how_sure}."


def _caveats(prepared: Prepared, plan: Plan, metrics: dict[str, Any]) -> list[str]:
    """What limits the result."""
    if "folds" in metrics:
        folds = len(metrics["folds"]["each"])
        notes = [
            f"The out-of-fold accuracy is that of {folds} models, each trained on {folds - 1}/{folds} of the photos"
            " and judged on the rest. The classifier is their average: it was trained on all of these photos, so its"
            f" own accuracy {'is known from the test photos alone' if 'test' in metrics else 'is not measured'}.",
            "This is one run: another seed draws other folds.",
        ]
    else:
        notes = ["This is one run: another seed draws other splits."]
        if not prepared.dataset.several:
            notes[0] += " A comparison over seeds shows how much that matters."
    split = judged_on(metrics)
    if split == "val":
        notes.append(
            "There is no test split: choices were made on the photos that this accuracy is measured on, so it is a"
            " little too high."
        )
    elif metrics[split]["photos"] < 100:
        notes.append(f"Only {metrics[split]['photos']} {JUDGED[split]} photos: the interval is wide.")
    if caution := few_per_class(metrics[split]):
        notes.append(caution)
    if plan.balance != "none" and prepared.dataset.several:
        notes.append(
            "Photos with and without each label had the same part in training, so the probabilities are too high for"
            " rare labels; their thresholds, which val chose, take that into account."
        )
    elif plan.balance != "none":
        notes.append(
            "Each class had the same part in training, so the probabilities are those of classes that are equally"
            " frequent: among photos as uneven as these they are too high for rare classes."
        )
    if prepared.leaked:
        notes.append(
            f"Splits of the data share {plural(prepared.leaked, 'pair')} of near-duplicates, so the accuracy is too"
            " high: a check of the data shows them."
        )
    if not STRATEGIES.get(prepared.options.strategy).pretrained:
        notes.append("No pretrained weights were used: compare with a pretrained backbone to see what it would add.")
    return notes
