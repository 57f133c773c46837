"""Cross-validated probes: logits of every photo by the probe that was fitted on the other folds, per L2 strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from headstart.data.stratify import assign
from headstart.training.linear_probe import prior_penalty
from headstart.training.logistic_regression import Rows, precise_enough, solve

FOLDS = 5
STRENGTHS = (2.0, 0.2, 0.02)  # L2 of the probe, strong to weak: the usual one and a decade to either side


def assign_folds(labels: Sequence[str], units: Sequence[int], seed: int, folds: int = FOLDS) -> np.ndarray:
    """The fold of each photo [N]: stratified, units whole."""
    return np.array(assign(labels, units, [1 / folds] * folds, seed))


@dataclass(frozen=True)
class CrossValidated:
    """``logits`` [S, N, C] of every photo by the probe of each strength that has not seen its fold."""

    strengths: tuple[float, ...]
    logits: np.ndarray

    def correct(self, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Whether the prediction for each photo is correct [N]. The strength for a fold is the best one on the *other*
        folds, so that choosing it does not bias the result.
        """
        hits = self.logits.argmax(2) == labels
        found = np.zeros(len(labels), dtype=bool)
        for fold in np.unique(folds):
            own, others = folds == fold, folds != fold
            best = max(range(len(hits)), key=lambda s: float(hits[s, others].sum()) - prior_penalty(self.strengths[s]))
            found[own] = hits[best, own]
        return found


def cross_validate(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    folds: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
    tolerance: float = 1e-4,
    scales: np.ndarray | None = None,
) -> CrossValidated:
    """A probe of features [N, D] per fold and strength, its logits for the photos that it has not seen; ``scales`` as
    of ``Rows``.
    """
    x, y = torch.from_numpy(np.ascontiguousarray(features)), torch.from_numpy(labels).long()
    logits = np.zeros((len(strengths), len(labels), classes), dtype=np.float32)
    dtype = precise_enough(x.numel(), len(strengths), classes)
    for fold in np.unique(folds):
        out = torch.from_numpy(folds == fold)
        rows = Rows(x[~out], dtype, scales=scales)
        asked = Rows(x[out], dtype, like=rows)
        solved = (one for together in solve(rows, y[~out], classes, strengths, tolerance) for one in together)
        for s, (_, weight, bias) in enumerate(solved):
            logits[s, out.numpy()] = torch.cat(list(asked.logits(weight, bias))).float().numpy()
    return CrossValidated(tuple(strengths), logits)
