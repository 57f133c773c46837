"""Linear probes: logistic regression on standardised frozen features, its L2 chosen from a grid on val; multinomial for
one class per photo, one per label for any number of them.

Beyond the features and one copy of them, memory does not grow with the photos: the rest is computed in chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from headstart.evaluation.calibration import temperature
from headstart.evaluation.multilabel import MULTILABEL
from headstart.evaluation.objective import OnVal, balanced_if_uneven, on_val
from headstart.training.balance import class_weights, label_weights
from headstart.training.logistic_regression import Rows, precise_enough, solve

L2_GRID = tuple(float(v) for v in np.logspace(-3, 2, 11))
"""Strengths tried by default, in half decades: on photos the best is nearly always among them."""
USUAL_L2 = 0.2  # a strength that serves most photo sets; see ``_selection_score``
USUAL_L2_BALANCED = 2.0
"""Likewise where classes are weighted: what a heavy class of few photos says needs more restraint
(benchmarks/claims/imbalance_l2.py)."""
PATIENCE = 2
"""Strengths in a row that are worse on val than a stronger one, after which weaker ones are not tried: on sets so large
that strengths are solved one after the other, the weak ones take the most time and overfit the most."""


@dataclass(frozen=True)
class ProbeStep:
    """One strength of the grid and its figures; the balanced accuracy only where the classes of val are uneven, mean
    average precision where photos have any number of labels.
    """

    l2: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_balanced_accuracy: float | None = None
    val_map: float | None = None

    @property
    def val_score(self) -> float:
        """What choices compare: see ``OnVal.score``."""
        return OnVal(self.val_loss, self.val_accuracy, self.val_balanced_accuracy, self.val_map).score[0]


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
) -> Probe:
    """Fit the grid on ``train`` and choose on ``val``; each is (features [N, D] float, labels [N] int), or for any
    number of labels (features, targets [N, C] of 0 and 1): then each label has a logistic regression of its own, and
    all have one strength. ``balanced``: each class has the same part in the loss; ``scales`` [D] as of ``Rows``.
    """
    dtype = precise_enough(train[0].size, len(l2_grid), classes)
    several = train[1].ndim == 2
    rows, y = Rows(torch.from_numpy(train[0]), dtype, scales=scales), _targets(train[1])
    val_rows, val_y = Rows(torch.from_numpy(val[0]), dtype, like=rows), _targets(val[1])
    path: list[ProbeStep] = []
    best: tuple[ProbeStep, torch.Tensor, torch.Tensor] | None = None
    weights = _weights(train[1], classes) if balanced else None
    usual = USUAL_L2_BALANCED if balanced else USUAL_L2
    for together in solve(rows, y, classes, sorted(l2_grid, reverse=True), weights=weights):
        for l2, weight, bias in together:
            fit, chosen_by = (_figures(*of, weight, bias) for of in ((rows, y), (val_rows, val_y)))
            step = ProbeStep(l2, *fit, *chosen_by, chosen_by.balanced, chosen_by.mean_ap)
            path.append(step)
            if best is None or _selection_score(step, len(val_y), usual) > _selection_score(best[0], len(val_y), usual):
                best = step, weight, bias
        best_yet = max(step.val_score for step in path)
        if len(path) > PATIENCE and all(step.val_score < best_yet for step in path[-PATIENCE:]):
            break
    assert best is not None
    step, weight, bias = best
    val_logits = torch.cat(list(val_rows.logits(weight, bias))).double()
    scaled_by = MULTILABEL.temperature(val_logits.numpy(), val[1]) if several else temperature(val_logits, val_y)
    weight = weight / rows.scale  # from standardised to raw features
    bias = bias - weight @ rows.mean
    return Probe((weight / scaled_by).float(), (bias / scaled_by).float(), step.l2, tuple(reversed(path)), scaled_by)


def _targets(labels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(labels).double() if labels.ndim == 2 else torch.from_numpy(labels).long()


def _weights(labels: np.ndarray, classes: int) -> torch.Tensor:
    """Of each photo [N], or of each photo and label [N, C]."""
    if labels.ndim == 1:
        return torch.from_numpy(class_weights(labels, classes)[labels])
    without, with_ = label_weights(labels)
    return torch.from_numpy(np.where(labels > 0, with_, without))


def _selection_score(step: ProbeStep, photos: int, usual: float = USUAL_L2) -> float:
    """Correct predictions on val (as if its classes were even), where a decade away from the usual strength costs half
    a photo.

    On few val photos most strengths tie; then the usual one is a better choice than the lowest loss, which favours
    weak penalties (benchmarks/claims/l2_choice.py compares the two).
    """
    return step.val_score * photos - prior_penalty(step.l2, usual)


def prior_penalty(l2: float, usual: float = USUAL_L2) -> float:
    """In photos: half a one per decade away from the usual strength."""
    return 0.5 * abs(float(np.log10(l2 / usual)))


def _figures(rows: Rows, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> OnVal:
    if y.ndim == 2:
        return on_val(MULTILABEL, torch.cat(list(rows.logits(weight, bias))).double().numpy(), y.numpy())
    loss, correct = 0.0, torch.zeros(len(y), dtype=torch.bool)
    first = 0
    for logits in rows.logits(weight, bias):
        labels = y[first : first + len(logits)]
        loss += F.cross_entropy(logits.double(), labels, reduction="sum").item()
        correct[first : first + len(logits)] = logits.argmax(1) == labels
        first += len(logits)
    return OnVal(loss / len(y), int(correct.sum()) / len(y), balanced_if_uneven(correct.numpy(), y.numpy()))
