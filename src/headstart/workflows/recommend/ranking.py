"""The order of backbones, its uncertainty by a bootstrap over photos, and the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.text import duration
from headstart.errors import OptionError
from headstart.evaluation.statistics import LEVEL

AHEAD = 0.95
"""Share of resamples in which a backbone must be ahead to be called better."""


@dataclass(frozen=True)
class Resampled:
    """``accuracy`` [M, B] of M backbones on B draws of the photos; each draw is the same for all of them."""

    accuracy: np.ndarray

    def band(self, i: int, level: float = LEVEL) -> tuple[float, float]:
        """The percentile interval of one accuracy over draws."""
        low, high = np.quantile(self.accuracy[i], [0.5 - level / 2, 0.5 + level / 2])
        return float(low), float(high)

    def ahead(self, i: int, j: int) -> float:
        """The share of draws in which i is more accurate than j; a tie counts half."""
        gap = np.round(self.accuracy[i] - self.accuracy[j], 12)
        return float(((gap > 0) + 0.5 * (gap == 0)).mean())


def resample(right: np.ndarray, units: np.ndarray, seed: int, draws: int = 2000) -> Resampled:
    """The bootstrap over units (photos that belong together are drawn together), paired: ``right`` [M, N] bool.

    Source: Efron and Tibshirani (1993), "An introduction to the bootstrap", chapter 13.
    """
    _, unit = np.unique(units, return_inverse=True)
    number = int(unit.max()) + 1
    size = np.bincount(unit, minlength=number).astype(float)
    hits = np.stack([np.bincount(unit, weights=row, minlength=number) for row in right])
    counts = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=draws).T
    return Resampled(hits @ counts / (size @ counts))


def order(accuracy: Sequence[float], ms: Sequence[float]) -> list[int]:
    """Indices from the best to the worst: by accuracy, of equals the faster first."""
    return sorted(range(len(accuracy)), key=lambda i: (-accuracy[i], ms[i]))


def chances(share: float) -> str:
    """``in 97 of 100 resamples``; "all" and "none" are never rounded."""
    if share in (0.0, 1.0):
        return f"in {'all' if share else 'none of the'} resamples"
    return f"in {min(99, max(1, round(100 * share)))} of 100 resamples"


@dataclass(frozen=True)
class Budget:
    """The most that a backbone may take, None for no limit: ``ms`` per photo; ``mb``: millions of bytes of float32
    weights; ``seconds`` for one pass over all photos.
    """

    ms: float | None = None
    mb: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"`{name}={value:g}` must be above 0"
            for name, value in (("max_ms", self.ms), ("max_mb", self.mb))
            if value is not None and not value > 0
        ]
        if wrong:
            raise OptionError("; ".join(wrong))

    def too_large(self, mb: float) -> str:
        """Why a network of that size is out, or an empty string."""
        return f"{mb:.0f} MB, above {self.mb:g} MB" if self.mb is not None and mb > self.mb else ""

    def too_slow(self, ms: float, seconds: float) -> str:
        """Why a network that takes so long is out, or an empty string."""
        if self.ms is not None and ms > self.ms:
            return f"{ms:.3g} ms per photo, above {self.ms:g} ms"
        if self.seconds is not None and seconds > self.seconds:
            return f"{duration(seconds)} for all photos, above {duration(self.seconds)}"
        return ""
