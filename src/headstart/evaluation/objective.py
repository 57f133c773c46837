"""Objectives: targets, loss, the meaning of logits, and metrics. ``multiclass`` is one class per photo.

Another objective (several labels per photo) is one class here, or in another package under the entry point group
``headstart.objectives``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from headstart.core.registry import Registry
from headstart.evaluation import calibration, metrics
from headstart.models.network import softmax


class Objective(Protocol):
    """What a network is trained for. N photos, C classes."""

    name: str

    def targets(self, labels: Sequence[int]) -> np.ndarray:
        """What loss and figures compare with, one row per photo."""

    def loss(
        self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The mean loss of logits [N, C], a scalar; each photo times the weight of its class, from ``weights`` [C]."""

    def correct(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Whether each prediction is correct, bool [N]."""

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities [N, C], float64."""

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """The prediction for each photo."""

    def metrics(self, probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        """The figures of one split, as metrics.json holds them."""

    def temperature(self, logits: np.ndarray, targets: np.ndarray) -> float:
        """What to divide logits by, so that probabilities are calibrated."""


class MultiClass:
    """One class per photo: cross-entropy, softmax, the most probable class."""

    name = "multiclass"

    def targets(self, labels: Sequence[int]) -> np.ndarray:
        return np.array(labels, dtype=np.int64)

    def loss(
        self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        if weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=smoothing)
        # Not cross_entropy's own ``weight``: that divides by the weights of a batch, so batches would count unequally.
        each = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
        return (weights[targets] * each).mean()

    def correct(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return logits.argmax(1) == targets

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits)

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        return np.asarray(probabilities.argmax(1))

    def metrics(self, probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        return metrics.evaluate(probabilities, targets, classes)

    def temperature(self, logits: np.ndarray, targets: np.ndarray) -> float:
        return calibration.temperature(torch.from_numpy(logits).double(), torch.from_numpy(targets).long())


MULTICLASS = MultiClass()
OBJECTIVES: Registry[Objective] = Registry(
    "objective", "headstart.objectives", {"multiclass": f"{__name__}:MULTICLASS"}
)


class OnVal(tuple[float, float]):
    """(loss, accuracy) on val; ``balanced``: the balanced accuracy, where its classes are uneven."""

    balanced: float | None

    def __new__(cls, loss: float, accuracy: float, balanced: float | None = None) -> OnVal:
        self = super().__new__(cls, (loss, accuracy))
        self.balanced = balanced
        return self

    @classmethod
    def of(cls, val: tuple[float, float]) -> OnVal:
        """Plain figures have no balanced accuracy."""
        return val if isinstance(val, OnVal) else cls(*val)

    @property
    def score(self) -> tuple[float, float]:
        """What choices compare, higher is better: balanced accuracy where there is one, then the loss."""
        return self[1] if self.balanced is None else self.balanced, -self[0]


def on_val(objective: Objective, logits: np.ndarray, targets: np.ndarray) -> OnVal:
    """The figures of logits [N, C] that choices are made by."""
    correct = objective.correct(torch.from_numpy(logits).double(), torch.from_numpy(targets)).numpy()
    return OnVal(*loss_accuracy(objective, logits, targets), balanced_if_uneven(correct, targets))


def balanced_if_uneven(correct: np.ndarray, targets: np.ndarray) -> float | None:
    """The mean over classes of the share of correct predictions [N], where the classes of ``targets`` are uneven. None
    for targets that are no classes [N], too.
    """
    if targets.ndim != 1 or not len(targets):
        return None
    counts = np.bincount(targets)
    held = counts > 0
    return float((np.bincount(targets, correct)[held] / counts[held]).mean()) if metrics.uneven(counts) else None


def loss_accuracy(objective: Objective, logits: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """(mean loss, accuracy) of logits [N, C], in float64."""
    outputs, wanted = torch.from_numpy(logits).double(), torch.from_numpy(targets)
    return objective.loss(outputs, wanted).item(), objective.correct(outputs, wanted).double().mean().item()
