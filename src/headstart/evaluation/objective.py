"""Objectives: targets, loss, the meaning of logits, and metrics. ``multiclass`` is one class per photo, ``multilabel``
any number of labels (see ``evaluation.multilabel``).

Another objective is one class here, or in another package under the entry point group ``headstart.objectives``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from headstart.core.registry import Registry
from headstart.evaluation import calibration, metrics
from headstart.evaluation.multilabel_metrics import mean_average_precision
from headstart.models.network import softmax


class Objective(Protocol):
    """What a network is trained for. N photos, C classes."""

    name: str
    several: bool
    """Whether a photo has any number of labels, and targets are [N, C]."""

    def targets(self, labels: Sequence[Any], classes: int) -> np.ndarray:
        """What loss and figures compare with, one row per photo, from the index of its class or those of its labels."""

    def loss(
        self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The mean loss of logits [N, C], a scalar; each photo times the weight of its class, from ``weights`` [C]; of
        several labels, from ``weights`` [2, C] of photos without and with each.
        """

    def correct(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Whether each prediction is correct, bool [N]."""

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities [N, C], float64."""

    def activate(self, logits: torch.Tensor) -> torch.Tensor:
        """The same as a layer of a network."""

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """The prediction for each photo."""

    def fitted(self, probabilities: np.ndarray, targets: np.ndarray) -> Objective:
        """With what decisions need besides the network, from val photos that the network was not trained on."""

    def metrics(self, probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        """The figures of one split, as metrics.json holds them."""

    def temperature(self, logits: np.ndarray, targets: np.ndarray) -> float:
        """What to divide logits by, so that probabilities are calibrated."""

    def before_scaling(self, logits: np.ndarray, targets: np.ndarray, temperature: float) -> dict[str, Any]:
        """The calibration before that, as metrics.json holds it, from the logits of the scaled head."""

    def own(self, probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The probability of what is true of each photo [N]."""

    def to_json(self) -> dict[str, Any] | None:
        """What model.json holds of it; None for one class per photo."""


class MultiClass:
    """One class per photo: cross-entropy, softmax, the most probable class."""

    name = "multiclass"
    several = False

    def targets(self, labels: Sequence[int], classes: int) -> np.ndarray:
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

    def activate(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.softmax(logits, 1)

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        return np.asarray(probabilities.argmax(1))

    def fitted(self, probabilities: np.ndarray, targets: np.ndarray) -> MultiClass:
        return self

    def metrics(self, probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        return metrics.evaluate(probabilities, targets, classes)

    def temperature(self, logits: np.ndarray, targets: np.ndarray) -> float:
        return calibration.temperature(torch.from_numpy(logits).double(), torch.from_numpy(targets).long())

    def before_scaling(self, logits: np.ndarray, targets: np.ndarray, temperature: float) -> dict[str, Any]:
        return calibration.before_scaling(logits, targets, temperature)

    def own(self, probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.asarray(probabilities[np.arange(len(targets)), targets])

    def to_json(self) -> None:
        return None


MULTICLASS = MultiClass()
OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    "headstart.objectives",
    {"multiclass": f"{__name__}:MULTICLASS", "multilabel": "headstart.evaluation.multilabel:MULTILABEL"},
)


class OnVal(tuple[float, float]):
    """(loss, accuracy) on val; ``balanced``: the balanced accuracy, where its classes are uneven; ``mean_ap``: mean
    average precision, where photos have any number of labels (accuracy is then the share with all of them right).
    """

    balanced: float | None
    mean_ap: float | None

    def __new__(
        cls, loss: float, accuracy: float, balanced: float | None = None, mean_ap: float | None = None
    ) -> OnVal:
        self = super().__new__(cls, (loss, accuracy))
        self.balanced, self.mean_ap = balanced, mean_ap
        return self

    @classmethod
    def of(cls, val: tuple[float, float]) -> OnVal:
        """Plain figures have no balanced accuracy."""
        return val if isinstance(val, OnVal) else cls(*val)

    @property
    def score(self) -> tuple[float, float]:
        """What choices compare, higher is better: mean average precision or balanced accuracy where there is one, else
        accuracy; then the loss.
        """
        return next(v for v in (self.mean_ap, self.balanced, self[1]) if v is not None), -self[0]


def on_val(objective: Objective, logits: np.ndarray, targets: np.ndarray) -> OnVal:
    """The figures of logits [N, C] that choices are made by."""
    figures = loss_accuracy(objective, logits, targets)
    if objective.several:
        return OnVal(*figures, mean_ap=mean_average_precision(logits, targets > 0))
    correct = objective.correct(torch.from_numpy(logits).double(), torch.from_numpy(targets)).numpy()
    return OnVal(*figures, balanced_if_uneven(correct, targets))


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
