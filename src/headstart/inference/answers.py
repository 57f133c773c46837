"""What a network says of one photo, and what the photo is given."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Answer(NamedTuple):
    """What the network computes for one photo: probabilities [C]; the distance as in ``Prediction``."""

    probabilities: np.ndarray
    distance: float | None


class Decided(NamedTuple):
    """What a photo is given: its labels, in class order: one, or any number. ``first``: the index of the most probable
    of them (of all, where there are none). ``confidence``: the probability of the class; of several labels, of the one
    that is the least probable, and where there are none, that the most probable is not there.
    """

    labels: tuple[str, ...]
    first: int
    confidence: float
