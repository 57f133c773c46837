"""Groups of look-alikes, and the reason that is shown."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.workflows.suggest.groups import look_alikes, newer_than_uncertain
from headstart.workflows.suggest.ranking import Situation


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_a_group_has_one_label_and_photos_that_are_alike(rng: np.random.Generator) -> None:
    kinds = np.array([2, 0, 1, 0, 2, 1, 0])
    x = np.eye(3)[kinds] + 0.02 * rng.normal(size=(7, 3))
    labels = np.array([0, 0, 0, 0, 0, 0, 1])  # the last looks like the second, and has another label
    assert look_alikes(x, labels, np.full(3, 1 / 3)).tolist() == [1, 2, 3, 2, 1, 3, 4]
    assert look_alikes(x[:1], labels[:1], np.zeros(3)).tolist() == [1]


def test_a_photo_far_from_all_labelled_ones_is_a_new_kind() -> None:
    pool = np.array([[1.0, 0.1], [1.0, 0.2], [0.9, -0.1], [-1.0, 0.5]])
    sure = np.array([[0.51, 0.49], [0.55, 0.45], [0.6, 0.4], [0.9, 0.1]])
    there = Situation(np.array([[1.0, 0.0], [0.8, 0.0]]), pool, sure[:2], sure)
    assert newer_than_uncertain(there).tolist()[::3] == [False, True]
