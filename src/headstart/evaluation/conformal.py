"""Sets of labels with a guarantee: split-conformal prediction.

The score of a photo is 1 − p(own class), which gives the smallest sets on average (Sadinle, Lei & Wasserman 2019,
"Least ambiguous set-valued classifiers with bounded error levels"); the quantile is that of Angelopoulos & Bates
(2023), "Conformal prediction: a gentle introduction", section 1. The guarantee: of new photos that come from where
the val photos came from, in no special order, at least the asked part of the sets holds the true class. It is an
average, over photos and over draws of val: not per class, not per photo.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from headstart.errors import OptionError


def check_coverage(coverage: float) -> None:
    """Raises OptionError for a coverage that is no share between 0 and 1."""
    if not 0 < coverage < 1:
        hint = "0.95: of 20 sets, 19 hold the true class."
        raise OptionError(f"`coverage={coverage}` is not between 0 and 1.", hint, option="coverage")


def rank(count: int, share: float) -> int:
    """Which of ``count`` sorted scores bounds the asked share of new ones: ⌈(count + 1) · share⌉; beyond ``count``
    none does. Exact: in floating point 0.07 · 100 is more than 7.
    """
    return math.ceil((count + 1) * Fraction(str(float(share))))


def photos_needed(coverage: float) -> int:
    """The fewest val photos with which a set can leave a class out."""
    part = Fraction(str(float(coverage)))
    return math.ceil(part / (1 - part))


def least_probability(own: np.ndarray, coverage: float) -> float:
    """The probability that a label needs to be in a set; 0, so that sets hold every class, where photos are too few.

    ``own`` [n], ascending: the probability that each val photo's own class got. Raises OptionError.
    """
    check_coverage(coverage)
    k = rank(len(own), coverage)
    return float(own[len(own) - k]) if k <= len(own) else 0.0


def label_set(probabilities: np.ndarray, least: float) -> list[int]:
    """The classes of a set, the likeliest first. The likeliest is always one of them: without it a photo that the model
    is unsure of would have an empty set, which is of no use, and to add a label cannot lower the coverage.
    """
    order = np.argsort(-probabilities, kind="stable")
    return [int(c) for place, c in enumerate(order) if place == 0 or probabilities[c] >= least]
