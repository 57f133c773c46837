"""In which order to label photos. In: features and probabilities, as arrays. Out: indices into the pool, best first.

benchmarks/claims/label_next.py measures these and others; docs/guides/label-next.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from headstart.evaluation.ood import unit_rows

Method = Literal["coverage", "margin", "random"]

WIDTH = 0.5
"""Of the Gaussian in ``coverage``, as a share of the median squared distance to the nearest labelled photo."""
MOST = 5000
"""Photos of the pool that ``coverage`` looks at, drawn at random from a larger one: memory grows with their square."""


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


def rank(there: Situation, count: int, method: Method = "coverage", seed: int = 0) -> np.ndarray:
    """Indices of ``count`` photos of the pool, the most useful first. ``seed`` decides what is drawn."""
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


def coverage(there: Situation, count: int, rng: np.random.Generator) -> np.ndarray:
    """One photo after the other, each the one that covers most uncertainty that nothing labelled or taken covers yet:
    photos that stand for many uncertain ones, and no two of a kind.

    Source: Bae, Sutherland and Oliveira 2025, "Uncertainty herding: one active learning method for all label budgets"
    (ICLR). The set S that maximises ``sum_j u_j max_{s in S} k(j, s)`` over the pool is found greedily; u is the
    uncertainty, here one less the margin, and k a Gaussian of the distance between features of length one, less their
    mean. Its width is our choice: ``WIDTH`` times the median squared distance from a photo of the pool to the nearest
    labelled one. It shrinks as labels become more: few labels ask for photos that are typical, many for those that are
    uncertain.
    """
    some = np.sort(rng.permutation(len(there.pool))[: max(MOST, 2 * count)])
    mean = there.every.mean(0)
    rows, labelled = (unit_rows(x - mean).astype(np.float32) for x in (there.pool[some], there.labelled))
    apart = _squared_distances(rows, labelled).min(1)
    width = WIDTH * max(float(np.median(apart)), 1e-6)
    alike = np.exp(-_squared_distances(rows, rows) / width)
    covered, weight = np.exp(-apart / width), (1 - margins(there.pool_sure[some])).astype(np.float32)
    gain = np.maximum(alike - covered, 0) @ weight  # of taking each
    taken = np.zeros(len(some), bool)
    order = np.zeros(count, np.int64)
    for n in range(count):
        order[n] = best = int(np.where(taken, -1.0, gain).argmax())
        taken[best] = True
        changed = np.flatnonzero(alike[best] > covered)
        own, before = alike[:, changed], covered[changed]
        covered[changed] = after = alike[best, changed]
        gain -= (np.maximum(own - before, 0) - np.maximum(own - after, 0)) @ weight[changed]
    return some[order]


def _squared_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Between rows [N, D] and others [M, D] of length one: [N, M]."""
    return np.asarray(np.maximum(2 - 2 * rows @ others.T, 0))


METHODS: dict[str, Callable[[Situation, int, np.random.Generator], np.ndarray]] = {
    "coverage": coverage, "margin": margin, "random": random,
}  # fmt: skip
