"""How well features tell the classes apart, without training the network. In: features, labels, units. Out: the
nearest neighbours' accuracy and a cross-validated probe's answers, photo by photo.

A *unit* is what belongs together (the photos of one group, the copies of one file): a photo is never judged by what was
fitted to, or found next to, another photo of its unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.errors import DataError
from headstart.training.cross_validation import assign_folds, cross_validate
from headstart.workflows.recommend.logme import logme

NEIGHBOURS = 5
CHUNK = 2048
"""Photos whose neighbours are looked for at a time."""


@dataclass(frozen=True)
class Scores:
    """What features say. ``right`` [N]: the photos that a probe named correctly without having seen them;
    ``accuracy``: their share; ``knn``: the neighbours' accuracy.
    """

    right: np.ndarray
    knn: float
    logme: float

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


def score(features: np.ndarray, labels: np.ndarray, names: Sequence[str], units: np.ndarray, seed: int) -> Scores:
    """All three scores of features [N, D]; ``labels`` [N] index ``names``. Raises DataError where nothing can be
    judged.
    """
    folds = assign_folds([names[label] for label in labels], units.tolist(), seed)
    if len(names) < 2 or len(np.unique(folds)) < 2:
        raise DataError("Too few different photos to judge by.", "Give at least two of each class that are no copies.")
    right = cross_validate(features, labels, len(names), folds).correct(labels, folds)
    near = knn_right(features, labels, units)
    return Scores(right, float(near.mean()), logme(features, labels, len(names)))


def knn_right(features: np.ndarray, labels: np.ndarray, units: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Whether each photo [N] is named by its nearest others: cosine similarity, leave one unit out, each neighbour's
    vote weighed by its similarity.
    """
    x = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    right = np.zeros(len(x), dtype=bool)
    votes_of = np.eye(labels.max() + 1)[labels]
    for first in range(0, len(x), CHUNK):
        rows = slice(first, first + CHUNK)
        near = x[rows] @ x.T
        near[units[rows, None] == units[None, :]] = -np.inf
        top = np.argpartition(-near, min(neighbours, len(x) - 1) - 1, axis=1)[:, :neighbours]
        weight = np.maximum(np.take_along_axis(near, top, axis=1), 0.0)  # its own unit, at -inf, has no vote
        votes = np.einsum("nk,nkc->nc", weight, votes_of[top])
        right[rows] = (votes.argmax(1) == labels[rows]) & (votes.max(1) > 0)
    return right
