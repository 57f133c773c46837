"""Estimate how long the rest of a list of jobs takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

Job = TypeVar("Job", bound=Hashable)


class Estimate(Generic[Job]):
    """Seconds that a list of jobs still needs, estimated from those that have run.

    A running job is extrapolated from the part that is done. A waiting job takes the mean time of the finished jobs of
    its kind; where there is none, its weight at the speed so far.

    Args:
        weights: job to its rough amount of work, in any unit.
        kinds: job to its kind; jobs of one kind (an arm with several seeds) take about the same time.
        clock: returns seconds.
    """

    def __init__(
        self, weights: Mapping[Job, float], kinds: Mapping[Job, Hashable], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._weights, self._kinds, self._clock = dict(weights), dict(kinds), clock
        self._waiting = dict.fromkeys(weights)
        self._running: dict[Job, tuple[float, float]] = {}  # start, part done
        self._finished: list[tuple[Job, float]] = []

    def progressed(self, job: Job, part: float = 0.0) -> None:
        """``part`` of a job is done, 0 to 1. Its clock starts with the first call."""
        began, before = self._running.get(job, (self._clock(), 0.0))
        self._running[job] = began, max(part, before)

    def finished(self, job: Job, seconds: float | None) -> None:
        """A job has ended. ``seconds`` is None where its result existed already: the estimate ignores it."""
        self._waiting.pop(job, None)
        self._running.pop(job, None)
        if seconds is not None:
            self._finished.append((job, seconds))

    def seconds_left(self) -> float | None:
        """Seconds until all jobs have ended, one after another; None while nothing is known."""
        now = self._clock()
        elapsed = {job: now - began for job, (began, _) in self._running.items()}
        # The first steps are slow: finished jobs predict better.
        least = 0.1 if self._finished else 0.0
        parts = {job: part for job, (_, part) in self._running.items() if part > least}
        work = sum(self._weights[job] for job, _ in self._finished)
        work += sum(part * self._weights[job] for job, part in parts.items())
        if not work:
            return None
        seconds = sum(spent for _, spent in self._finished) + sum(elapsed[job] for job in parts)
        left = 0.0
        for job in self._waiting:
            alike = [spent for other, spent in self._finished if self._kinds[other] == self._kinds[job]]
            if job in parts:
                whole = elapsed[job] / parts[job]
            else:
                whole = sum(alike) / len(alike) if any(alike) else self._weights[job] * seconds / work
            left += max(0.0, whole - elapsed.get(job, 0.0))
        return left


def time_left(seconds: float | None) -> str:
    """``"about 25 min left"``, or an empty string where it is not known."""
    if seconds is None:
        return ""
    minutes = seconds / 60
    if minutes < 1:
        return "less than a minute left"
    return f"about {math.ceil(minutes)} min left" if minutes < 90 else f"about {minutes / 60:.1f} h left"
