"""The objective of photos with any number of labels: a yes or no for each label.

In: logits [N, C], and which labels each photo has, as indices. Out: sigmoid probabilities, and the labels whose
probability reaches a threshold of their own, which val chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from headstart.evaluation.calibration import best_scale
from headstart.evaluation.metrics import calibration
from headstart.evaluation.multilabel_metrics import (
    UNKNOWN_THRESHOLD,
    best_thresholds,
    binary_log_loss,
    evaluate_labels,
)


@dataclass(frozen=True)
class MultiLabel:
    """Binary cross-entropy and a sigmoid per label. ``thresholds``: one per label; none before val has chosen them, and
    then each is ``UNKNOWN_THRESHOLD``.
    """

    thresholds: tuple[float, ...] = ()
    name = "multilabel"
    several = True

    def targets(self, labels: Sequence[Sequence[int]], classes: int) -> np.ndarray:
        """float32 [N, C], 1 where the photo has the label."""
        found = np.zeros((len(labels), classes), np.float32)
        for row, own in zip(found, labels, strict=True):
            row[list(own)] = 1
        return found

    def loss(
        self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The mean over photos and labels; ``weights`` [2, C] of photos without and with each label."""
        wanted = targets.to(logits.dtype)
        each = None if weights is None else torch.where(targets > 0, weights[1], weights[0]).to(logits.dtype)
        if smoothing:
            wanted = wanted * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, wanted, weight=each)

    def correct(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Whether all labels of each photo are right [N], at probabilities of 0.5."""
        return ((logits > 0) == (targets > 0)).all(1)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        return torch.from_numpy(np.asarray(logits)).double().sigmoid().numpy()

    def activate(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.sigmoid()

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """bool [N, C]: the labels that each photo is given."""
        return np.asarray(probabilities >= self.cuts(probabilities.shape[1]))

    def cuts(self, classes: int) -> np.ndarray:
        """The thresholds [C]."""
        return np.array(self.thresholds) if self.thresholds else np.full(classes, UNKNOWN_THRESHOLD)

    def fitted(self, probabilities: np.ndarray, targets: np.ndarray) -> MultiLabel:
        """With the thresholds that are the best on photos of val (see ``best_thresholds``)."""
        return replace(self, thresholds=tuple(best_thresholds(probabilities, targets > 0).tolist()))

    def metrics(self, probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        return evaluate_labels(probabilities, targets, classes, self.cuts(len(classes)))

    def temperature(self, logits: np.ndarray, targets: np.ndarray) -> float:
        """One for all labels, by their binary cross-entropy."""
        outputs, wanted = torch.from_numpy(logits).double(), torch.from_numpy(targets).double()
        return best_scale(
            lambda t: F.binary_cross_entropy_with_logits(outputs / t, wanted, reduction="none").mean(1).sum()
        )

    def before_scaling(self, logits: np.ndarray, targets: np.ndarray, temperature: float) -> dict[str, Any]:
        """As ``calibration.before_scaling``, of all decisions."""
        p, true = self.probabilities(logits.astype(np.float64) * temperature), targets > 0
        return {**calibration(p.ravel(), true.ravel()), "log_loss": binary_log_loss(p, true)}

    def own(self, probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """[N]: the probability given to the least probable of what is so: that a photo has a label, or has not."""
        return np.asarray(np.where(targets > 0, probabilities, 1 - probabilities).min(1))

    def to_json(self) -> dict[str, Any]:
        """As model.json holds it."""
        return {"name": self.name, "thresholds": list(self.thresholds)}


MULTILABEL = MultiLabel()
