"""A logistic regression per label, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from headstart.training.balance import label_weights
from headstart.training.linear_probe import fit_probe
from headstart.training.logistic_regression import Rows, solve
from headstart.training.strengths import L2_GRID

L2 = 0.05


def drawn(photos: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(photos, 12)).astype(np.float32)
    true = np.random.default_rng(99).normal(size=(12, 3))
    odds = x @ true + (0, -1, -2)
    return x * 3 + 1, (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(np.float32)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("photos", [200, 10])  # more photos than features, and fewer
def test_each_label_has_the_solution_of_scikit_learn(photos: int, balanced: bool) -> None:
    x, y = drawn(photos, seed=6)
    assert ((y.sum(0) > 0) & (y.sum(0) < photos)).all()
    weights = torch.from_numpy(np.where(y > 0, *label_weights(y)[::-1])) if balanced else None
    solutions = solve(Rows(torch.from_numpy(x)), torch.from_numpy(y), 3, [1.0, L2], 1e-8, weights)
    ((_, weight, bias),) = [one for together in solutions for one in together if one[0] == L2]
    rows = StandardScaler().fit_transform(x.astype(np.float64))
    for c in range(3):
        kind = "balanced" if balanced else None
        theirs = LogisticRegression(C=1 / (L2 * photos), class_weight=kind, tol=1e-10, max_iter=5000)
        theirs.fit(rows, y[:, c])
        assert weight[c].numpy() == pytest.approx(theirs.coef_[0], abs=1e-4)
        assert bias[c].item() == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_the_strength_is_chosen_by_average_precision_on_val_and_the_head_is_scaled() -> None:
    train, val = drawn(150), drawn(80, seed=1)
    probe = fit_probe(train, val, 3)
    assert {step.l2 for step in probe.path} <= set(L2_GRID)
    assert all(step.val_map is not None and step.score == step.val_map for step in probe.path)
    logits = torch.from_numpy(val[0]) @ probe.weight.T + probe.bias
    chosen = next(step for step in probe.path if step.l2 == probe.l2)
    assert average_precision_score(val[1], logits.numpy(), average="macro") == pytest.approx(chosen.val_map)
    assert max(step.val_map or 0 for step in probe.path) - (chosen.val_map or 0) < 1.5 / 80  # at most three decades off
    scale = probe.temperature
    assert torch.nn.functional.binary_cross_entropy_with_logits(logits * scale, torch.from_numpy(val[1])).item() == (
        pytest.approx(chosen.val_loss, rel=1e-4)
    )


def test_a_label_that_every_training_photo_has_is_no_error() -> None:
    train, val = drawn(100), drawn(60, seed=1)
    train[1][:, 0], train[1][:, 1] = 1, 0
    probe = fit_probe(train, val, 3, balanced=True)
    p = (torch.from_numpy(val[0]) @ probe.weight.T + probe.bias).sigmoid()
    assert p[:, 0].min() > 0.6
    assert p[:, 1].max() < 0.4
