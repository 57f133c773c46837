"""The objective of any number of labels, against plain PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from headstart.evaluation.multilabel import MULTILABEL, MultiLabel
from headstart.evaluation.objective import OBJECTIVES, on_val
from headstart.training.balance import label_weights

TARGETS = MULTILABEL.targets([(0, 2), (), (1,), (0,), (0, 1)], 3)
LOGITS = np.random.default_rng(0).normal(size=TARGETS.shape)


def test_it_is_registered_and_its_targets_are_of_zeros_and_ones() -> None:
    assert OBJECTIVES.get("multilabel") is MULTILABEL
    assert TARGETS.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]]
    assert TARGETS.dtype == np.float32


def test_the_loss_is_binary_cross_entropy_with_smoothing_and_weights() -> None:
    x, y = torch.from_numpy(LOGITS), torch.from_numpy(TARGETS)
    assert MULTILABEL.loss(x, y).item() == pytest.approx(F.binary_cross_entropy_with_logits(x, y.double()).item())
    smooth = F.binary_cross_entropy_with_logits(x, y.double() * 0.8 + 0.1)
    assert MULTILABEL.loss(x, y, 0.2).item() == pytest.approx(smooth.item())
    weights = torch.from_numpy(label_weights(TARGETS))
    each = F.binary_cross_entropy_with_logits(x, y.double(), reduction="none")
    wanted = (torch.where(y > 0, weights[1], weights[0]) * each).mean()
    assert MULTILABEL.loss(x, y, weights=weights).item() == pytest.approx(wanted.item())


def test_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    found = label_weights(TARGETS)
    for c in range(3):
        wanted = compute_class_weight("balanced", classes=np.array([0, 1]), y=TARGETS[:, c].astype(int))
        assert found[:, c] == pytest.approx(wanted)
    assert label_weights(np.ones((4, 2), np.float32)).tolist() == [[1, 1], [1, 1]]


def test_probabilities_are_sigmoids_and_decisions_follow_the_thresholds() -> None:
    p = MULTILABEL.probabilities(LOGITS)
    assert p == pytest.approx(1 / (1 + np.exp(-LOGITS)))
    assert torch.equal(MULTILABEL.activate(torch.from_numpy(LOGITS)), torch.from_numpy(LOGITS).sigmoid())
    assert (MULTILABEL.decide(p) == (p >= 0.5)).all()
    own = MultiLabel((0.1, 0.9, 0.5))
    assert (own.decide(p) == (p >= [0.1, 0.9, 0.5])).all()
    fitted = MULTILABEL.fitted(p, TARGETS)
    assert len(fitted.thresholds) == 3
    assert fitted.to_json() == {"name": "multilabel", "thresholds": list(fitted.thresholds)}


def test_on_val_the_order_of_photos_decides() -> None:
    from sklearn.metrics import average_precision_score

    found = on_val(MULTILABEL, LOGITS, TARGETS)
    assert found.mean_ap == pytest.approx(average_precision_score(TARGETS, LOGITS, average="macro"))
    assert found.score == (found.mean_ap, -found[0])
    assert found[1] == pytest.approx(((LOGITS > 0) == (TARGETS > 0)).all(1).mean())
    assert on_val(MULTILABEL, LOGITS, np.zeros_like(TARGETS)).mean_ap is None


def test_the_temperature_is_the_best_of_all() -> None:
    rng = np.random.default_rng(5)
    sure = rng.normal(size=(2000, 3))
    targets = (rng.random(sure.shape) < 1 / (1 + np.exp(-sure))).astype(np.float32)
    assert MULTILABEL.temperature(3 * sure, targets) == pytest.approx(3, rel=0.06)
    before = MULTILABEL.before_scaling(sure, targets, 3.0)
    after = MULTILABEL.metrics(MULTILABEL.probabilities(sure), targets, ("a", "b", "c"))
    assert before["ece"] > 2 * after["calibration"]["ece"]
    assert before["log_loss"] > after["log_loss"]


def test_what_is_so_has_the_lowest_of_its_probabilities() -> None:
    p = np.array([[0.9, 0.2], [0.3, 0.4]])
    assert MULTILABEL.own(p, np.array([[1, 0], [0, 0]])) == pytest.approx([0.8, 0.6])
