"""Ways to choose photos to label that ``label_next.py`` compares with those of ``suggest``; each has their form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headstart.evaluation.ood import unit_rows
from headstart.workflows.suggest.ranking import Situation, coverage, margin, margins

AXES, RIDGE, LEAST = 128, 0.2, 0.02
DENSE = 20
"""Neighbours that say how dense a place is."""
WIDER = 10
"""Candidates per photo to choose."""


def entropy(there: Situation, count: int, rng: np.random.Generator) -> np.ndarray:
    """The most uncertain, by entropy."""
    p = there.pool_sure
    return np.argsort((p * np.log(p + 1e-12)).sum(1), kind="stable")[:count]


def typical(there: Situation, count: int, rng: np.random.Generator) -> np.ndarray:
    """TypiClust: clusters as many as labels there will be; of the largest without a label, the photo in the densest
    place (Hacohen, Dekel and Weinshall 2022).
    """
    rows, known = unit_rows(there.every), len(there.labelled)
    cluster, _ = _clusters(rows, np.ones(len(rows)), min(known + count, 300), rng)
    size, labels = np.bincount(cluster), np.bincount(cluster[:known], minlength=cluster.max() + 1)
    chosen: list[int] = []
    for c in np.lexsort((-size, labels)):
        own = np.flatnonzero(cluster == c)
        free = own[own >= known]
        if len(chosen) < count and len(free) and size[c] > 5:
            near = np.sort(2 - 2 * rows[free] @ rows[own].T, axis=1)[:, 1 : DENSE + 1]
            chosen.append(int(free[np.sqrt(np.maximum(near, 0)).mean(1).argmin()]) - known)
    return _filled(chosen, there, count)


def weighted_means(there: Situation, count: int, rng: np.random.Generator) -> np.ndarray:
    """k-means of the most uncertain, weighted by uncertainty; the photo nearest to each centre (Zhdanov 2019)."""
    some = margin(there, WIDER * count, rng)
    cluster, far = _clusters(unit_rows(there.pool[some]), 1 - margins(there.pool_sure[some]), count, rng)
    chosen = [int(some[own[far[own].argmin()]]) for c in range(count) if len(own := np.flatnonzero(cluster == c))]
    return _filled(chosen, there, count)


def badge(there: Situation, count: int, rng: np.random.Generator) -> np.ndarray:
    """The seeds of k-means++ among gradients of the last layer (Ash et al. 2020)."""
    p, spread = there.pool_sure, there.labelled.std(0)
    x = (there.pool - there.labelled.mean(0)) / np.maximum(spread, 1e-6)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    g = np.eye(p.shape[1])[p.argmax(1)] - p
    size = (g * g).sum(1) * (x * x).sum(1)
    chosen, least = [int(size.argmax())], np.full(len(x), np.inf)
    while len(chosen) < count:
        i = chosen[-1]
        least = np.minimum(least, np.maximum(size + size[i] - 2 * (g @ g[i]) * (x @ x[i]), 0))
        least[chosen] = 0
        chosen.append(int(rng.choice(len(x), p=least / least.sum())))
    return np.array(chosen)


def variance(there: Situation, count: int, rng: np.random.Generator) -> np.ndarray:
    """One after the other, each the one that lowers the variance of a logistic regression over the pool most, one
    Fisher information serving all classes (after Ash et al. 2021, BAIT).
    """
    x = there.every.astype(np.float64)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-8)
    x = np.concatenate([x @ np.linalg.eigh(x.T @ x)[1][:, -AXES:], np.ones((len(x), 1))], axis=1)
    labelled, pool = x[: len(there.labelled)], x[len(there.labelled) :]
    known, weight = (1 - np.square(p).sum(1) for p in (there.labelled_sure, there.pool_sure))
    penalty = np.full(x.shape[1], RIDGE * len(labelled))
    penalty[-1] = 1e-3 * len(labelled)
    known = np.maximum(known, LEAST)[:, None]
    inverse = np.linalg.inv(np.diag(penalty) + (labelled * known).T @ labelled)
    target = (pool * weight[:, None]).T @ pool / len(pool)
    chosen: list[int] = []
    for _ in range(count):
        solved = pool @ inverse
        gain = weight * ((solved @ target) * solved).sum(1) / (1 + weight * (solved * pool).sum(1))
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        step = weight[best] / (1 + weight[best] * (solved[best] @ pool[best]))
        inverse = inverse - step * np.outer(solved[best], solved[best])
    return np.array(chosen)


def plain_coverage(there: Situation, count: int, rng: np.random.Generator) -> np.ndarray:
    """``coverage`` where every photo is as uncertain as any other (MaxHerding, Bae et al. 2024)."""
    even = np.full((len(there.pool), 2), 0.5)
    return coverage(Situation(there.labelled, there.pool, there.labelled_sure, even), count, rng)


def _clusters(
    rows: np.ndarray, weight: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each row by weighted k-means, and the squared distance to its centre."""
    first = [int(rng.choice(len(rows), p=weight / weight.sum()))]
    least = np.full(len(rows), np.inf)
    while len(first) < count:
        least = np.minimum(least, np.square(rows - rows[first[-1]]).sum(1))
        chance = least * weight
        if chance.sum() <= 0:
            break
        first.append(int(rng.choice(len(rows), p=chance / chance.sum())))
    centres = rows[first].astype(np.float64)
    for _ in range(10):
        far = np.square(centres).sum(1) - 2 * rows @ centres.T
        cluster = far.argmin(1)
        member = np.eye(len(centres))[cluster] * weight[:, None]
        total = member.sum(0)[:, None]
        centres = np.where(total > 0, member.T @ rows / np.maximum(total, 1e-12), centres)
    return cluster, far[np.arange(len(rows)), cluster] + np.square(rows).sum(1)


def _filled(chosen: list[int], there: Situation, count: int) -> np.ndarray:
    """As many as are asked for: the most uncertain after those that were chosen."""
    rest = [i for i in margin(there, len(there.pool), np.random.default_rng(0)).tolist() if i not in set(chosen)]
    return np.array([*chosen, *rest][:count])


OTHERS: dict[str, Callable[[Situation, int, np.random.Generator], np.ndarray]] = {
    "entropy": entropy, "typical": typical, "weighted-means": weighted_means, "badge": badge, "variance": variance,
    "plain-coverage": plain_coverage,
}  # fmt: skip
