"""Which mistakes are shown, and in what order."""

from __future__ import annotations

import numpy as np

from headstart.evaluation.examples import ConfusedPair, most_confident, most_confused

PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.2, 0.8], [0.45, 0.55]])
LABELS = np.array([0, 1, 0, 0, 0, 1])  # wrong: 1 (0.6), 2 (0.8), 3 (0.7), 4 (0.8)


def test_the_surest_mistake_comes_first_and_ties_keep_their_order() -> None:
    assert most_confident(PROBABILITIES, LABELS, 10) == [2, 4, 3, 1]


def test_no_more_than_k_and_none_where_all_is_right() -> None:
    assert most_confident(PROBABILITIES, LABELS, 2) == [2, 4]
    assert most_confident(PROBABILITIES, PROBABILITIES.argmax(axis=1), 3) == []


def test_confused_pairs_by_photos_then_share_then_class() -> None:
    confusion = [[90, 3, 1], [3, 7, 0], [1, 0, 0]]
    assert most_confused(confusion, 10) == [
        ConfusedPair(1, 0, 3, 0.3),
        ConfusedPair(0, 1, 3, 3 / 94),
        ConfusedPair(2, 0, 1, 1.0),
        ConfusedPair(0, 2, 1, 1 / 94),
    ]
    assert len(most_confused(confusion, 2)) == 2


def test_a_perfect_matrix_has_no_confused_pair() -> None:
    assert most_confused([[5, 0], [0, 5]], 3) == []
