"""Intervals for the expected accuracy of an arm, and for differences of arms, from trainings with several seeds.

The *expected accuracy* of an arm is the mean accuracy on new photos of the same kind, of networks that are trained as
the arm says, each with another seed and on a training set of this size drawn anew. The trainings of a study share
photos: their test sets overlap, and so do their training sets. They are not independent draws, so Student's t over
seeds is too narrow. The variance here has three parts:

- *photos*: the test photos are a sample. A photo that several seeds judged counts as one photo (variance by clusters).
- *seeds*: how much seeds differ beyond what their different test photos explain, divided by their number.
- *pool*: all training photos come from one pool, which is a sample too. Seeds cannot show this part, as they all draw
  from it, and no unbiased estimator exists (Bengio & Grandvalet 2004, JMLR 5:1089). It is taken as ``POOL`` times the
  variance per photo over the photos of the pool: a term of the form of Nadeau & Bengio's correction (2003, Mach. Learn.
  52:239), whose S² n_test / n_train is a variance per photo over the training photos.

Quantiles are of Student's t with Satterthwaite's degrees of freedom (1946, Biometrics 2:110): n − 1 of n seeds, and
many of photos. ``benchmarks/claims/intervals.py`` simulates the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headstart.evaluation.statistics import LEVEL, Difference, Interval, percent, wilson_bounds

MIN_SEEDS = 3
"""With fewer the seeds' part cannot be estimated, and an interval is over photos only."""
POOL = 0.2
"""Chosen by simulation on a population that ``benchmarks/claims/intervals.py`` does not use."""


class _Spread(NamedTuple):
    """Variance of a mean over seeds, its degrees of freedom, those for tests, and the sum of the squared shares of
    photos in the mean: the variance per unit of variance per photo, if seeds were alike.
    """

    variance: float
    freedom: float
    cautious: float
    shares: float


def accuracy_over_seeds(
    photos: Sequence[np.ndarray], correct: Sequence[np.ndarray], pool: int, level: float = LEVEL
) -> Interval:
    """The mean accuracy with an interval for the expected accuracy: Wilson's, for as many photos as would give the mean
    its variance.

    Args:
        photos: per seed, int [N]: a number per test photo, the same wherever the photo (or one that belongs to it) is.
        correct: per seed, bool [N].
        pool: number of photos that the training photos are drawn from.
        level: of the interval.

    Fewer than ``MIN_SEEDS`` seeds: over the photos only, for the networks at hand. Raises ValueError for no or unequal
    lengths.
    """
    values = [np.asarray(flags, np.float64) for flags in correct]
    mean = _mean(photos, values)
    spread = _spread(photos, values, pool)
    worst, most = mean * (1 - mean), sum(map(len, values))
    least = 1 / most + (POOL / pool if len(values) >= MIN_SEEDS else 0.0)  # no two judgements are less than one photo
    worth = 1 / max(spread.variance / worst, least) if worst > 0 else 1 / spread.shares
    z = _quantile(spread.freedom, level)
    low, high = wilson_bounds(np.array([mean]), np.array([worth]), z)
    return Interval(mean, float(low[0]), float(high[0]), _method(len(values), "accuracy", level))


def difference_over_seeds(
    photos: Sequence[np.ndarray], a: Sequence[np.ndarray], b: Sequence[np.ndarray], pool: int, level: float = LEVEL
) -> Difference:
    """Mean of a − b with an interval for the difference of the expected accuracies, and the two-sided p-value of "it is
    zero".

    ``a[i]`` and ``b[i]``: bool [N] of the same photos ``photos[i]``; pairs take out what a draw does to both. As in
    Bonett & Price (2012, J. Educ. Behav. Stat. 37:479), two photos are added, one that only a gets and one that only b
    gets: arms that agree on all photos may still differ. Arguments and errors as of ``accuracy_over_seeds``.
    """
    if len(a) != len(b) or any(len(x) != len(y) for x, y in zip(a, b, strict=False)):
        raise ValueError("runs cannot be paired by seed and photo")
    values = [np.asarray(x, np.float64) - np.asarray(y, np.float64) for x, y in zip(a, b, strict=True)]
    mean = _mean(photos, values)
    spread = _spread(photos, values, pool, added=2)
    error = math.sqrt(spread.variance)
    half = _quantile(spread.freedom, level) * error
    p_value = min(1.0, 2 * _tail(spread.cautious, abs(mean) / error))
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    return Difference(mean, low, high, _method(len(values), "difference", level), p_value)


def _mean(photos: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> float:
    if not values or not all(map(len, values)):
        raise ValueError("no runs to take a mean of")
    if [len(ids) for ids in photos] != [len(each) for each in values]:
        raise ValueError("each run needs one number and one value per photo")
    return float(np.mean([each.mean() for each in values]))


def _spread(photos: Sequence[np.ndarray], values: Sequence[np.ndarray], pool: int, added: int = 0) -> _Spread:
    """The variance of the mean over seeds; ``added``: photos with a value of ±1 besides those that were judged."""
    seeds = len(values)
    sizes = np.array([len(each) for each in values])
    # What photo i does to the mean of its seed: its residual, over the number of photos.
    pulls = np.concatenate([(each - each.mean()) / math.sqrt(len(each) * max(len(each) - 1, 1)) for each in values])
    _, photo = np.unique(np.concatenate(photos), return_inverse=True)
    seed = np.repeat(np.arange(seeds), sizes)
    # Photos that belong together (a group) are one.
    cells, cell = np.unique(photo * seeds + seed, return_inverse=True)
    own = float(np.square(np.bincount(cell, pulls)).sum())
    shared = float(np.square(np.bincount(photo, pulls)).sum())
    share = np.bincount(photo, np.repeat(1 / (seeds * sizes), sizes))
    shares = float(np.square(share).sum())
    by_photos = shared / seeds**2 + added * shares / len(share)
    if seeds < MIN_SEEDS:
        return _Spread(by_photos, math.inf, math.inf, shares)
    between = float(np.var([each.mean() for each in values], ddof=1))
    explained = (seeds * own - shared) / (seeds * (seeds - 1))  # by different test photos
    per_photo = own / seeds * len(cells) / seeds
    variance = by_photos + max(0.0, between - explained) / seeds + POOL * per_photo / pool
    # Few seeds can agree by luck. That does little to 95 % intervals; p-values are about rarer events, so for them
    # seeds never count as differing less than their test photos make them.
    freedom, cautious = (
        max(seeds - 1, (seeds - 1) * (variance * seeds / spread) ** 2) if spread > 0 else math.inf
        for spread in (between, max(between, explained))
    )
    return _Spread(variance, freedom, cautious, shares + POOL / pool)


def _quantile(freedom: float, level: float) -> float:
    from scipy.special import ndtri, stdtrit

    return float(ndtri(0.5 + level / 2) if math.isinf(freedom) else stdtrit(freedom, 0.5 + level / 2))


def _tail(freedom: float, size: float) -> float:
    """The probability of a value below −size."""
    from scipy.special import ndtr, stdtr

    return float(ndtr(-size) if math.isinf(freedom) else stdtr(freedom, -size))


def _method(seeds: int, of: str, level: float) -> str:
    if seeds < MIN_SEEDS:
        return f"{percent(level)} over photos only, {seeds} {'seed' if seeds == 1 else 'seeds'}"
    return f"{percent(level)} for the expected {of}, {seeds} seeds"
