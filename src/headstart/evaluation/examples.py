"""Predictions to show: the most confident wrong and correct ones, and pairs of classes that are confused."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np


class ConfusedPair(NamedTuple):
    """``photos`` of class ``true`` were taken for ``predicted``: ``share`` (0-1) of all photos of ``true``."""

    true: int
    predicted: int
    photos: int
    share: float


def most_confident(probabilities: np.ndarray, labels: np.ndarray, k: int) -> list[int]:
    """Indices of at most ``k`` wrongly classified photos, the most confident first, ties in the order of the photos.

    ``probabilities`` [N, C], ``labels`` [N]. Label errors and ambiguous photos are most frequent among these.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    confident_first = np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")
    return [int(index) for index in wrong[confident_first[:k]]]


def confident_hits(probabilities: np.ndarray, labels: np.ndarray, k: int) -> list[int]:
    """Indices of at most ``k`` correctly classified photos: the most confident of each class, then the second of each,
    and so on; classes in their order.
    """
    correct = np.flatnonzero(probabilities.argmax(axis=1) == labels)
    confident_first = correct[np.argsort(-probabilities[correct, labels[correct]], kind="stable")]
    by_class = [confident_first[labels[confident_first] == c].tolist() for c in np.unique(labels)]
    return [index for nth_of_each in zip_longest(*by_class) for index in nth_of_each if index is not None][:k]


def label_mistakes(probabilities: np.ndarray, predicted: np.ndarray, true: np.ndarray, k: int) -> list[tuple[int, int]]:
    """(photo, label) of at most ``k`` wrong decisions on labels, the most confident first, one of a photo.

    ``probabilities`` [N, C]; ``predicted``, ``true`` [N, C] bool.
    """
    sure = np.where(predicted, probabilities, 1 - probabilities)
    sure = np.where(predicted != true, sure, -1.0)
    label = sure.argmax(1)
    photos = np.argsort(-sure.max(1), kind="stable")
    return [(int(i), int(label[i])) for i in photos[:k] if sure[i, label[i]] >= 0]


def label_hits(probabilities: np.ndarray, predicted: np.ndarray, true: np.ndarray, k: int) -> list[tuple[int, int]]:
    """(photo, label) of at most ``k`` labels that were predicted and are there: the most probable of each label, then
    the second of each, and so on.
    """
    each = []
    for c in range(true.shape[1]):
        photos = np.flatnonzero(predicted[:, c] & true[:, c])
        ordered = photos[np.argsort(-probabilities[photos, c], kind="stable")]
        each.append([(int(i), c) for i in ordered[:k]])
    return [hit for nth_of_each in zip_longest(*each) for hit in nth_of_each if hit is not None][:k]


def confused_pairs(figures: Mapping[str, Any], k: int) -> list[ConfusedPair]:
    """``most_confused`` of the metrics of one split, with or without a confusion matrix."""
    if figures.get("confusion") is not None:
        return most_confused(figures["confusion"], k)
    support = [row["support"] for row in figures["report"]["classes"]]
    rows = [(row["true"], row["predicted"], row["photos"]) for row in figures.get("confused", ())]
    return [ConfusedPair(true, predicted, n, n / max(1, support[true])) for true, predicted, n in rows[:k]]


def most_confused(confusion: list[list[int]], k: int) -> list[ConfusedPair]:
    """At most ``k`` pairs of classes that were confused: most photos first, then larger share, then class order."""
    pairs = [
        ConfusedPair(true, predicted, count, count / sum(row))
        for true, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(pairs, key=lambda pair: (-pair.photos, -pair.share, pair.true, pair.predicted))[:k]
