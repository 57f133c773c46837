"""Temperature scaling. In: logits of val photos, their labels. Out: the number to divide logits by, and a head that
does so.

Source: Guo et al. (2017), "On calibration of modern neural networks", ICML, section 4.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from headstart.evaluation.metrics import calibration, log_loss
from headstart.models.network import head_logits, last_linear, softmax


def temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The number to divide logits [N, C] by, so that probabilities fit the labels [N]; no answer changes.

    A strong L2 leaves a head that is right but timid, many epochs one that is too sure. A standard normal prior on the
    logarithm: few val photos, all of them right, would otherwise ask for certainty.
    """

    def cost(t: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits / t.exp(), labels, reduction="sum") + 0.5 * t * t

    found = torch.zeros((), dtype=torch.float64)
    for reach, count in ((4.0, 21), (0.4, 41)):  # the whole range roughly, then finely around the best
        grid = found + torch.linspace(-reach, reach, count, dtype=torch.float64)
        found = grid[torch.stack([cost(t) for t in grid]).argmin()]
    return float(found.exp())


def scale_head(head: nn.Module, features: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature of a head on val features [N, D] and divide its last layer by it; returns it.

    In the weights every later use has it: nothing that reads the model needs to know.
    """
    found = temperature(torch.from_numpy(head_logits(head, features)).double(), torch.from_numpy(labels).long())
    with torch.no_grad():
        last = last_linear(head)
        last.weight.div_(found)
        last.bias.div_(found)
    return found


def before_scaling(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, Any]:
    """What metrics.json says of calibration as it was: ``logits`` [N, C] are those of the scaled head.

    Returns ``ece`` and ``bins`` (see ``evaluation.metrics.calibration``), ``log_loss`` in nats.
    """
    probabilities = softmax(logits.astype(np.float64) * temperature)
    right = probabilities.argmax(1) == labels
    return {**calibration(probabilities.max(1), right), "log_loss": log_loss(probabilities, labels)}
