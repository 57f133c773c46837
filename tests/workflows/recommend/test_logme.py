"""LogME against the log evidence worked out by brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from headstart.workflows.recommend.scores import log_evidence, logme

SHAPES = {"more photos": (30, 5), "more features": (12, 20), "as many": (10, 10)}


def drawn(photos: int, features: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of unequal spread and labels (0, 1, 2) that depend on them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(photos, features)) * np.linspace(3, 0.3, features) + 0.5
    score = x @ rng.normal(size=(features, 3)) + noise * rng.normal(size=(photos, 3))
    return x, score.argmax(1)


def brute_force(x: np.ndarray, y: np.ndarray) -> float:
    """The marginal likelihood of y, a multivariate normal with covariance XX'/alpha + I/beta, maximised over both."""

    def cost(logs: np.ndarray) -> float:
        alpha, beta = np.exp(np.clip(logs, -25, 25))
        covariance = x @ x.T / alpha + np.eye(len(x)) / beta
        return -float(multivariate_normal(np.zeros(len(x)), covariance).logpdf(y))

    starts = [(0.0, 1.0), (4.0, 2.0), (2.0, 5.0)]
    return max(-minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-6}).fun for start in starts)


@pytest.mark.parametrize("noise", [0.5, 8.0], ids=["clear", "noisy"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_is_the_largest_evidence(shape: tuple[int, int], noise: float) -> None:
    x, labels = drawn(*shape, noise)
    targets = np.eye(3)[labels]
    wanted = [brute_force(x, targets[:, c]) for c in range(3)]
    assert log_evidence(x, targets) == pytest.approx(wanted, abs=2e-4)
    assert logme(x.astype(np.float32), labels, 3) == pytest.approx(np.mean(wanted) / len(x), abs=1e-4)


def test_the_scale_of_the_features_does_not_matter() -> None:
    x, labels = drawn(40, 8, 1.0)
    assert logme(1000 * x, labels, 3) == pytest.approx(logme(x, labels, 3), abs=1e-9)


def test_labels_that_the_features_explain_score_higher() -> None:
    x, labels = drawn(200, 10, 0.5)
    rng = np.random.default_rng(1)
    assert logme(x, labels, 3) > logme(x, rng.permutation(labels), 3) + 0.2


Array = Callable[[], np.ndarray]
DEGENERATE: dict[str, Array] = {
    "all zero": lambda: np.zeros((20, 4)),
    "all equal": lambda: np.ones((20, 4)),
    "one column twice": lambda: np.repeat(np.random.default_rng(0).normal(size=(20, 1)), 2, axis=1),
}


@pytest.mark.parametrize("make", DEGENERATE.values(), ids=DEGENERATE)
def test_features_without_full_rank_have_a_score(make: Array) -> None:
    assert np.isfinite(logme(make(), np.arange(20) % 2, 2))
