"""Linear probes: logistic regression on standardised frozen features, its L2 chosen from a grid on val; multinomial for
one class per photo, one per label for any number of them.

Where val is too small to choose by alone, the photos of train count beside it, each by a probe that has not seen its
fold (see ``cross_validation.folds_beside``).

Beyond the features and one copy of them, memory does not grow with the photos: the rest is computed in chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from headstart.evaluation.multilabel import MULTILABEL
from headstart.evaluation.objective import MULTICLASS, OnVal, balanced_if_uneven, on_val
from headstart.training.balance import class_weights, label_weights
from headstart.training.cross_validation import cross_validate, judgeable
from headstart.training.logistic_regression import CPU, Rows, precise_enough, solve
from headstart.training.strengths import L2_GRID, USUAL_L2, USUAL_L2_BALANCED, prior_penalty

PATIENCE = 2
"""Strengths in a row that are worse on val than a stronger one, after which weaker ones are not tried: on sets so large
that strengths are solved one after the other, the weak ones take the most time and overfit the most."""


@dataclass(frozen=True)
class ProbeStep:
    """One strength of the grid and its figures; the balanced accuracy only where the classes of val are uneven, mean
    average precision where photos have any number of labels. ``cv_score``: where photos of train counted beside val,
    what choices compare, over both.
    """

    l2: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_balanced_accuracy: float | None = None
    val_map: float | None = None
    cv_score: float | None = None

    @property
    def score(self) -> float:
        """What choices compare: see ``OnVal.score``."""
        on_val = OnVal(self.val_loss, self.val_accuracy, self.val_balanced_accuracy, self.val_map).score[0]
        return on_val if self.cv_score is None else self.cv_score


@dataclass(frozen=True)
class Probe:
    """A linear head on raw features: ``weight`` [C, D] and ``bias`` [C] (float32, divided by ``temperature``); the
    strength chosen, and all that were tried (before the temperature).
    """

    weight: torch.Tensor
    bias: torch.Tensor
    l2: float
    path: tuple[ProbeStep, ...]
    temperature: float = 1.0


def fit_probe(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    classes: int,
    l2_grid: Sequence[float] = L2_GRID,
    balanced: bool = False,
    scales: np.ndarray | None = None,
    folds: np.ndarray | None = None,
    device: torch.device = CPU,
) -> Probe:
    """Fit the grid on ``train`` and choose on ``val``; each is (features [N, D] float, labels [N] int), or for any
    number of labels (features, targets [N, C] of 0 and 1): then each label has a logistic regression of its own, and
    all have one strength. ``balanced``: classes have the same total weight in the loss; ``scales`` [D] as of ``Rows``;
    ``folds`` [N] of train, by which its photos take part in the choices of strength and temperature; ``device``: as of
    ``solve``.
    """
    dtype = precise_enough(train[0].size, len(l2_grid), classes)
    rows, y = Rows(torch.from_numpy(train[0]), dtype, scales=scales), _targets(train[1])
    val_rows, val_y = Rows(torch.from_numpy(val[0]), dtype, like=rows), _targets(val[1])
    path: list[ProbeStep] = []
    best: tuple[ProbeStep, torch.Tensor, torch.Tensor] | None = None
    weights = _weights(train[1], classes) if balanced else None
    usual, grid = USUAL_L2_BALANCED if balanced else USUAL_L2, sorted(l2_grid, reverse=True)
    beside = _Beside.of(train, classes, grid, weights, scales, folds)
    photos = len(val_y) + len(beside.targets)
    for together in solve(rows, y, classes, grid, weights=weights, device=device):
        for l2, weight, bias in together:
            fit, on_val = (_figures(*of, weight, bias) for of in ((rows, y), (val_rows, val_y)))
            step = ProbeStep(l2, *fit, *on_val, on_val.balanced, on_val.mean_ap)
            if len(beside.targets):
                step = replace(step, cv_score=beside.score(l2, _logits(val_rows, weight, bias), val[1]))
            path.append(step)
            if best is None or _selection_score(step, photos, usual) > _selection_score(best[0], photos, usual):
                best = step, weight, bias
        best_yet = max(step.score for step in path)
        if len(path) > PATIENCE and all(step.score < best_yet for step in path[-PATIENCE:]):
            break
    assert best is not None
    step, weight, bias = best
    logits, targets = beside.joined(step.l2, _logits(val_rows, weight, bias), val[1])
    scaled_by = (MULTILABEL if y.ndim == 2 else MULTICLASS).temperature(logits, targets)
    weight = weight / rows.scale  # from standardised to raw features
    bias = bias - weight @ rows.mean
    return Probe((weight / scaled_by).float(), (bias / scaled_by).float(), step.l2, tuple(reversed(path)), scaled_by)


@dataclass(frozen=True)
class _Beside:
    """Photos of train that count beside val: for each strength the logits [n, C] by the probe that has not
    seen a photo's fold, and what is true of them.
    """

    logits: dict[float, np.ndarray]
    targets: np.ndarray

    @classmethod
    def of(
        cls, train: tuple[np.ndarray, np.ndarray], classes: int, grid: Sequence[float], weights: torch.Tensor | None,
        scales: np.ndarray | None, folds: np.ndarray | None,
    ) -> _Beside:  # fmt: skip
        """Those of every fold that other folds can judge; without folds there are none."""
        if folds is None:
            return cls({}, train[1][:0])
        found = cross_validate(*train, classes, folds, grid, scales=scales, weights=weights)
        kept = judgeable(train[1], folds, classes)
        return cls({l2: one[kept] for l2, one in zip(grid, found.logits, strict=True)}, train[1][kept])

    def joined(self, l2: float, logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of a strength, after the logits and targets of val."""
        if not len(self.targets):
            return logits, targets
        return np.concatenate([logits, self.logits[l2]]), np.concatenate([targets, self.targets])

    def score(self, l2: float, logits: np.ndarray, targets: np.ndarray) -> float:
        """What choices compare, over val and these photos."""
        objective = MULTILABEL if targets.ndim == 2 else MULTICLASS
        return on_val(objective, *self.joined(l2, logits, targets)).score[0]


def _logits(rows: Rows, weight: torch.Tensor, bias: torch.Tensor) -> np.ndarray:
    return torch.cat(list(rows.logits(weight, bias))).double().numpy()


def _targets(labels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(labels).double() if labels.ndim == 2 else torch.from_numpy(labels).long()


def _weights(labels: np.ndarray, classes: int) -> torch.Tensor:
    """Of each photo [N], or of each photo and label [N, C]."""
    if labels.ndim == 1:
        return torch.from_numpy(class_weights(labels, classes)[labels])
    without, with_ = label_weights(labels)
    return torch.from_numpy(np.where(labels > 0, with_, without))


def _selection_score(step: ProbeStep, photos: int, usual: float = USUAL_L2) -> float:
    """Correct predictions on ``photos`` (as if their classes were even), less ``prior_penalty``."""
    return step.score * photos - prior_penalty(step.l2, usual)


def _figures(rows: Rows, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> OnVal:
    if y.ndim == 2:
        return on_val(MULTILABEL, _logits(rows, weight, bias), y.numpy())
    loss, correct = 0.0, torch.zeros(len(y), dtype=torch.bool)
    first = 0
    for logits in rows.logits(weight, bias):
        labels = y[first : first + len(logits)]
        loss += F.cross_entropy(logits.double(), labels, reduction="sum").item()
        correct[first : first + len(logits)] = logits.argmax(1) == labels
        first += len(logits)
    return OnVal(loss / len(y), int(correct.sum()) / len(y), balanced_if_uneven(correct.numpy(), y.numpy()))
