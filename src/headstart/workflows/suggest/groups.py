"""What a person sees beside suggested photos: which others look like each, and why it was suggested."""

from __future__ import annotations

import numpy as np

from headstart.evaluation.ood import unit_rows
from headstart.workflows.suggest.ranking import Situation, margins

ALIKE = 0.5
"""Cosine similarity, of features less their mean, from which photos look alike."""


def look_alikes(rows: np.ndarray, chosen: np.ndarray, labels: np.ndarray, most: int) -> list[list[int]]:
    """For each chosen photo, in order, at most ``most`` others that look like it, the most similar first, none twice.

    Args:
        rows: features of the pool [U, D], of length one, less their mean.
        chosen: indices of the chosen photos.
        labels: suggested labels [U]: look-alikes have one.
        most: look-alikes per photo.
    """
    free = np.ones(len(rows), bool)
    free[chosen] = False
    found = []
    for i in chosen.tolist():
        similarity = np.where(free & (labels == labels[i]), rows @ rows[i], -1.0)
        near = np.argsort(-similarity, kind="stable")[:most]
        own = near[similarity[near] >= ALIKE]
        free[own] = False
        found.append(own.tolist())
    return found


def newer_than_uncertain(there: Situation) -> np.ndarray:
    """Whether each photo of the pool [U] stands out more by its distance to the nearest labelled photo than by its
    uncertainty: its rank in the one is higher than in the other.
    """
    mean = there.every.mean(0)
    nearest = (unit_rows(there.pool - mean) @ unit_rows(there.labelled - mean).T).max(1)
    return np.asarray((-nearest).argsort().argsort() > (-margins(there.pool_sure)).argsort().argsort())
