"""The photos of folds. In: what each model says of those that it did not see. Out: figures, and what the run keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from headstart.data.schema import FOLD, Split
from headstart.evaluation.calibration import before_scaling
from headstart.evaluation.metrics import evaluate
from headstart.evaluation.ood import class_means, distances, some_of_each
from headstart.evaluation.statistics import OUT_OF_FOLD
from headstart.evaluation.uncertainty import Uncertainty
from headstart.training.linear_probe import ProbeStep
from headstart.training.preparation import Prepared
from headstart.training.strategies.base import FitResult, FoldResult

Judged = Literal["val", "test", "folds"]
"""What a run has figures of; "folds" are all photos of train, each by the model that did not see it."""


def of_split(judged: Judged) -> Split:
    """The split that these photos are in."""
    return "train" if judged == "folds" else judged


def out_of_fold(prepared: Prepared, folds: Sequence[FoldResult]) -> tuple[np.ndarray, dict[str, Any]]:
    """The probabilities [N, C] of all photos of train, each by the model of its fold, and their figures: those of a
    split, and a row for ``each`` fold.
    """
    labels, objective = prepared.labels["train"], prepared.objective
    logits = np.zeros((len(labels), len(prepared.dataset.classes)))
    unscaled = np.zeros_like(logits)
    for fold in folds:
        logits[fold.held_out] = fold.logits
        unscaled[fold.held_out] = fold.logits * fold.probe.temperature
    probabilities = objective.probabilities(logits)
    # Not the objective's own: what logistic regression solves is one class per photo.
    figures = evaluate(probabilities, labels, prepared.dataset.classes, OUT_OF_FOLD)
    figures["calibration"]["before"] = before_scaling(unscaled, labels, 1.0)
    correct = objective.decide(probabilities) == labels
    figures["each"] = [
        {
            FOLD: number, "photos": len(fold.held_out), "accuracy": float(correct[fold.held_out].mean()),
            "l2": fold.probe.l2, "temperature": fold.probe.temperature, "stages": fold.stages,
            "val_loss": fold.val[0], "val_accuracy": fold.val[1],
        }
        for number, fold in enumerate(folds, 1)
    ]  # fmt: skip
    return probabilities, figures


def uncertainty_of_folds(prepared: Prepared, last: np.ndarray, probabilities: np.ndarray) -> Uncertainty:
    """What predictions need to report their uncertainty, from photos that had no part in the model that judged them:
    ``last`` [N, D], the last stage's features of train, and ``probabilities`` [N, C] out of fold. A photo's distance is
    to the means of the other folds' photos.
    """
    labels, folds = prepared.labels["train"], prepared.dataset.folds
    far = np.zeros(len(labels))
    for fold in folds:
        others = np.array(sorted((*fold.train, *fold.val)))
        some = others[some_of_each(labels[others])]
        held_out = list(fold.held_out)
        far[held_out] = distances(last[held_out], class_means(last[some], labels[some]))
    some = some_of_each(labels)
    own = probabilities[np.arange(len(labels)), labels]
    return Uncertainty(np.sort(own).astype(np.float64), np.sort(far), class_means(last[some], labels[some]), len(folds))


def strengths(fitted: FitResult) -> list[ProbeStep]:
    """The strengths of L2 that a probe tried, with their figures; of folds, as ``mean_path``; none without a probe."""
    if fitted.folds:
        rows = [asdict(step) for fold in fitted.folds for step in fold.probe.path]
        return [ProbeStep(**row) for row in mean_path(rows)]
    return list(fitted.probe.path) if fitted.probe else []


def mean_path(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the strengths of L2 that every fold tried, the means over folds of their figures; rows as in history.csv."""
    of_strength: dict[float, list[dict[str, Any]]] = {}
    for row in rows:
        of_strength.setdefault(row["l2"], []).append(row)
    folds = max(map(len, of_strength.values()))
    found = []
    for l2, own in sorted(of_strength.items()):
        if len(own) == folds:
            values = {name: [row[name] for row in own] for name in own[0] if name not in ("phase", "strategy", FOLD)}
            means = {name: None if None in each else float(np.mean(each)) for name, each in values.items()}
            found.append({**own[0], **means, "l2": l2})
    return found
