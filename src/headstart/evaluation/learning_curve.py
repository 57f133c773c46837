"""Learning curves with bands: the expected accuracy at other numbers of photos, and the photos that a target needs.

The law is ``error(n) = a + b n^-c`` (Hestness et al. 2017, "Deep learning scaling is predictable, empirically"; Viering
and Loog 2023, "The shape of learning curves: a review", section 4, where it fits best of sixteen forms). It is written
as ``error(n) = e (floor + (1 - floor) (n / top)^-c)`` with ``e`` the error at the largest size measured: the data
then determine one of the three parameters well, and priors describe the other two.

A band contains four kinds of uncertainty:

* *few photos evaluated*: the sizes were evaluated on the same photos, so their errors go together. That covariance is
  taken from the predictions themselves, photo by photo (duplicates and groups count as one), on the arcsine scale,
  where the variance of a share does not depend on it (Anscombe 1948, "The transformation of Poisson, binomial and
  negative-binomial data").
* *the parameters*: the posterior on a grid, so nothing has to converge.
* *the law itself*, which holds only roughly: the logarithm of the error wanders about it as a random walk in log n that
  starts at the largest size (``DRIFT``). So small sizes count less, and bands widen with distance.
* *one probe's luck*: with its photos, and with what val chose (``LUCK``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LUCK = 0.04  # standard deviation of log error between probes that differ in their draw of photos and in what val chose
DRIFT = 0.03  # standard deviation of the walk of log error per square root of e-fold of photos
SHARED = 0.2
"""Part of that variance which repeats have in common, as far as they draw the same photos; the rest averages out."""
DECAY = (0.5, 0.6)  # prior of c: median, and standard deviation of its logarithm
DRAWS = 8000  # draws from the posterior; ends of a band move by a hundredth of its width between seeds
PRIOR_ERRORS = 10.0  # wrong predictions at which the measured covariance counts as much as the usual one
USUAL_CORRELATION = 0.7  # of correct predictions at two sizes, on one photo
FAR = 100.0  # times the photos beyond which no number is named
Floats = np.ndarray


@dataclass(frozen=True)
class Band:
    """Accuracy to expect: the median and, at ``level``, the ends of the band."""

    photos: float
    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Needed:
    """Photos in all that reach an accuracy: median and band, None beyond ``FAR`` times those at hand. ``reachable``:
    the chance that so many would do at all.
    """

    target: float
    value: float | None
    low: float | None
    high: float | None
    reachable: float


@dataclass(frozen=True)
class Points:
    """What was measured: ``sizes`` [S], growing; ``accuracy`` [S]; ``scatter`` [S, S]: covariance on the arcsine scale;
    ``photos``: how many were evaluated, ``repeats``: how often a size was drawn anew.
    """

    sizes: Floats
    accuracy: Floats
    scatter: Floats
    photos: int
    repeats: int


def points(sizes: Floats, correct: Floats, unit: Floats) -> Points:
    """Accuracies and their covariance, for ``sizes`` [S] of the training set. ``correct`` [R, S, N]: 1 or 0, NaN where
    a repeat did not evaluate a photo (each photo is evaluated by some repeat, at all sizes); ``unit`` [N]: equal for
    photos that count as one.
    """
    often = np.nanmean(correct, axis=0)  # [S, N]
    accuracy, photos = often.mean(1), often.shape[1]
    _, index = np.unique(unit, return_inverse=True)
    together = np.stack([np.bincount(index, row) for row in often - accuracy[:, None]])  # [S, units]
    error = _smooth(accuracy, photos)
    scale = np.sqrt(error * (1 - error) * photos)
    found = together @ together.T / np.outer(scale, scale)
    size_of_units = float(np.square(np.bincount(index)).sum() / photos)
    usual = np.where(np.eye(len(sizes), dtype=bool), 1.0, USUAL_CORRELATION) * size_of_units
    wrong = float((1 - accuracy).min() * photos)
    share = wrong / (wrong + PRIOR_ERRORS)
    scatter = (share * found + (1 - share) * usual) / photos
    return Points(np.asarray(sizes, float), accuracy, scatter, photos, len(correct))


def _smooth(accuracy: Floats, photos: int) -> Floats:
    """The error, never 0 or 1: Anscombe's 3/8 of a photo on either side."""
    return np.asarray(((1 - accuracy) * photos + 0.375) / (photos + 0.75))


def _angle(error: Floats) -> Floats:
    """The scale on which a share of N has the variance 1 / N."""
    return np.asarray(2 * np.arcsin(np.sqrt(error)))


