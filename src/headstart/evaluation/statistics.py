"""Confidence intervals and tests over the photos of one test set, and Holm's correction.

They are about the classifiers at hand: another test set would give another figure (Wilson, bootstrap, McNemar).
Intervals that also hold what another training would give are in ``over_seeds``. ``method`` says what one is of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95
OUT_OF_FOLD = 1.4
"""The variance of an accuracy out of fold, in parts of that of independent verdicts; of the settings of
``benchmarks/claims/folds.py`` one of ten has more (1.51)."""
DRAWS = 10_000  # the percentiles of a 95 % bootstrap interval move by about 1 % of its width between seeds at this many


@dataclass(frozen=True)
class Interval:
    """A figure with its interval; ``method`` says how it was made and what it is of."""

    value: float
    low: float
    high: float
    method: str

    def to_json(self) -> dict[str, Any]:
        """``{"value", "low", "high", "method"}``, as metrics.json holds it."""
        return asdict(self)


@dataclass(frozen=True)
class Difference(Interval):
    """a − b with its interval, and the two-sided p-value of "there is no difference" (None where unknown)."""

    p_value: float | None = None


class McNemar(NamedTuple):
    """Photos that only a, or only b, classified correctly; the two-sided p of "both are equally often correct"."""

    only_a: int
    only_b: int
    p_value: float


def wilson(correct: int, photos: int, level: float = LEVEL, inflation: float = 1.0) -> Interval:
    """The share of correct predictions with Wilson's score interval; ``inflation``: of the variance, where verdicts are
    not independent (the interval is that of so many fewer photos).

    Unlike the textbook ``p ± z·se`` it stays within [0, 1] and keeps its width where all are correct (50 of 50 is
    92.9-100 %, not 100-100 %). Source: Wilson (1927), JASA 22:209; recommended over the alternatives by Brown, Cai &
    DasGupta (2001), Stat. Sci. 16:101. Raises ValueError unless ``0 <= correct <= photos`` and ``photos >= 1``.
    """
    if photos < 1 or not 0 <= correct <= photos:
        raise ValueError(f"{correct} correct predictions of {photos} photos")
    low, high = wilson_bounds(np.array([correct / photos]), np.array([photos / inflation]), _normal_quantile(level))
    method = f"Wilson {percent(level)}{_inflated(inflation)}"
    return Interval(correct / photos, float(low[0]), float(high[0]), method)


def _inflated(inflation: float) -> str:
    return "" if inflation == 1 else f", variance times {inflation:g}"


def _normal_quantile(level: float) -> float:
    return NormalDist().inv_cdf(0.5 + level / 2)  # scipy has it too, but a probe needs nothing else of scipy


def wilson_bounds(shares: np.ndarray, photos: np.ndarray, z: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of several shares for the quantile ``z``; ``photos`` need not be whole numbers."""
    centre = (shares + z * z / (2 * photos)) / (1 + z * z / photos)
    half = z / (1 + z * z / photos) * np.sqrt(shares * (1 - shares) / photos + z * z / (4 * photos * photos))
    # At the ends the bound is the end itself; rounding would leave 1e-17 beside it.
    return np.where(shares <= 0, 0.0, centre - half), np.where(shares >= 1, 1.0, centre + half)


def balanced_accuracy(
    correct: np.ndarray, photos: np.ndarray, level: float = LEVEL, inflation: float = 1.0
) -> Interval:
    """The mean over classes of the share of their photos that is classified correctly, with its interval over photos;
    ``correct`` and ``photos`` [C] per class; ``inflation`` as of ``wilson``. A class without photos does not count.

    On each side the wider of two intervals. One combines the classes' own Wilson intervals (MOVER: Zou & Donner 2008,
    Stat. Med. 27:1693), which holds where a class has few photos and the others many. The other is Wilson's for as many
    photos as would give the mean its variance, with shares drawn towards the mean by z squared photos; it holds where
    most classes have one or two photos, whose own shares say little. ``tests/evaluation/test_statistics.py`` simulates
    the coverage. Raises ValueError where no class has photos.
    """
    own, count = (np.asarray(each, np.float64)[photos > 0] / inflation for each in (correct, photos))
    if not len(own):
        raise ValueError("no class has photos")
    classes, shares, z = len(own), own / count, _normal_quantile(level)
    mean = float(shares.mean())
    low, high = wilson_bounds(shares, count, z)
    reach = math.sqrt(np.square(shares - low).sum()) / classes, math.sqrt(np.square(high - shares).sum()) / classes
    drawn = (own + z * z * mean) / (count + z * z)
    variance = float((drawn * (1 - drawn) / count).sum()) / classes**2
    worth = mean * (1 - mean) / variance if 0 < mean < 1 else classes**2 / float((1 / count).sum())
    pooled = wilson_bounds(np.array([mean]), np.array([worth]), z)
    bounds = min(mean - reach[0], float(pooled[0][0])), max(mean + reach[1], float(pooled[1][0]))
    method = f"Wilson {percent(level)}, combined over classes{_inflated(inflation)}"
    return Interval(mean, max(0.0, bounds[0]), min(1.0, bounds[1]), method)


def paired_difference(
    correct_a: np.ndarray, correct_b: np.ndarray, seed: int = 0, draws: int = DRAWS, level: float = LEVEL
) -> Difference:
    """Accuracy of a − accuracy of b on the same photos: paired percentile bootstrap interval, McNemar's exact p-value.

    ``correct_a``, ``correct_b``: [N] bool, the same photos in the same order. Each photo counts +1 (only a correct), −1
    (only b correct) or 0; drawing photos with replacement draws these three counts from a multinomial, which is done
    directly.
    """
    test, photos = mcnemar(correct_a, correct_b), len(correct_a)
    shares = np.array([test.only_a, test.only_b, photos - test.only_a - test.only_b]) / photos
    counts = np.random.default_rng(seed).multinomial(photos, shares, size=draws)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / photos, [0.5 - level / 2, 0.5 + level / 2])
    method = f"paired bootstrap {percent(level)}, {draws} draws of photos; McNemar exact"
    return Difference((test.only_a - test.only_b) / photos, float(low), float(high), method, test.p_value)


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> McNemar:
    """McNemar's exact test: of the photos that exactly one of a and b classified correctly, did each get half?

    The exact binomial form (no mid-p, no chi-square) is used: it holds for any number of photos and errs, if at all, on
    the careful side. Source: McNemar (1947), Psychometrika 12:153. Raises ValueError for flags of unequal length, or
    none.
    """
    from scipy.special import bdtr

    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    for flags in (a, b):
        if flags.ndim != 1 or len(flags) == 0:
            raise ValueError(f"expected one flag per photo, got shape {flags.shape}")
    if a.shape != b.shape:
        raise ValueError(f"{len(a)} and {len(b)} photos cannot be paired")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    # Binomial(n, 1/2) is symmetric: p is twice the smaller tail, and 1 where both tails share the middle.
    p_value = min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
    return McNemar(only_a, only_b, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number: if all below a level are called real, the chance that any of these is not is
    at most that level. Source: Holm (1979), Scand. J. Stat. 6:65.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected.tolist()


def percent(level: float) -> str:
    """ "95 %"."""
    return f"{100 * level:g} %"
