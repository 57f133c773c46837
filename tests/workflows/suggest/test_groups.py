"""Groups of look-alikes, and the reason that is shown."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation.ood import unit_rows
from headstart.workflows.suggest.groups import look_alikes, newer_than_uncertain
from headstart.workflows.suggest.ranking import Situation


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_look_alikes_have_one_label_and_are_listed_once(rng: np.random.Generator) -> None:
    kinds = np.array([0, 1, 0, 0, 1, 2, 0, 0])
    rows = unit_rows(np.eye(3)[kinds] + 0.02 * rng.normal(size=(8, 3)))
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 0])  # photo 6 looks like the first, and has another label
    near = sorted([2, 7], key=lambda i: -float(rows[i] @ rows[0]))
    assert look_alikes(rows, np.array([0, 1, 3]), labels, 5) == [near, [4], []]  # 2 and 7 are taken already
    assert look_alikes(rows, np.array([0, 3]), labels, 1)[0] == near[:1]
    assert look_alikes(rows, np.array([0]), labels, 0) == [[]]


def test_a_photo_far_from_all_labelled_ones_is_a_new_kind() -> None:
    pool = np.array([[1.0, 0.1], [1.0, 0.2], [0.9, -0.1], [-1.0, 0.5]])
    sure = np.array([[0.51, 0.49], [0.55, 0.45], [0.6, 0.4], [0.9, 0.1]])
    there = Situation(np.array([[1.0, 0.0], [0.8, 0.0]]), pool, sure[:2], sure)
    assert newer_than_uncertain(there).tolist()[::3] == [False, True]
