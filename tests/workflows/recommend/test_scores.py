"""Neighbours and cross-validated probes against scikit-learn, and what belongs together is kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from headstart.training.cross_validation import CrossValidated, assign_folds, cross_validate
from headstart.workflows.recommend.scores import knn_correct


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Features [90, 12] of three classes that overlap."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    return (rng.normal(size=(3, 12))[labels] + 1.3 * rng.normal(size=(90, 12))).astype(np.float32), labels


def test_neighbours_are_scikit_learns(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    x, labels = drawn
    asked = KNeighborsClassifier(5, metric="cosine", algorithm="brute", weights=lambda d: 1 - d)
    wanted = cross_val_predict(asked, x, labels, cv=LeaveOneOut()) == labels
    found = knn_correct(x, labels, np.arange(90))
    assert 0.5 < found.mean() < 1
    assert np.array_equal(found, wanted)


def test_neighbours_of_one_unit_do_not_vote(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    x, labels = drawn
    noise = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    twice, both = np.concatenate([noise, noise]), np.concatenate([labels, labels])
    units = np.concatenate([np.arange(90)] * 2)
    assert knn_correct(twice, both, np.arange(180), 1).all()  # a copy names its copy
    assert knn_correct(twice, both, units, 1).mean() < 0.6
    assert not knn_correct(twice, both, np.zeros(180, dtype=int)).any()  # one unit: nobody is left to ask


def test_probes_are_scikit_learns(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    x, labels = drawn
    folds = assign_folds(list(map(str, labels)), range(90), 0)
    found = cross_validate(x, labels, 3, folds, tolerance=1e-6)
    exact = x.astype(np.float64)
    for s, l2 in enumerate(found.strengths):
        for fold in range(5):
            own = folds == fold
            scaler = StandardScaler().fit(exact[~own])
            # Mean loss + l2/2 |w|^2 here, sum of losses + 1/(2C) |w|^2 there.
            fitted = LogisticRegression(C=1 / (l2 * (~own).sum()), tol=1e-10, solver="newton-cholesky")
            fitted.fit(scaler.transform(exact[~own]), labels[~own])
            wanted = fitted.decision_function(scaler.transform(exact[own]))
            got = found.logits[s, own]
            assert got - got.mean(1, keepdims=True) == pytest.approx(wanted, abs=1e-4)


def test_a_fold_has_no_say_in_the_strength_that_answers_for_it() -> None:
    labels, folds = np.zeros(6, dtype=int), np.array([0, 0, 0, 1, 1, 1])
    logits = np.zeros((2, 6, 2))
    logits[0, :3, 1] = 1  # strength 0 is wrong on fold 0 and right on fold 1,
    logits[1, 3:, 1] = 1  # strength 1 the other way round: each fold would choose the one that flatters it
    assert not CrossValidated((0.2, 0.2), logits).correct(labels, folds).any()


def test_of_equal_strengths_the_usual_one_answers() -> None:
    folds, logits = np.array([0, 0, 1, 1]), np.zeros((3, 4, 2))
    logits[[[0], [2]], [0, 1], 1] = 1  # all are right on fold 1, on fold 0 the usual one alone
    assert CrossValidated((2.0, 0.2, 0.02), logits).correct(np.zeros(4, dtype=int), folds).all()


def test_folds_keep_units_whole_and_classes_even() -> None:
    labels, units = ["a"] * 40 + ["b"] * 20, [i // 2 for i in range(60)]
    folds = assign_folds(labels, units, 3)
    assert all(folds[i] == folds[i + 1] for i in range(0, 60, 2))
    assert np.bincount(folds[:40]).tolist() == [8] * 5
    assert np.bincount(folds[40:]).tolist() == [4] * 5
