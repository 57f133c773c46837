"""Cross-validated probes: logits of every photo by the probe that was fitted on the other folds, per L2 strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from headstart.data.stratify import assign
from headstart.data.stratify_several import assign_several
from headstart.training.logistic_regression import Rows, precise_enough, solve
from headstart.training.strengths import prior_penalty

FOLDS = 5
FEW_VAL = 100
"""Photos of val below which a choice by them alone is a gamble, so that those of train take part in it
(benchmarks/claims/l2_choice.py compares the two)."""
MOST_BESIDE = 2000
"""Photos of train that take part: more say little more, and would cost time and memory."""
NEVER_OUT = -1
"""The fold of a photo that every probe of a cross-validation is trained on."""
STRENGTHS = (2.0, 0.2, 0.02)  # L2 of the probe, strong to weak: the usual one and a decade to either side


def assign_folds(labels: Sequence[str], units: Sequence[int], seed: int, folds: int = FOLDS) -> np.ndarray:
    """The fold of each photo [N]: stratified, units whole."""
    return np.array(assign(labels, units, [1 / folds] * folds, seed))


def folds_beside(targets: np.ndarray, units: np.ndarray, val: int, seed: int) -> np.ndarray | None:
    """The fold of each photo of train [N], where ``val`` has so few photos that those of train are to count beside
    them; None where it has enough, or train has too few units for folds. Of more than ``MOST_BESIDE`` photos, so many
    are one fold, and the others ``NEVER_OUT``.

    Args:
        targets: classes [N], or which labels a photo has [N, C].
        units: photos with the same number stay in one fold [N].
        val: how many photos it has.
        seed: of the folds.
    """
    if val >= FEW_VAL:
        return None
    share = MOST_BESIDE / max(1, len(targets))
    parts = [1 / FOLDS] * FOLDS if share >= 1 else [share, 1 - share]
    if targets.ndim == 2:
        several = [[str(label) for label in np.flatnonzero(row)] for row in targets]
        folds = np.array(assign_several(several, units.tolist(), parts, seed))
    else:
        folds = np.array(assign([str(label) for label in targets.tolist()], units.tolist(), parts, seed))
    if len(np.unique(folds)) < 2:
        return None
    return folds if share >= 1 else np.where(folds == 0, 0, NEVER_OUT)


def judgeable(targets: np.ndarray, folds: np.ndarray, classes: int) -> np.ndarray:
    """Whether a cross-validation says something of each photo [N]: it is in a fold, and where photos have one class,
    other folds have photos of it, without which no probe can get it right.
    """
    judged = folds != NEVER_OUT
    if targets.ndim == 1:
        own = np.zeros((folds.max() + 1, classes), np.int64)
        np.add.at(own, (folds[judged], targets[judged]), 1)
        judged &= np.bincount(targets, minlength=classes)[targets] > own[folds, targets]
    return np.asarray(judged)


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
    weights: torch.Tensor | None = None,
) -> CrossValidated:
    """A probe of features [N, D] per fold and strength, its logits for the photos that it has not seen; ``labels`` [N],
    or targets [N, C] of 0 and 1; ``scales`` as of ``Rows``, ``weights`` as of ``solve``. Logits of photos that are
    never held out are 0.
    """
    x, y = torch.from_numpy(np.ascontiguousarray(features)), torch.from_numpy(labels)
    y = y.double() if y.ndim == 2 else y.long()
    logits = np.zeros((len(strengths), len(labels), classes), dtype=np.float32)
    dtype = precise_enough(x.numel(), len(strengths), classes)
    for fold in np.unique(folds[folds != NEVER_OUT]):
        out = torch.from_numpy(folds == fold)
        rows = Rows(x[~out], dtype, scales=scales)
        asked = Rows(x[out], dtype, like=rows)
        own = None if weights is None else weights[~out]
        solved = solve(rows, y[~out], classes, strengths, tolerance, own)
        for s, (_, weight, bias) in enumerate(one for together in solved for one in together):
            logits[s, out.numpy()] = torch.cat(list(asked.logits(weight, bias))).float().numpy()
    return CrossValidated(tuple(strengths), logits)
