"""In which order to label photos. In: features and probabilities, as arrays. Out: indices into the pool, best first.

benchmarks/claims/label_next.py measures these and others; docs/guides/label-next.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Method = Literal["variance", "margin", "random"]

AXES = 128
"""Principal axes of the features that ``variance`` works in: its memory and time grow with them."""
RIDGE = 0.2
"""L2 per labelled photo in ``variance``, the usual strength of the probe."""
LEAST = 0.02
"""What a labelled photo weighs at least, however certain the probe is of it: it has been seen."""


@dataclass(frozen=True)
class Situation:
    """``labelled`` [L, D] and ``pool`` [U, D]: features; ``labelled_sure`` [L, C] and ``pool_sure`` [U, C]:
    probabilities of the classes, by a probe of the labelled photos or a run.
    """

    labelled: np.ndarray
    pool: np.ndarray
    labelled_sure: np.ndarray
    pool_sure: np.ndarray

    @property
    def every(self) -> np.ndarray:
        """The features of all photos [L + U, D]."""
        return np.concatenate([self.labelled, self.pool])


def rank(there: Situation, count: int, method: Method = "variance", seed: int = 0) -> np.ndarray:
    """Indices of ``count`` photos of the pool, the most useful first. ``seed`` is that of ``random``."""
    return METHODS[method](there, min(count, len(there.pool)), np.random.default_rng(seed))


def random(there: Situation, count: int, rng: np.random.Generator) -> np.ndarray:
    """Any."""
    return rng.permutation(len(there.pool))[:count]


def margin(there: Situation, count: int, rng: np.random.Generator) -> np.ndarray:
    """Where the two most probable classes are closest (Scheffer et al. 2001, "Active hidden Markov models")."""
    return np.argsort(margins(there.pool_sure), kind="stable")[:count]


def margins(sure: np.ndarray) -> np.ndarray:
    """The probability of the first class less that of the second [N], of probabilities [N, C]."""
    two = np.sort(sure, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def variance(there: Situation, count: int, rng: np.random.Generator) -> np.ndarray:
    """One photo after the other, each the one whose label would reduce the expected variance of the probe's logits over
    the whole pool most: uncertain photos that stand for many others, and no two of a kind.

    Source: Ash et al. 2021, "Gone fishing: neural active learning with Fisher embeddings" (NeurIPS), after Zhang and
    Oates 2000, "The value of unlabeled data for classification problems" (ICML). A photo with features x and
    probabilities p adds ``w x x'`` to the Fisher information M of a logistic regression, ``w = 1 - sum p^2``: here one
    matrix for all classes. The photo taken is the one that minimises ``trace(M^-1 F)``, F being the information of the
    pool. M begins as that of the labelled photos, with L2. Adding a photo is a rank-one update (Sherman-Morrison), so
    that a photo costs O(U D).
    """
    labelled, pool = _axes(there)
    weight = _information(there.pool_sure)
    known = np.maximum(_information(there.labelled_sure), LEAST)
    penalty = np.full(pool.shape[1], RIDGE * len(labelled))
    penalty[-1] = 1e-3 * len(labelled)  # of the bias, which L2 leaves free
    inverse = np.linalg.inv(np.diag(penalty) + (labelled * known[:, None]).T @ labelled)
    target = (pool * weight[:, None]).T @ pool / len(pool)
    solved = pool @ inverse
    own, shared = (solved * pool).sum(1), ((solved @ target) * solved).sum(1)  # x'M^-1 x and x'M^-1 F M^-1 x
    taken = np.zeros(len(pool), bool)
    order = np.zeros(count, np.int64)
    for n in range(count):
        gain = weight * shared / (1 + weight * own)
        order[n] = best = int(np.where(taken, -1.0, gain).argmax())
        taken[best] = True
        direction = solved[best].copy()
        step = weight[best] / (1 + weight[best] * own[best])
        along, wanted = pool @ direction, target @ direction
        shared += (step * along) ** 2 * (direction @ wanted) - 2 * step * along * (solved @ wanted)
        own -= step * along**2
        solved -= step * np.outer(along, direction)
    return order


def _information(sure: np.ndarray) -> np.ndarray:
    """The trace of a photo's ``diag(p) - pp'`` [N]."""
    return np.asarray(1 - np.square(sure).sum(1))


def _axes(there: Situation) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features in their principal axes, then a one for the bias: of the labelled photos and the pool."""
    x = there.every.astype(np.float64)
    x = x - x.mean(0)
    spread = x.std(0)
    x = x / np.where(spread > 1e-8, spread, 1.0)
    _, vectors = np.linalg.eigh(x.T @ x)
    x = np.concatenate([x @ vectors[:, -AXES:], np.ones((len(x), 1))], axis=1)
    return x[: len(there.labelled)], x[len(there.labelled) :]


METHODS: dict[str, Callable[[Situation, int, np.random.Generator], np.ndarray]] = {
    "variance": variance, "margin": margin, "random": random,
}  # fmt: skip
