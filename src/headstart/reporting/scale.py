"""The axis of a plot: round ends and ticks for the values that it shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high`` with ``ticks`` on it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """The position of ``value`` along the axis, in percent, clipped to its ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 3)


def nice_scale(values: Iterable[float], most_intervals: int = 5) -> Scale:
    """The tightest axis with round ends that holds all ``values``, in at most so many steps of 1, 2 or 5 times a power
    of ten. Raises ValueError where there is no value.
    """
    held = list(values)
    if not held:
        raise ValueError("no value to put on an axis")
    lowest, highest = min(held), max(held)
    for step in _STEPS:
        # A hair of tolerance: 0.30000000000000004 must not open another step.
        first, last = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
        last = max(last, first + 1)
        if last - first <= most_intervals:
            break
    return Scale(first * step, last * step, tuple(round(n * step, 6) for n in range(first, last + 1)))
