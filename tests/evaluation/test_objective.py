"""Objectives: one class per photo, against scikit-learn; and one that another package could bring."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, log_loss

from headstart.evaluation.calibration import temperature
from headstart.evaluation.metrics import evaluate
from headstart.evaluation.objective import MULTICLASS, OBJECTIVES, loss_accuracy

LOGITS = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
LABELS = np.arange(40) % 4


def test_multiclass_is_there_by_name() -> None:
    assert OBJECTIVES.get("multiclass") is MULTICLASS


def test_loss_and_accuracy_are_scikit_learns() -> None:
    loss, accuracy = loss_accuracy(MULTICLASS, LOGITS, LABELS)
    assert loss == pytest.approx(log_loss(LABELS, softmax(LOGITS.astype(np.float64), axis=1)))
    assert accuracy == accuracy_score(LABELS, LOGITS.argmax(1))


def test_smoothing_spreads_its_part_over_all_classes() -> None:
    log_p = log_softmax(LOGITS.astype(np.float64), axis=1)
    wanted = -(0.8 * log_p[np.arange(40), LABELS] + 0.2 * log_p.mean(1)).mean()
    found = MULTICLASS.loss(torch.from_numpy(LOGITS), torch.from_numpy(LABELS), 0.2)
    assert float(found) == pytest.approx(wanted, abs=1e-6)


def test_targets_probabilities_predictions_and_figures_fit_together() -> None:
    targets = MULTICLASS.targets(LABELS.tolist(), 3)
    assert targets.dtype == np.int64
    probabilities = MULTICLASS.probabilities(LOGITS)
    assert probabilities == pytest.approx(softmax(LOGITS.astype(np.float64), axis=1))
    assert (MULTICLASS.decide(probabilities) == LOGITS.argmax(1)).all()
    assert MULTICLASS.metrics(probabilities, targets, list("abcd")) == evaluate(probabilities, LABELS, list("abcd"))
    expected = temperature(torch.from_numpy(LOGITS).double(), torch.from_numpy(LABELS))
    assert MULTICLASS.temperature(LOGITS, LABELS) == expected
