"""Whether a probe reads the last stage alone or all stages joined, decided without the test photos.

Earlier stages hold texture and colour, which photos unlike ImageNet's need, and which distract from its objects: see
Evci et al. (2022), "Head2Toe: utilizing intermediate representations for better transfer learning", ICML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from headstart.data.stratify import assign
from headstart.training.cross_validation import FOLDS, assign_folds, cross_validate

SCALES = (0.0, 0.5, 1.0)
"""Scales of the joined stages' standardised features beside the last stage's: the smaller, the more L2 restrains them;
0 leaves them out."""
STRENGTHS = (20.0, 2.0, 0.2, 0.02)
MARGIN = 2.0
"""Standard errors by which joined stages must lower the loss: with one, photos like ImageNet's lost accuracy."""
SAMPLE = 1000  # photos of train and val that are cross-validated: more cost time and change little

FEWEST = 4  # photos of a class, below which folds say next to nothing of it


@dataclass(frozen=True)
class Joining:
    """``scale``: one of ``SCALES``; ``reason`` in words."""

    scale: float
    reason: str


def column_scales(scale: float, columns: int, last: int) -> np.ndarray:
    """The scale of each standardised feature [D], of which the last stage's are the last ones, at 1."""
    return np.concatenate([np.full(columns - last, scale), np.ones(last)])


def choose_scale(
    features: Sequence[np.ndarray], last: int, labels: np.ndarray, classes: int, units: np.ndarray, seed: int
) -> Joining:
    """At which scale a probe is to read the joined stages: the one with the lowest cross-validated loss per photo, of
    those that lower it by more than ``MARGIN`` standard errors.

    Args:
        features: of train and of val photos, all stages joined [n, D]; together N rows.
        last: how many of the columns, the last ones, are the last stage's.
        labels: classes [N].
        classes: how many there are.
        units: photos with the same number stay in one fold [N].
        seed: of sample and folds.
    """
    names = [str(label) for label in labels.tolist()]
    kept = np.ones(len(labels), bool)
    if len(labels) > SAMPLE:
        kept = np.array(assign(names, units.tolist(), [SAMPLE / len(labels), 1 - SAMPLE / len(labels)], seed)) == 0
        labels, units = labels[kept], units[kept]
        names = [str(label) for label in labels.tolist()]
    parts = np.split(kept, np.cumsum([len(part) for part in features])[:-1])
    rows = np.concatenate([part[own] for part, own in zip(features, parts, strict=True)])
    held = np.bincount(labels, minlength=classes)
    folds = assign_folds(names, units.tolist(), seed)
    if held[held > 0].min() < FEWEST or len(np.unique(folds)) < FOLDS:
        return Joining(0.0, f"{len(labels):,} photos of train and val are too few to compare more stages")
    alone = best = _losses(rows[:, rows.shape[1] - last :], labels, classes, folds, None)
    chosen = 0.0
    for scale in SCALES[1:]:
        losses = _losses(rows, labels, classes, folds, column_scales(scale, rows.shape[1], last))
        gain = alone - losses
        if gain.mean() > MARGIN * gain.std() / len(gain) ** 0.5 and losses.mean() < best.mean():
            best, chosen = losses, scale
    how = f"{FOLDS}-fold cross-validation on {len(labels):,} photos of train and val"
    if chosen:
        better = f"a log loss of {best.mean():.3f} instead of {alone.mean():.3f}"
        return Joining(chosen, f"at scale {chosen:g} {better} by {how}")
    return Joining(0.0, f"earlier stages did not clearly lower the log loss ({alone.mean():.3f} by {how})")


def _losses(
    features: np.ndarray, labels: np.ndarray, classes: int, folds: np.ndarray, scales: np.ndarray | None
) -> np.ndarray:
    """The log loss of each photo [N] by the probe that has not seen it, at the strength that is the best for all."""
    logits = cross_validate(features, labels, classes, folds, STRENGTHS, scales=scales).logits
    wanted = torch.from_numpy(labels)
    losses = [F.cross_entropy(torch.from_numpy(one).double(), wanted, reduction="none") for one in logits]
    return min(losses, key=lambda each: float(each.mean())).numpy()
