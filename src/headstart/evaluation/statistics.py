"""Confidence intervals and tests, for accuracies over photos and for figures over seeds.

Two kinds of uncertainty, never mixed: *photos* (another test set would give another figure: Wilson, bootstrap, McNemar)
and *seeds* (another run on the same photos would: Student's t over runs). ``method`` says which one an interval is of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95
DRAWS = 10_000  # the percentiles of a 95 % bootstrap interval move by about 1 % of its width between seeds at this many
ONE_RUN = "one run"


@dataclass(frozen=True)
class Interval:
    """A figure with its interval; for one run ``low`` and ``high`` are None and ``method`` is "one run"."""

    value: float
    low: float | None
    high: float | None
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


def wilson(correct: int, photos: int, level: float = LEVEL) -> Interval:
    """The share of correct predictions with Wilson's score interval.

    Unlike the textbook ``p ± z·se`` it stays within [0, 1] and keeps its width where all are correct (50 of 50 is
    92.9-100 %, not 100-100 %). Source: Wilson (1927), JASA 22:209; recommended over the alternatives by Brown, Cai &
    DasGupta (2001), Stat. Sci. 16:101. Raises ValueError unless ``0 <= correct <= photos`` and ``photos >= 1``.
    """
    if photos < 1 or not 0 <= correct <= photos:
        raise ValueError(f"{correct} correct predictions of {photos} photos")
    low, high = _wilson_bounds(np.array([correct / photos]), np.array([photos]), level)
    return Interval(correct / photos, float(low[0]), float(high[0]), f"Wilson {_percent(level)}")


def _wilson_bounds(shares: np.ndarray, photos: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of several shares; ``photos`` need not be whole numbers."""
    z = NormalDist().inv_cdf(0.5 + level / 2)  # scipy has it too, but a probe needs nothing else of scipy
    centre = (shares + z * z / (2 * photos)) / (1 + z * z / photos)
    half = z / (1 + z * z / photos) * np.sqrt(shares * (1 - shares) / photos + z * z / (4 * photos * photos))
    # At the ends the bound is the end itself; rounding would leave 1e-17 beside it.
    return np.where(shares <= 0, 0.0, centre - half), np.where(shares >= 1, 1.0, centre + half)


def balanced_accuracy(correct: np.ndarray, photos: np.ndarray, level: float = LEVEL) -> Interval:
    """The mean over classes of the share of their photos that is classified correctly, with its interval over photos;
    ``correct`` and ``photos`` [C] per class. A class without photos does not count.

    On each side the wider of two intervals. One combines the classes' own Wilson intervals (MOVER: Zou & Donner 2008,
    Stat. Med. 27:1693), which holds where a class has few photos and the others many. The other is Wilson's for as many
    photos as would give the mean its variance, with shares drawn towards the mean by z squared photos; it holds where
    most classes have one or two photos, whose own shares say little. ``tests/evaluation/test_statistics.py`` simulates
    the coverage. Raises ValueError where no class has photos.
    """
    own, count = np.asarray(correct, np.float64)[photos > 0], np.asarray(photos, np.float64)[photos > 0]
    if not len(own):
        raise ValueError("no class has photos")
    classes, shares, z = len(own), own / count, NormalDist().inv_cdf(0.5 + level / 2)
    mean = float(shares.mean())
    low, high = _wilson_bounds(shares, count, level)
    reach = math.sqrt(np.square(shares - low).sum()) / classes, math.sqrt(np.square(high - shares).sum()) / classes
    drawn = (own + z * z * mean) / (count + z * z)
    variance = float((drawn * (1 - drawn) / count).sum()) / classes**2
    worth = mean * (1 - mean) / variance if 0 < mean < 1 else classes**2 / float((1 / count).sum())
    pooled = _wilson_bounds(np.array([mean]), np.array([worth]), level)
    bounds = min(mean - reach[0], float(pooled[0][0])), max(mean + reach[1], float(pooled[1][0]))
    method = f"Wilson {_percent(level)}, combined over classes"
    return Interval(mean, max(0.0, bounds[0]), min(1.0, bounds[1]), method)


def t_interval(values: Sequence[float], level: float = LEVEL, within: tuple[float, float] | None = None) -> Interval:
    """The mean over runs (one value per seed) with Student's t interval, ``mean ± t(n−1) · sd / √n``.

    One value has no interval: ``low`` and ``high`` are None and ``method`` says "one run". ``within`` clips the bounds
    to what the figure can be ((0, 1) for an accuracy), which never lowers the coverage. Source: Student (1908),
    Biometrika 6:1. Raises ValueError for no value.
    """
    mean, _, half = _t_mean(values, level)
    if len(values) == 1:
        return Interval(mean, None, None, ONE_RUN)
    least, most = within or (-math.inf, math.inf)
    method = f"Student t {_percent(level)}, {len(values)} runs"
    return Interval(mean, max(mean - half, least), min(mean + half, most), method)


def difference_over_seeds(a: Sequence[float], b: Sequence[float], level: float = LEVEL) -> Difference:
    """Mean of a − b over seeds, with its t interval and p-value; ``a[i]`` and ``b[i]`` share seed i and its photos.

    Pairing matters: the draw of few photos moves both arms together, and the pairs take that out. The p-value (paired
    t-test) is None for one pair, and where all pairs differ by the same amount: no spread can be estimated. Raises
    ValueError for unequal or no lengths.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} runs cannot be paired by seed")
    mean, error, half = _t_mean([float(x) - float(y) for x, y in zip(a, b, strict=True)], level)
    if len(a) == 1:
        return Difference(mean, None, None, ONE_RUN)
    from scipy.special import stdtr

    # Where the spread is nothing but rounding there is no p-value.
    p_value = 2 * float(stdtr(len(a) - 1, -abs(mean) / error)) if error >= 1e-12 else None
    return Difference(mean, mean - half, mean + half, f"Student t {_percent(level)}, {len(a)} pairs", p_value)


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
    method = f"paired bootstrap {_percent(level)}, {draws} draws of photos; McNemar exact"
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


def verdict(gap: Difference) -> str:
    """The difference in words; nothing is called better whose interval holds zero."""
    if gap.low is None or gap.high is None:
        return "one run: no interval"
    if gap.low <= 0 <= gap.high:
        return "no difference that these runs can tell from chance"
    return "far better" if gap.value >= 0.1 else "better"


def _t_mean(values: Sequence[float], level: float) -> tuple[float, float, float]:
    """(mean, its standard error, half width of the t interval); of one value only the mean is known."""
    from scipy.special import stdtrit

    if len(values) == 0:
        raise ValueError("no runs to take a mean of")
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) == 1:
        return float(sample[0]), math.nan, math.nan
    spread, root = float(sample.std(ddof=1)), math.sqrt(len(sample))
    return float(sample.mean()), spread / root, float(stdtrit(len(sample) - 1, 0.5 + level / 2)) * spread / root


def _percent(level: float) -> str:
    return f"{100 * level:g} %"