@dataclass(frozen=True)
class LearningCurve:
    """Draws [D] from the posterior of a curve: ``error`` at ``top`` photos, ``floor`` (what stays of it for ever, as a
    share) and ``decay``; ``drift`` and ``luck`` as the constants have them.
    """

    top: float
    error: Floats
    floor: Floats
    decay: Floats
    drift: float
    luck: float
    seed: int

    def law(self, photos: Floats) -> Floats:
        """The error of every draw [D, P] at ``photos`` [P], by the law alone."""
        grown = (np.asarray(photos, float)[None] / self.top) ** -self.decay[:, None]
        return np.asarray(self.error[:, None] * (self.floor[:, None] + (1 - self.floor[:, None]) * grown))

    def errors(self, photos: Floats) -> Floats:
        """The error of every draw [D, P], the walk about the law included."""
        distance = np.log(np.maximum(np.asarray(photos, float) / self.top, 1.0))
        order = np.argsort(distance)
        rng = np.random.default_rng([self.seed, 1])
        steps = rng.standard_normal((len(self.error), len(order))) * np.sqrt(np.diff(distance[order], prepend=0.0))
        walk = np.empty_like(steps)
        walk[:, order] = np.cumsum(steps, axis=1)
        return np.asarray(np.minimum(self.law(photos) * np.exp(self.drift * walk), 1.0))

    def probes(self, photos: Floats) -> Floats:
        """The error of one probe per draw [D, P]: ``errors``, and the luck of its own photos."""
        errors = self.errors(photos)
        luck = np.random.default_rng([self.seed, 3]).standard_normal(errors.shape)
        return np.asarray(np.minimum(errors * np.exp(self.luck * luck), 1.0))

    def bands(self, photos: Floats, level: float, evaluated: int | None = None) -> list[Band]:
        """Accuracy at ``photos`` (in all); with ``evaluated``, as so many fresh photos would show it."""
        accuracy = 1 - self.probes(photos)
        if evaluated is not None:
            accuracy = np.random.default_rng([self.seed, 2]).binomial(evaluated, accuracy) / evaluated
        low, middle, high = np.quantile(accuracy, [0.5 - level / 2, 0.5, 0.5 + level / 2], axis=0)
        return [Band(n, m, a, b, level) for n, m, a, b in np.stack([photos, middle, low, high], axis=1).tolist()]

    def gains(self, photos: Floats, level: float) -> tuple[tuple[float, float], ...]:
        """(low, high) of the accuracy gained at each of ``photos`` over the first of them."""
        errors = self.errors(photos)
        ends = np.quantile(errors[:, :1] - errors, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return tuple((low, high) for low, high in ends.T.tolist())

    def needed(self, target: float, now: float, level: float) -> Needed:
        """How many photos in all reach the accuracy ``target``; not fewer than ``now``."""
        grid = now * np.geomspace(1.0, FAR, 240)
        reached = self.errors(grid) <= 1 - target
        first = np.where(reached.any(1), reached.argmax(1), len(grid))
        places = [*grid.tolist(), None]
        quantiles = np.quantile(first, [0.5, 0.5 - level / 2, 0.5 + level / 2], method="higher")
        value, low, high = (places[int(place)] for place in quantiles)
        return Needed(target, value, low, high, float(reached.any(1).mean()))


def fit(measured: Points, seed: int = 0, drift: float = DRIFT, luck: float = LUCK) -> LearningCurve:
    """The posterior of the curve's parameters on a grid, given the accuracies and their covariance."""
    x = measured.sizes / measured.sizes[-1]
    seen = _smooth(measured.accuracy, measured.photos)
    highest = _angle(np.array(min(0.98, 3 * seen[-1] + 8 / measured.photos)))
    errors = np.square(np.sin(np.linspace(0.001, float(highest), 120) / 2))  # even in angle: Jeffreys' prior
    floors, decays = (np.arange(24) + 0.5) / 24, DECAY[0] * np.exp(DECAY[1] * np.linspace(-2.5, 2.5, 24))
    error, floor, decay = (axis.ravel() for axis in np.meshgrid(errors, floors, decays, indexing="ij"))
    law = error * (floor + (1 - floor) * x[:, None] ** -decay)  # [S, grid]
    residual = _angle(seen)[:, None] - _angle(np.minimum(law, 1.0))
    cholesky = np.linalg.cholesky(measured.scatter + _model_covariance(measured, seen, drift, luck))
    misfit = np.square(np.linalg.solve(cholesky, residual)).sum(0)
    log_p = -0.5 * misfit - 0.5 * np.square(np.log(decay / DECAY[0]) / DECAY[1])
    weight = np.exp(log_p - log_p.max())
    chosen = np.random.default_rng([seed, 0]).choice(len(weight), DRAWS, p=weight / weight.sum())
    return LearningCurve(float(measured.sizes[-1]), error[chosen], floor[chosen], decay[chosen], drift, luck, seed)


def _model_covariance(measured: Points, error: Floats, drift: float, luck: float) -> Floats:
    """Covariance [S, S] of the accuracies about the law, beyond that of few photos evaluated; arcsine scale."""
    away = np.log(measured.sizes[-1] / measured.sizes)
    used = np.minimum(measured.sizes / measured.photos, 1.0)
    of_law = drift**2 * np.minimum.outer(away, away)
    of_luck = luck**2 * np.diag(SHARED * used + 1 / measured.repeats)
    slope = np.sqrt(error / (1 - error))  # of the angle by the logarithm of the error
    return np.asarray((of_law + of_luck) * np.outer(slope, slope) + 1e-9 * np.eye(len(error)))
