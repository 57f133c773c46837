"""Uneven classes in training: a weight in the loss for each class, or an order of photos in which classes are even."""

from __future__ import annotations

import numpy as np


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """A weight per class [C], float64, so that every class has the same part in a loss; they average 1 over the photos
    with ``labels`` [N]. Those of scikit-learn's ``class_weight="balanced"``; a class without photos has 0.
    """
    counts = np.bincount(labels, minlength=classes)
    held = np.count_nonzero(counts)
    return np.asarray(np.divide(len(labels), held * counts, out=np.zeros(classes), where=counts > 0))


def label_weights(targets: np.ndarray) -> np.ndarray:
    """Of photos without and with each label [2, C], float64, from ``targets`` [N, C], so that both have the same part
    in the label's loss; 1 on average. Those of scikit-learn's ``class_weight="balanced"``; where only one of them
    occurs, both are 1.
    """
    photos, having = len(targets), targets.sum(0, dtype=np.float64)
    both = np.stack([photos - having, having])
    found = np.divide(photos, 2 * both, out=np.ones_like(both), where=both > 0)
    return np.asarray(np.where(both.min(0) > 0, found, 1.0))


def even_order(order: np.ndarray, labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """As many places as ``order`` (a random permutation of the photos with ``labels`` [N]) has, with equally many of
    each class: each photo of a small class comes several times, of a large one each epoch sees other photos.
    """
    held = np.unique(labels)
    held = np.roll(held, epoch)  # where the places do not divide evenly, another class gets the odd one in each epoch
    parts = np.array_split(np.arange(len(order)), len(held))
    drawn = np.concatenate(
        [np.resize(order[labels[order] == c], len(part)) for c, part in zip(held, parts, strict=True)]
    )
    rng = np.random.Generator(np.random.PCG64([seed, epoch, 11]))
    return np.asarray(drawn[np.argsort(rng.random(len(drawn)), kind="stable")])
