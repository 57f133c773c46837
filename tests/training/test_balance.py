"""Class weights against scikit-learn, an even order of uneven classes, and what both do in a training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from headstart.data.augment import draw_epoch
from headstart.evaluation.objective import MULTICLASS, OnVal, balanced_if_uneven, on_val
from headstart.inference.device import Machine
from headstart.training.balance import class_weights, even_order
from headstart.training.batches import ArraySource
from headstart.training.linear_probe import fit_probe
from headstart.training.logistic_regression import Rows, solve
from headstart.training.optimization import parameter_groups
from headstart.training.plan import Plan
from headstart.training.trainer import Trainer

LABELS = np.repeat([0, 1, 2], [40, 8, 4])


def rows(labels: np.ndarray = LABELS, seed: int = 0, apart: float = 1.0) -> np.ndarray:
    middles = np.random.default_rng(7).normal(size=(3, 6)) * apart
    return (middles[labels] + np.random.default_rng(seed).normal(size=(len(labels), 6))).astype(np.float32)


@pytest.mark.parametrize("counts", [(40, 8, 4), (5, 5, 5), (1, 100, 1)])
def test_class_weights_are_those_of_scikit_learn(counts: tuple[int, ...]) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat(np.arange(3), counts)
    found = class_weights(labels, 3)
    assert found == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=labels))
    assert found[labels].mean() == pytest.approx(1)


def test_a_class_without_photos_has_no_weight() -> None:
    assert class_weights(np.array([0, 0, 2]), 4).tolist() == [0.75, 0, 1.5, 0]


@pytest.mark.parametrize(("n_of", "d"), [((60, 12, 6), 10), ((60, 12, 6), 120), ((200, 3, 3), 8)])
def test_a_weighted_probe_is_solved_as_scikit_learn_solves_it(n_of: tuple[int, ...], d: int) -> None:
    from sklearn.linear_model import LogisticRegression

    labels = np.repeat(np.arange(3), n_of)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, d))[labels] + 2 * rng.normal(size=(len(labels), d))
    x = (x - x.mean(0)) / x.std(0)
    weights = torch.from_numpy(class_weights(labels, 3))[torch.from_numpy(labels)]
    y, strengths = torch.from_numpy(labels), (10.0, 1.0, 0.1, 0.01)
    for together in solve(Rows(torch.from_numpy(x)), y, 3, strengths, 1e-8, weights):
        for l2, w, b in together:
            model = LogisticRegression(
                C=1 / (len(labels) * l2), class_weight="balanced", tol=1e-10, max_iter=20_000
            ).fit(x, labels)
            assert np.abs(w.numpy() - model.coef_).max() < 1e-3
            assert np.abs((b - b.mean()).numpy() - (model.intercept_ - model.intercept_.mean())).max() < 1e-3


def test_weights_of_one_change_no_bit_of_a_probe() -> None:
    x, y = Rows(torch.from_numpy(rows())), torch.from_numpy(LABELS)
    (plain,), (weighted,) = (list(solve(x, y, 3, (0.1,), weights=w)) for w in (None, torch.ones(len(LABELS))))
    assert torch.allclose(plain[0][1], weighted[0][1], atol=1e-5)


def test_a_weighted_loss_is_the_mean_over_classes_whatever_the_batches() -> None:
    logits, targets = torch.randn(len(LABELS), 3, generator=torch.Generator().manual_seed(0)), torch.from_numpy(LABELS)
    weights = torch.from_numpy(class_weights(LABELS, 3)).float()
    found = MULTICLASS.loss(logits, targets, weights=weights)
    of_class = [F.cross_entropy(logits[targets == c], targets[targets == c]) for c in range(3)]
    assert float(found) == pytest.approx(float(torch.stack(of_class).mean()), abs=1e-6)
    parts = [MULTICLASS.loss(logits[a:b], targets[a:b], 0.1, weights) * (b - a) for a, b in ((0, 7), (7, 45), (45, 52))]
    assert float(sum(parts) / 52) == pytest.approx(float(MULTICLASS.loss(logits, targets, 0.1, weights)), abs=1e-6)


def test_an_even_order_draws_each_class_equally_often_and_other_photos_each_epoch() -> None:
    seen: Counter[int] = Counter()
    for epoch in range(20):
        order = even_order(draw_epoch(3, epoch, len(LABELS))[0], LABELS, 3, epoch)
        drawn = Counter(LABELS[order].tolist())
        assert sum(drawn.values()) == len(LABELS)
        assert max(drawn.values()) - min(drawn.values()) <= 1
        of_small = Counter(order[LABELS[order] == 2].tolist())
        assert len(of_small) == 4  # all of them, each as often as it must be
        assert max(of_small.values()) - min(of_small.values()) <= 1
        seen.update(set(order[LABELS[order] == 0].tolist()))
        assert np.array_equal(order, even_order(draw_epoch(3, epoch, len(LABELS))[0], LABELS, 3, epoch))
    assert len(seen) == 40  # no photo of the large class is left out for good


def test_a_balanced_source_mixes_classes_in_its_batches() -> None:
    batches = [y for _, y in ArraySource(rows(), LABELS, 0, balanced=True).batches(0, 13)]
    assert all(len(set(y.tolist())) == 3 for y in batches)


def test_balanced_accuracy_is_scikit_learns_and_only_for_uneven_classes() -> None:
    from sklearn.metrics import balanced_accuracy_score

    predicted = np.random.default_rng(0).integers(0, 3, len(LABELS))
    assert balanced_if_uneven(predicted == LABELS, LABELS) == pytest.approx(balanced_accuracy_score(LABELS, predicted))
    even = np.repeat([0, 1, 2], [29, 10, 10])
    assert balanced_if_uneven(np.ones(49, bool), even) is None
    assert balanced_if_uneven(np.ones(50, bool), np.append(even, 0)) == 1.0  # three to one
    assert balanced_if_uneven(np.ones((4, 2), bool), np.ones((4, 2))) is None  # several labels per photo


def test_choices_go_by_balanced_accuracy_where_there_is_one() -> None:
    assert OnVal(0.3, 0.9).score == (0.9, -0.3)
    assert OnVal(0.3, 0.9, 0.4).score == (0.4, -0.3)
    logits = np.tile(np.array([[1.0, 0.0, 0.0]]), (len(LABELS), 1))  # the largest class, always
    found = on_val(MULTICLASS, logits, LABELS)
    assert (found[1], found.balanced) == (pytest.approx(40 / 52), pytest.approx(1 / 3))


def test_the_epoch_with_the_best_balanced_accuracy_is_kept(
    tmp_path: Path, machine: Machine, plan: Callable[..., Plan]
) -> None:
    told = iter([OnVal(0.5, 0.9, 0.4), OnVal(0.6, 0.8, 0.7), OnVal(0.4, 0.95, 0.5)])
    net = nn.Linear(6, 3)
    trained = Trainer(
        net, ArraySource(rows(), LABELS, 0), lambda: next(told), plan(), machine, tmp_path,
        parameter_groups(net.named_parameters(), 1e-3, 0.0),
    ).run()  # fmt: skip
    assert trained.best_epoch == 2
    assert [row.val_balanced_accuracy for row in trained.history] == [0.4, 0.7, 0.5]


@pytest.mark.parametrize("balance", ["weights", "sampler"])
def test_a_training_by_gradient_descent_reaches_small_classes(
    tmp_path: Path, machine: Machine, plan: Callable[..., Plan], balance: str
) -> None:
    recall, labels = {}, np.repeat([0, 1, 2], [200, 20, 20])
    for way in ("none", balance):
        torch.manual_seed(0)
        net = nn.Linear(6, 3)
        chosen = plan(epochs=20, lr=0.02, label_smoothing=0.0, balance=way)
        weights = torch.from_numpy(class_weights(labels, 3)).float() if way == "weights" else None
        Trainer(
            net, ArraySource(rows(labels), labels, 0, balanced=way == "sampler"), lambda: OnVal(0.0, 0.0), chosen,
            machine, tmp_path / way, parameter_groups(net.named_parameters(), chosen.lr, 0.0), weights=weights,
        ).run()  # fmt: skip
        test = np.repeat([1, 2], 200)
        with torch.no_grad():
            recall[way] = float((net(torch.from_numpy(rows(test, 5))).argmax(1).numpy() == test).mean())
    assert recall[balance] > recall["none"] + 0.1


def test_a_weighted_probe_reaches_small_classes_and_chooses_by_balanced_accuracy() -> None:
    test = np.repeat([0, 1, 2], 200)
    found = {}
    for balanced in (False, True):
        probe = fit_probe((rows(), LABELS), (rows(seed=1), LABELS), 3, balanced=balanced)
        predicted = (rows(test, 5) @ probe.weight.numpy().T + probe.bias.numpy()).argmax(1)
        found[balanced] = float((predicted == test).mean())
        assert all(step.val_balanced_accuracy is not None for step in probe.path)
    assert found[True] > found[False] + 0.05


def test_even_classes_are_chosen_by_accuracy_as_before() -> None:
    labels = np.arange(60) % 3
    probe = fit_probe((rows(labels), labels), (rows(labels, 1), labels), 3)
    assert all(step.val_balanced_accuracy is None for step in probe.path)
