"""Linear probes. In: features, labels and a grid of L2 strengths. Out: one linear head, chosen on val, ready to
stand on the raw features.

Multinomial logistic regression on standardised features (``logistic``) for every strength of the grid. Memory does not
grow with the photos beyond their features and one copy of them: everything else is worked out a chunk at a time.
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
USUAL_L2 = 0.2
"""A strength that serves most photo sets; see ``choose``."""
PATIENCE = 2
"""Strengths in a row that are worse on val than a stronger one, after which weaker ones are not tried: on sets so large
that strengths are solved one after the other, the weak ones take the most time and overfit the most."""


@dataclass(frozen=True)
class ProbeStep:
    """One strength of the grid and how it does."""

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
        if _worse_now(path):
            break
    assert best is not None
    step, weight, bias = best
    warmth = temperature(torch.cat(list(val_rows.logits(weight, bias))).double(), val_y)
    weight = weight / rows.scale  # from standardised to raw features
    bias = bias - weight @ rows.mean
    return Probe((weight / warmth).float(), (bias / warmth).float(), step.l2, tuple(reversed(path)), warmth)


def _worse_now(path: Sequence[ProbeStep]) -> bool:
    """Whether the last ``PATIENCE`` strengths, from strong to weak, are all worse on val than one before them."""
    best = max(step.val_accuracy for step in path)
    return len(path) > PATIENCE and all(step.val_accuracy < best for step in path[-PATIENCE:])


def _selection_score(step: ProbeStep, photos: int) -> float:
    """Val photos right, where a decade away from the usual strength costs half a photo.

    On few val photos most strengths tie; then the usual one is the better guess than the lowest loss, which favours
    weak penalties (benchmarks/claims/l2_choice.py compares the two).
    """
    return step.val_accuracy * photos - prior_penalty(step.l2)


def prior_penalty(l2: float) -> float:
    """What a strength has to make up for in photos: half a one per decade away from the usual strength."""
    return 0.5 * abs(float(np.log10(l2 / USUAL_L2)))


def choose(path: Sequence[ProbeStep], photos: int) -> int:
    """The index of the strength that a probe takes."""
    return max(range(len(path)), key=lambda g: _selection_score(path[g], photos))


def _loss_accuracy(rows: Rows, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> tuple[float, float]:
    loss, right, first = 0.0, 0, 0
    for logits in rows.logits(weight, bias):
        labels = y[first : first + len(logits)]
        loss += F.cross_entropy(logits.double(), labels, reduction="sum").item()
        right += int((logits.argmax(1) == labels).sum())
        first += len(logits)
    return loss / len(y), right / len(y)
