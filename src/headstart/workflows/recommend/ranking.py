"""How sure a ranking is. In: right answers of several backbones on the same photos. Out: bands, how often one is ahead
of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.evaluation.statistics import LEVEL

RESAMPLES = 2000
AHEAD = 0.95
"""Share of resamples in which one has to be ahead to be called better."""


@dataclass(frozen=True)
class Resampled:
    """``accuracy`` [M, B] of M backbones on B draws of the photos; each draw is the same for all of them."""

    accuracy: np.ndarray

    def band(self, i: int, level: float = LEVEL) -> tuple[float, float]:
        """The percentile interval of one accuracy over draws."""
        low, high = np.quantile(self.accuracy[i], [0.5 - level / 2, 0.5 + level / 2])
        return float(low), float(high)

    def ahead(self, i: int, j: int) -> float:
        """The share of draws in which i is right more often than j; a draw in which they tie counts half."""
        gap = np.round(self.accuracy[i] - self.accuracy[j], 12)
        return float(((gap > 0) + 0.5 * (gap == 0)).mean())


def resample(right: np.ndarray, units: np.ndarray, seed: int, draws: int = RESAMPLES) -> Resampled:
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
    """``in 97 of 100 resamples``; all of them only where it is all of them."""
    if share in (0.0, 1.0):
        return f"in {'all' if share else 'none of the'} resamples"
    return f"in {min(99, max(1, round(100 * share)))} of 100 resamples"
