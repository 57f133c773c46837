"""A probe of few photos, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.training.cross_validation import STRENGTHS
from headstart.training.strengths import USUAL_L2
from headstart.workflows.suggest.probe import fit_few, probabilities


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def drawn(rng: np.random.Generator, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(3), per_class)
    x = np.eye(3, 10)[labels] * 2 + rng.normal(size=(len(labels), 10))
    return x.astype(np.float32), labels


@pytest.mark.parametrize("per_class", [1, 2, 9])
def test_probabilities_are_those_of_scikit_learn(per_class: int, rng: np.random.Generator) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, labels = drawn(rng, per_class)
    probe = fit_few(x, labels, 3, list(range(len(x))))
    assert probe.l2 in STRENGTHS
    mean, scale = x.mean(0), x.std(0)
    other = linear_model.LogisticRegression(C=1 / (probe.l2 * len(x)), tol=1e-8, max_iter=1000)
    logits = other.fit((x - mean) / scale, labels).decision_function((x - mean) / scale) / probe.temperature
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert probabilities(probe, x) == pytest.approx(expected, abs=2e-3)


def test_without_folds_the_usual_strength_is_taken(rng: np.random.Generator) -> None:
    x, labels = drawn(rng, 4)
    unit = [0, 0, 0, 0, *range(1, 9)]  # the first class is one picture
    probe = fit_few(x, labels, 3, unit)
    assert (probe.l2, probe.temperature) == (USUAL_L2, 1.0)
