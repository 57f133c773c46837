"""What a person sees of suggested photos: which look alike, and why each was suggested. In: features, NumPy alone."""

from __future__ import annotations

import numpy as np

from headstart.evaluation.ood import unit_rows
from headstart.workflows.suggest.ranking import Situation, margins

ALIKE = 0.5
"""Cosine similarity, of features less their mean, from which photos look alike."""


def look_alikes(features: np.ndarray, labels: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """A group number for each photo [N], from 1, in the order of first members: photos of one suggested label whose
    features [N, D], less ``mean`` [D], are alike on average (average linkage).
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    rows, found = unit_rows(features - mean), np.zeros(len(features), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if len(own) == 1:
            clusters = np.ones(1, np.int64)
        else:
            apart = 1 - np.clip(rows[own] @ rows[own].T, -1, 1)
            clusters = fcluster(linkage(apart[np.triu_indices(len(own), 1)], "average"), 1 - ALIKE, "distance")
        found[own] = clusters + found.max()
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    return np.asarray(first.argsort().argsort()[inverse] + 1)


def newer_than_uncertain(there: Situation) -> np.ndarray:
    """Whether each photo of the pool [U] stands out more by its distance to the nearest labelled photo than by its
    uncertainty: its rank in the one is higher than in the other.
    """
    mean = there.every.mean(0)
    nearest = (unit_rows(there.pool - mean) @ unit_rows(there.labelled - mean).T).max(1)
    return np.asarray((-nearest).argsort().argsort() > (-margins(there.pool_sure)).argsort().argsort())
