"""How well features separate the classes, without training the network: a cross-validated linear probe, k-nearest
neighbours, and LogME. A *unit* (the photos of one group, the duplicates of one file) is never split between fitting and
testing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.errors import DataError
from headstart.evaluation.ood import unit_rows
from headstart.training.cross_validation import assign_folds, cross_validate

NEIGHBOURS = 5
CHUNK = 2048
"""Photos whose neighbours are looked for at a time."""
GRID = np.linspace(np.log(1e-8), np.log(1e8), 129)
"""Logarithms of the ratios tried first, as multiples of the features' largest squared singular value."""
ZOOM = np.linspace(-1.0, 1.0, 33)
ZOOMS = 2
CHUNK_ENTRIES = 2**23
"""Entries (classes x ratios x axes) held at a time while zooming in."""


@dataclass(frozen=True)
class Scores:
    """``correct`` [N]: whether a cross-validated probe classified each photo correctly; ``accuracy``: their share;
    ``knn``: the accuracy of the nearest neighbours.
    """

    correct: np.ndarray
    accuracy: float
    knn: float
    logme: float


def score(features: np.ndarray, labels: np.ndarray, names: Sequence[str], units: np.ndarray, seed: int) -> Scores:
    """All three scores of features [N, D]; ``labels`` [N] index ``names``. Raises DataError for too few photos."""
    folds = assign_folds([names[label] for label in labels], units.tolist(), seed)
    if len(names) < 2 or len(np.unique(folds)) < 2:
        hint = "Give at least two of each class that are not duplicates."
        raise DataError("Too few different photos to rank by.", hint)
    correct = cross_validate(features, labels, len(names), folds).correct(labels, folds)
    near = knn_correct(features, labels, units)
    return Scores(correct, float(correct.mean()), float(near.mean()), logme(features, labels, len(names)))


def knn_correct(
    features: np.ndarray, labels: np.ndarray, units: np.ndarray, neighbours: int = NEIGHBOURS
) -> np.ndarray:
    """Whether its nearest neighbours classify each photo [N] correctly: cosine similarity, leave one unit out, votes
    weighted by similarity.
    """
    x = unit_rows(features)
    correct = np.zeros(len(x), dtype=bool)
    votes_of = np.eye(labels.max() + 1)[labels]
    for first in range(0, len(x), CHUNK):
        rows = slice(first, first + CHUNK)
        near = x[rows] @ x.T
        near[units[rows, None] == units[None, :]] = -np.inf
        top = np.argpartition(-near, min(neighbours, len(x) - 1) - 1, axis=1)[:, :neighbours]
        weight = np.maximum(np.take_along_axis(near, top, axis=1), 0.0)  # its own unit, at -inf, has no vote
        votes = np.einsum("nk,nkc->nc", weight, votes_of[top])
        correct[rows] = (votes.argmax(1) == labels[rows]) & (votes.max(1) > 0)
    return correct


def logme(features: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """LogME of features [N, D] for labels [N] in [0, classes), the higher the better; float64 throughout.

    Source: You et al. 2021, "LogME: practical assessment of pre-trained models for transfer learning" (ICML), section
    4. For each class the labels (1 for its photos, 0 for others) are ``features @ w`` plus noise, with a normal prior
    of precision alpha on w and noise of precision beta; the score is the largest log evidence over alpha and beta,
    divided by the number of photos, averaged over classes. The paper iterates alpha and beta to a fixed point. Here
    beta is eliminated: for a ratio ``t = alpha / beta`` the best beta has a closed form, and what is left is a function
    of one number, which a grid and two finer ones search. So nothing has to converge, and all classes are solved
    together.
    """
    x = np.asarray(features, dtype=np.float64)
    targets = np.eye(classes)[labels]
    return float(log_evidence(x, targets).mean() / len(x))


def log_evidence(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The largest log evidence over alpha and beta of each column of ``targets`` [N, C] given ``x`` [N, D]: [C].

    With singular values s and z = U'y: evidence(t) = -N/2 (log(2 pi S(t) / N) + 1) + 1/2 sum log(t / (t + s^2)), where
    S(t) = sum z^2 t / (t + s^2) + |y|^2 - |z|^2 is N / beta at the best beta.
    """
    squares, u = _spectrum(x)
    z = np.square(u.T @ targets).T
    rest = np.maximum(np.square(targets).sum(0) - z.sum(1), 0.0)
    scaled = squares / squares.max()
    at = np.broadcast_to(GRID, (len(z), len(GRID)))
    step = GRID[1] - GRID[0]
    # The first grid is the same for all classes: one matrix product instead of one sum per class.
    found = _profile(z @ _shrink(GRID, scaled).T, rest[:, None], np.log(_shrink(GRID, scaled)).sum(1), len(x))
    for _ in range(ZOOMS):
        centre = np.take_along_axis(at, found.argmax(1)[:, None], axis=1)
        at = np.clip(centre + step * ZOOM, GRID[0], GRID[-1])
        found = _zoomed(at, z, rest, scaled, len(x))
        step *= ZOOM[1] - ZOOM[0]
    return np.asarray(found.max(1))


def _spectrum(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values [R] and left singular vectors [N, R] of x, by the smaller of its two Gram matrices: a
    fraction of a singular value decomposition's time.
    """
    wide = x.shape[0] <= x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    keep = values > 1e-12 * values[-1]
    if not keep.any():
        return np.ones(1), np.zeros((len(x), 1))  # no features: nothing but noise
    values, vectors = values[keep], vectors[:, keep]
    return values, vectors if wide else x @ vectors / np.sqrt(values)


def _shrink(log_t: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """t / (t + s^2) for every ratio and axis: [..., R]."""
    return np.asarray(1.0 / (1.0 + squares * np.exp(-log_t)[..., None]))


def _profile(shrunk: np.ndarray, rest: np.ndarray, log_shrink: np.ndarray, photos: int) -> np.ndarray:
    """The log evidence at the best beta: [C, T]. ``shrunk``: sum z^2 t / (t + s^2)."""
    misfit = np.maximum(shrunk + rest, 1e-300)
    return np.asarray(-0.5 * photos * (np.log(2 * np.pi * misfit / photos) + 1.0) + 0.5 * log_shrink)


def _zoomed(at: np.ndarray, z: np.ndarray, rest: np.ndarray, squares: np.ndarray, photos: int) -> np.ndarray:
    """The evidence at ratios [C, T] of each class' own."""
    found, together = np.empty_like(at), max(1, CHUNK_ENTRIES // (at.shape[1] * len(squares)))
    for first in range(0, len(at), together):
        some = slice(first, first + together)
        shrink = _shrink(at[some], squares)
        shrunk = np.einsum("ctr,cr->ct", shrink, z[some])
        found[some] = _profile(shrunk, rest[some, None], np.log(shrink).sum(-1), photos)
    return found
