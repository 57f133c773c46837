"""Distances that could mark unknown photos: each takes features and labels of training photos and gives a function from
features to distances, for benchmarks/claims/uncertainty.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headstart.evaluation.ood import class_means, distances, some_of_each
from headstart.models.network import softmax
from headstart.training.linear_probe import USUAL_L2, fit_probe

Far = Callable[[np.ndarray], np.ndarray]
MOST = 2000
"""Training photos that nearest neighbours are looked for among."""


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def shipped(x: np.ndarray, y: np.ndarray) -> Far:
    """What headstart does: the cosine to the nearest class mean."""
    some = some_of_each(y)
    means = class_means(x[some], y[some])
    return lambda q: distances(q, means)


def neighbours(x: np.ndarray, y: np.ndarray, k: int) -> Far:
    """The k-th nearest of 2,000 training photos, features of length one (Sun et al. 2022)."""
    kept = _unit(x[np.random.default_rng(0).permutation(len(x))[:MOST]])
    return lambda q: np.partition(1 - _unit(q) @ kept.T, min(k, len(kept)) - 1, axis=1)[:, min(k, len(kept)) - 1]


def mahalanobis(x: np.ndarray, y: np.ndarray, relative: bool) -> Far:
    """To the nearest class mean, one covariance for all classes, shrunk (Lee et al. 2018); less that to the mean of all
    (Ren et al. 2021).
    """
    x = _unit(x)
    means = np.stack([x[y == c].mean(0) for c in np.unique(y)])
    within = _inverse(x - means[np.searchsorted(np.unique(y), y)])
    middle, whole = x.mean(0), _inverse(x - x.mean(0))

    def far(q: np.ndarray) -> np.ndarray:
        q = _unit(q)
        nearest = np.min([_form(q - mean, within) for mean in means], axis=0)
        return nearest - _form(q - middle, whole) if relative else nearest

    return far


def _form(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", rows @ matrix, rows)


def _inverse(residuals: np.ndarray) -> np.ndarray:
    """Of the covariance, shrunk to a multiple of the identity by as much as there are few rows."""
    count, dim = residuals.shape
    covariance = residuals.T @ residuals / count
    part = dim / (dim + count)
    shrunk = (1 - part) * covariance + part * np.eye(dim) * np.trace(covariance) / dim
    return np.linalg.inv(shrunk.astype(np.float64))


def unsure(x: np.ndarray, y: np.ndarray) -> Far:
    """1 − the probability of the answer (Hendrycks & Gimpel 2017)."""
    head = fit_probe((x, y), (x, y), len(np.unique(y)), [USUAL_L2])
    weight, bias = head.weight.numpy(), head.bias.numpy()
    return lambda q: 1 - softmax(q @ weight.T + bias).max(1)


DISTANCES = {
    "nearest class mean, cosine (shipped)": shipped,
    "nearest photo": lambda x, y: neighbours(x, y, 1),
    "10th nearest photo": lambda x, y: neighbours(x, y, 10),
    "Mahalanobis": lambda x, y: mahalanobis(x, y, False),
    "relative Mahalanobis": lambda x, y: mahalanobis(x, y, True),
    "1 − probability of the answer": unsure,
}
