"""Out-of-distribution photos: the distance of a photo's features to the class means of the training photos.

The distance is 1 − the cosine to the nearest class's mean of features of length one. It detects foreign photos as well
as nearest neighbours (Sun et al. 2022) and Mahalanobis distances (Lee et al. 2018) do, as
docs/explanation/measured-uncertainty.md shows, and it keeps one row per class, which reveals less of single training
photos than neighbours would.
"""

from __future__ import annotations

import numpy as np

PER_CLASS = 100
"""Training photos that a class's mean is taken over, where their features have to be computed: more change little."""


def some_of_each(labels: np.ndarray, at_most: int = PER_CLASS) -> np.ndarray:
    """Indices of at most so many photos per class, spread evenly over each class's, ascending; ``labels`` as of
    ``members_of``.
    """
    chosen = []
    for members in members_of(labels):
        chosen.append(members[np.linspace(0, len(members) - 1, min(at_most, len(members))).astype(int)])
    return np.unique(np.concatenate(chosen))


def members_of(labels: np.ndarray) -> list[np.ndarray]:
    """The indices of the photos of each class that has some, from ``labels`` [N]; from targets [N, C] of 0 and 1, those
    of each label, and last those without any.
    """
    if labels.ndim == 1:
        return [np.flatnonzero(labels == c) for c in np.unique(labels)]
    every = [*(np.flatnonzero(own) for own in labels.T), np.flatnonzero(~labels.any(1))]
    return [members for members in every if len(members)]


def class_means(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Unit vectors [K, D] in float16, one for each of the K classes with photos; ``labels`` as of ``members_of``."""
    rows = unit_rows(np.asarray(features, np.float32))
    means = np.stack([rows[members].mean(0) for members in members_of(labels)])
    return unit_rows(means).astype(np.float16)


def distances(features: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Of photos with features [N, D] to the nearest of the means: float64 [N] in [0, 2]."""
    cosine = unit_rows(np.asarray(features, np.float32)) @ means.astype(np.float32).T
    return np.asarray(1.0 - cosine.max(1), np.float64)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows [N, D] of Euclidean length one."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
