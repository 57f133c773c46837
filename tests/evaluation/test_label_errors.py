"""The posterior of the true class: simulated noise is found, small sets are spared."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from headstart.evaluation.label_errors import SHARPNESS, TRUSTED, posterior


def simulated(noise: float, count: int = 4000, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities softened as by a probe, given labels that confuse neighbouring classes, true labels."""
    draw = np.random.default_rng(0)
    logits = 2.0 * draw.normal(size=(count, classes))
    exact = np.exp(logits * SHARPNESS)
    exact /= exact.sum(1, keepdims=True)
    true = (exact.cumsum(1) < draw.random(count)[:, None]).sum(1)
    given = np.where(draw.random(count) < noise, (true + 1) % classes, true)
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(1, keepdims=True), given, true


def own(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(rows[np.arange(len(labels)), labels])


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.4])
def test_the_posterior_is_that_of_the_true_confusion(noise: float) -> None:
    """The reference knows how the labels were drawn; EM has to find it out."""
    probabilities, given, true = simulated(noise)
    confusion = np.eye(4) * (1 - noise) + np.roll(np.eye(4), 1, 0) * noise
    joint = probabilities**SHARPNESS * confusion[given]
    joint /= joint.sum(1, keepdims=True)
    wrong, known = 1 - own(posterior(probabilities, given), given), 1 - own(joint, given)
    assert abs(wrong.mean() - noise) < 0.03
    assert np.abs(wrong - known).mean() < 0.02
    assert average_precision_score(given != true, wrong) > average_precision_score(given != true, known) - 0.01


def test_it_finds_more_than_the_doubt_about_the_label() -> None:
    """Labels that are often confused are doubted more: confidence in the label does not know which these are."""
    probabilities, given, true = simulated(0.2)
    wrong, bad = 1 - own(posterior(probabilities, given), given), given != true
    assert average_precision_score(bad, wrong) > average_precision_score(bad, -own(probabilities, given)) + 0.02
    assert f1_score(bad, wrong > 0.5) > f1_score(bad, probabilities.argmax(1) != given) + 0.05


def test_a_single_photo_convicts_nobody() -> None:
    """The trusted photos weigh against the first doubts, and hardly against many."""
    few = posterior(np.array([[0.35, 0.65]]), np.array([0]))
    assert few[0, 0] > 0.9
    one = np.array([[0.35, 0.65]] * (20 * TRUSTED) + [[0.95, 0.05]] * (20 * TRUSTED))
    many = posterior(one, np.zeros(len(one), np.int64))
    assert many[0, 0] < 0.5
    assert many[-1, 0] > 0.95


def test_rows_are_distributions_even_of_certain_probabilities() -> None:
    found = posterior(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32), np.array([0, 0]))
    assert np.isfinite(found).all()
    assert found.sum(1) == pytest.approx([1, 1])
    assert found[1].argmax() == 1
