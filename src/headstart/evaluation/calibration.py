"""Temperature scaling: the number to divide logits by, so that probabilities fit the labels.

Source: Guo et al. (2017), "On calibration of modern neural networks", ICML, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from headstart.evaluation.metrics import calibration, log_loss
from headstart.models.network import softmax


def temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The temperature for logits [N, C] of photos with these labels [N]; no predicted class changes.

    A strong L2 leaves a head that is correct but underconfident, many epochs one that is overconfident. The logarithm
    has a standard normal prior: few validation photos, all of them correct, would otherwise ask for certainty.
    """

    return best_scale(lambda t: F.cross_entropy(logits / t, labels, reduction="sum"))


def best_scale(loss: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """The temperature with the lowest ``loss``, which is a sum over photos; the prior as of ``temperature``."""

    def cost(t: torch.Tensor) -> torch.Tensor:
        return loss(t.exp()) + 0.5 * t * t

    found = torch.zeros((), dtype=torch.float64)
    for reach, count in ((4.0, 21), (0.4, 41)):  # the whole range roughly, then finely around the best
        grid = found + torch.linspace(-reach, reach, count, dtype=torch.float64)
        found = grid[torch.stack([cost(t) for t in grid]).argmin()]
    return float(found.exp())


def before_scaling(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, Any]:
    """The calibration before scaling, as metrics.json holds it: ``ece``, ``bins`` and ``log_loss`` (nats), from the
    logits [N, C] of the scaled head, the labels [N] and what the logits were divided by.
    """
    probabilities = softmax(logits.astype(np.float64) * temperature)
    correct = probabilities.argmax(1) == labels
    return {**calibration(probabilities.max(1), correct), "log_loss": log_loss(probabilities, labels)}
