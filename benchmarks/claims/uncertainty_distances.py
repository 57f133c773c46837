"""Distances that could mark unknown photos: each takes features and labels of training photos and gives a function from
features to distances, for benchmarks/claims/uncertainty.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headstart.evaluation.ood import class_means, distances, some_of_each
from headstart.models.network import softmax
from headstart.training.linear_probe import fit_probe
from headstart.training.strengths import USUAL_L2

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
    weight, bias = _head(x, y)
    return lambda q: 1 - softmax(q @ weight.T + bias).max(1)


def boundaries(x: np.ndarray, y: np.ndarray) -> Far:
    """fDBD: how near the probe's decision boundaries are, by the distance from the mean of all (Liu & Qin 2024, "Fast
    decision boundary based out-of-distribution detector").
    """
    weight, bias = _head(x, y)
    apart = np.linalg.norm(weight[:, None] - weight[None], axis=2) + np.eye(len(weight))
    middle = x.mean(0)

    def far(q: np.ndarray) -> np.ndarray:
        logits = q @ weight.T + bias
        top = logits.argmax(1)
        gaps = (logits.max(1, keepdims=True) - logits) / apart[top]
        return -gaps.sum(1) / (len(weight) - 1) / np.linalg.norm(q - middle, axis=1)

    return far


def residual(x: np.ndarray, y: np.ndarray) -> Far:
    """ViM: the part of the features outside their principal space as one more logit (Wang et al. 2022, "ViM:
    out-of-distribution with virtual-logit matching"); here the space of the largest half of the directions, and
    standardised features.
    """
    weight, bias = _head(x, y)
    scale = x.std(0) + 1e-6
    weight = weight * scale
    origin = x.mean(0)
    bias = bias + (weight / scale) @ origin
    start = -np.linalg.pinv(weight) @ bias
    rows = (x - origin) / scale - start
    small = np.linalg.eigh(rows.T @ rows / len(rows))[1][:, : x.shape[1] // 2]
    logits = (rows + start) @ weight.T + bias
    alpha = logits.max(1).mean() / np.linalg.norm(rows @ small, axis=1).mean()

    def far(q: np.ndarray) -> np.ndarray:
        own = (q - origin) / scale
        found = own @ weight.T + bias
        top = found.max(1)
        energy = top + np.log(np.exp(found - top[:, None]).sum(1))
        return alpha * np.linalg.norm((own - start) @ small, axis=1) - energy

    return far


def _head(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    head = fit_probe((x, y), (x, y), len(np.unique(y)), [USUAL_L2])
    return head.weight.numpy(), head.bias.numpy()


DISTANCES = {
    "nearest class mean, cosine (shipped)": shipped,
    "nearest photo": lambda x, y: neighbours(x, y, 1),
    "10th nearest photo": lambda x, y: neighbours(x, y, 10),
    "Mahalanobis": lambda x, y: mahalanobis(x, y, False),
    "relative Mahalanobis": lambda x, y: mahalanobis(x, y, True),
    "1 − probability of the answer": unsure,
}
MORE = {"decision boundaries (fDBD)": boundaries, "residual (ViM)": residual}
"""Compared in benchmarks/claims/near_ood.py."""
