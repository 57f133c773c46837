"""Distances to what was trained on, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation.ood import class_means, distances, some_of_each


def test_the_distance_is_one_minus_the_cosine_to_the_nearest_mean() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.random((40, 6)), rng.integers(0, 3, 40)
    means = class_means(features, labels)
    assert means.dtype == np.float16
    wanted = []
    for c in range(3):
        rows = [x / np.linalg.norm(x) for x, y in zip(features, labels, strict=True) if y == c]
        wanted.append(np.mean(rows, axis=0) / np.linalg.norm(np.mean(rows, axis=0)))
    assert means == pytest.approx(np.array(wanted), abs=1e-3)
    others = rng.normal(size=(20, 6)) * 50
    brute = [1 - max(float(x @ m / np.linalg.norm(x)) for m in wanted) for x in others]
    assert distances(others, means) == pytest.approx(brute, abs=2e-3)


def test_a_class_without_photos_has_no_mean_and_features_of_zero_are_far() -> None:
    means = class_means(np.eye(4)[[0, 1]], np.array([0, 2]))
    assert means.shape == (2, 4)
    assert distances(np.zeros((1, 4)), means) == pytest.approx([1.0])
    assert distances(np.eye(4)[[1, 3]], means) == pytest.approx([0.0, 1.0])


def test_some_of_each_class_are_spread_over_it() -> None:
    labels = np.array([0] * 1000 + [1] * 3 + [2] * 100)
    chosen = some_of_each(labels)
    assert np.bincount(labels[chosen]).tolist() == [100, 3, 100]
    assert (np.diff(chosen) > 0).all()
    assert chosen[99] == 999
