"""Labels that are probably wrong and photos like no class: planted, and found."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from headstart.training.cross_validation import assign_folds
from headstart.training.strengths import USUAL_L2
from headstart.workflows.check.labels import distances, enough_units, find_label_issues, judge

CLASSES, PER_CLASS, DIMENSIONS = 3, 60, 24


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Features of three classes that come apart, none negative, as after a ReLU."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), PER_CLASS)
    centres = draw.uniform(0, 4, (CLASSES, DIMENSIONS))
    return np.abs(centres[labels] + 0.7 * draw.normal(size=(len(labels), DIMENSIONS))).astype(np.float32), labels


def test_wrong_labels_are_found(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = blobs
    wrong = [3, 71, 130, 170]
    given = labels.copy()
    given[wrong] = (labels[wrong] + 1) % CLASSES
    opinion = find_label_issues(features, given, CLASSES, list(range(len(labels))))
    assert np.flatnonzero(opinion.suspect).tolist() == wrong
    assert opinion.better[wrong].tolist() == labels[wrong].tolist()
    assert not opinion.outliers.any()


def test_photos_of_another_world_are_found(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = blobs
    strangers = np.abs(np.random.default_rng(1).normal(size=(4, DIMENSIONS)) * 6).astype(np.float32)
    opinion = find_label_issues(
        np.concatenate([features, strangers]), np.r_[labels, 0, 1, 2, 0], CLASSES, list(range(len(labels) + 4))
    )
    assert np.flatnonzero(opinion.outliers).tolist() == [180, 181, 182, 183]


def test_a_photo_is_judged_by_others_only(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    """A copy with the same wrong label must not vouch for it."""
    features, labels = blobs
    features, given = np.concatenate([features, features[:1]]), np.r_[labels, 1]
    given[0] = 1
    unit = [*range(len(labels)), 0]
    together = find_label_issues(features, given, CLASSES, unit)
    assert together.suspect[[0, 180]].all()


def test_out_of_fold_probabilities_are_a_logistic_regressions(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = blobs
    draw = np.random.default_rng(2)
    mixed = (features + draw.normal(size=features.shape) * 3).astype(np.float32)
    unit = list(range(len(labels)))
    found = find_label_issues(mixed, labels, CLASSES, unit).probabilities
    assert np.allclose(found.sum(1), 1)
    fold = assign_folds([str(y) for y in labels], unit, seed=0)
    rest, judged = np.flatnonzero(fold != 0), np.flatnonzero(fold == 0)
    mean, scale = mixed[rest].mean(0, dtype=np.float64), mixed[rest].std(0, dtype=np.float64)
    reference = LogisticRegression(C=1 / (USUAL_L2 * len(rest)), max_iter=2000, tol=1e-8)
    reference.fit((mixed[rest] - mean) / scale, labels[rest])
    assert np.abs(reference.predict_proba((mixed[judged] - mean) / scale) - found[judged]).max() < 0.01


def test_noise_says_nothing_of_labels() -> None:
    draw = np.random.default_rng(0)
    opinion = find_label_issues(
        np.abs(draw.normal(size=(80, 16))).astype(np.float32), np.repeat([0, 1], 40), 2, list(range(80))
    )
    assert not opinion.suspect.any()


def test_a_class_of_one_picture_cannot_be_judged() -> None:
    labels = np.repeat([0, 1], 20)
    assert enough_units(labels, list(range(40)))
    assert not enough_units(labels, [*range(20), *[20] * 20])
    assert not enough_units(labels, [*range(20), *[20, 21, 22, 23] * 5])


def test_the_better_class_is_another_one_even_where_the_label_is_probably_right() -> None:
    probabilities = np.array([[0.9, 0.07, 0.03]] * 20 + [[0.02, 0.08, 0.9]] * 20)
    wrong, better = judge(probabilities, np.repeat([0, 2], 20))
    assert (wrong < 0.1).all()
    assert better.tolist() == [1] * 40


def test_clean_photos_of_a_small_set_are_hardly_accused() -> None:
    """A hundred photos of classes that overlap: the probes err far more often than the labels."""
    accused, mistaken = [], []
    for seed in range(5):
        draw = np.random.default_rng(seed)
        labels = np.repeat([0, 1, 2, 3], 25)
        features = np.abs(draw.normal(size=(100, 16)) + draw.normal(size=(4, 16))[labels]).astype(np.float32)
        found = find_label_issues(features, labels, 4, list(range(100)))
        accused.append(found.suspect.mean())
        mistaken.append((found.probabilities.argmax(1) != labels).mean())
    assert np.mean(accused) < 0.4 * np.mean(mistaken)


def test_distance_is_that_of_the_thirtieth_neighbour(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    features, _ = blobs
    rows = np.sqrt(features.astype(np.float64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    own = np.sort(1 - rows @ rows.T, axis=1)[:, 30]
    middle, high = np.quantile(own, [0.5, 0.9])
    assert distances(features) == pytest.approx((own - middle) / ((high - middle) / 1.2816), abs=1e-3)


def test_few_photos_have_fewer_neighbours() -> None:
    features = np.abs(np.random.default_rng(0).normal(size=(6, 4))).astype(np.float32)
    assert np.isfinite(distances(features)).all()
