"""Linear probes: multinomial logistic regression on standardised frozen features, its L2 chosen from a grid on val.

Beyond the features and one copy of them, memory does not grow with the photos: the rest is computed in chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from headstart.evaluation.calibration import temperature
from headstart.training.logistic_regression import Rows, precise_enough, solve

L2_GRID = tuple(float(v) for v in np.logspace(-3, 2, 11))
"""Strengths tried by default, in half decades: on photos the best is nearly always among them."""
USUAL_L2 = 0.2  # a strength that serves most photo sets; see ``_selection_score``
PATIENCE = 2
"""Strengths in a row that are worse on val than a stronger one, after which weaker ones are not tried: on sets so large
that strengths are solved one after the other, the weak ones take the most time and overfit the most."""


@dataclass(frozen=True)
class ProbeStep:
    """One strength of the grid and its figures."""

    l2: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float


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
) -> Probe:
    """Fit the grid on ``train`` and choose on ``val``; each is (features [N, D] float, labels [N] int)."""
    dtype = precise_enough(train[0].size, len(l2_grid), classes)
    rows, y = Rows(torch.from_numpy(train[0]), dtype), torch.from_numpy(train[1]).long()
    val_rows, val_y = Rows(torch.from_numpy(val[0]), dtype, like=rows), torch.from_numpy(val[1]).long()
    path: list[ProbeStep] = []
    best: tuple[ProbeStep, torch.Tensor, torch.Tensor] | None = None
    for together in solve(rows, y, classes, sorted(l2_grid, reverse=True)):
        for l2, weight, bias in together:
            step = ProbeStep(l2, *_loss_accuracy(rows, y, weight, bias), *_loss_accuracy(val_rows, val_y, weight, bias))
            path.append(step)
            if best is None or _selection_score(step, len(val_y)) > _selection_score(best[0], len(val_y)):
                best = step, weight, bias
        best_yet = max(step.val_accuracy for step in path)
        if len(path) > PATIENCE and all(step.val_accuracy < best_yet for step in path[-PATIENCE:]):
            break
    assert best is not None
    step, weight, bias = best
    scaled_by = temperature(torch.cat(list(val_rows.logits(weight, bias))).double(), val_y)
    weight = weight / rows.scale  # from standardised to raw features
    bias = bias - weight @ rows.mean
    return Probe((weight / scaled_by).float(), (bias / scaled_by).float(), step.l2, tuple(reversed(path)), scaled_by)


def _selection_score(step: ProbeStep, photos: int) -> float:
    """Correct predictions on val, where a decade away from the usual strength costs half a photo.

    On few val photos most strengths tie; then the usual one is a better choice than the lowest loss, which favours
    weak penalties (benchmarks/claims/l2_choice.py compares the two).
    """
    return step.val_accuracy * photos - prior_penalty(step.l2)


def prior_penalty(l2: float) -> float:
    """In photos: half a one per decade away from the usual strength."""
    return 0.5 * abs(float(np.log10(l2 / USUAL_L2)))


def _loss_accuracy(rows: Rows, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> tuple[float, float]:
    loss, correct, first = 0.0, 0, 0
    for logits in rows.logits(weight, bias):
        labels = y[first : first + len(logits)]
        loss += F.cross_entropy(logits.double(), labels, reduction="sum").item()
        correct += int((logits.argmax(1) == labels).sum())
        first += len(logits)
    return loss / len(y), correct / len(y)
