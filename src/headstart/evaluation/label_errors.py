"""The probability that a given label is wrong, from labels and out-of-sample probabilities alone."""

from __future__ import annotations

import numpy as np
import torch

SHARPNESS = 2.5
"""Power of the probabilities: a probe that learned from wrong labels, or with L2, is less sure than it could be."""
TRUSTED = 30
"""Photos per class that count as correctly labelled before any is seen: few photos convict no label."""
STEPS = 50
TOLERANCE = 1e-4
FLOOR = 1e-7
"""Of a probability, so that its power is no zero."""


def posterior(probabilities: np.ndarray, labels: np.ndarray, sharpness: float = SHARPNESS) -> np.ndarray:
    """The probability of each class to be the true one, given the photo and its label [N, C].

    The true class has a probability proportional to ``probabilities ** sharpness``; its label is drawn from a row of a
    confusion matrix, which EM fits (Dawid & Skene 1979, "Maximum likelihood estimation of observer error-rates using
    the EM algorithm", with a classifier in place of the class's share).

    Args:
        probabilities: [N, C], by a model that was not fitted on the photo.
        labels: [N], the given ones.
        sharpness: the power; others than the default for benchmarks.
    """
    seen = torch.from_numpy(np.asarray(probabilities, dtype=np.float64)).clamp_min(FLOOR)
    given, classes = torch.from_numpy(np.asarray(labels, dtype=np.int64)), seen.shape[1]
    prior = torch.softmax(seen.log() * sharpness, 1)
    trusted = TRUSTED * torch.eye(classes, dtype=torch.float64) + 1 / classes
    # Rows: given labels; columns: true classes. Each column sums to 1.
    confusion = trusted / trusted.sum(0)
    for _ in range(STEPS):
        found = _posterior(prior, confusion, given)
        counts = trusted.clone().index_add_(0, given, found)
        before, confusion = confusion, counts / counts.sum(0)
        if (confusion - before).abs().max() < TOLERANCE:
            break
    return _posterior(prior, confusion, given).numpy()


def _posterior(prior: torch.Tensor, confusion: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    joint = prior * confusion[given]
    return joint / joint.sum(1, keepdim=True)
