"""Accuracy at growing sizes: who trains, who validates, who tests."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from headstart.workflows.forecast.measure import FOLDS, ROUNDS, Subset, correct_of, measure, sizes_for, subsets

LABELS = np.repeat([0, 1, 2], [50, 30, 20])
UNIT = np.arange(100) - (np.arange(100) % 10 == 1)  # every tenth photo goes with the one before it


@pytest.fixture(scope="module")
def drawn() -> list[Subset]:
    return list(subsets(LABELS, UNIT.tolist(), 5, ROUNDS))


def test_no_test_photo_was_trained_or_validated_on(drawn: list[Subset]) -> None:
    for one in drawn:
        learned, chose, tested = (set(UNIT[part].tolist()) for part in (one.train, one.val, one.held_out))
        assert not learned & tested
        assert not chose & tested
        assert not learned & chose
        assert min(len(learned), len(chose), len(tested)) > 0


def test_every_photo_is_tested_once_a_round_and_at_every_size(drawn: list[Subset]) -> None:
    sizes = len(sizes_for(LABELS))
    assert len(drawn) == ROUNDS * FOLDS * sizes
    for size in range(sizes):
        tested = Counter(i for one in drawn if one.size == size for i in one.held_out.tolist())
        assert tested == dict.fromkeys(range(100), ROUNDS)


def test_a_larger_part_holds_the_smaller_ones_and_every_class_in_its_share(drawn: list[Subset]) -> None:
    last: dict[int, set[int]] = {}
    for one in drawn:
        members = {*one.train.tolist(), *one.val.tolist()}
        assert last.get(one.repeat, set()) < members
        last[one.repeat] = members if one.size + 1 < len(sizes_for(LABELS)) else set()
        counts = np.bincount(LABELS[list(members)], minlength=3) / len(members)
        assert counts == pytest.approx([0.5, 0.3, 0.2], abs=0.12)


def test_rounds_draw_other_photos_and_a_seed_the_same(drawn: list[Subset]) -> None:
    again = list(subsets(LABELS, UNIT.tolist(), 5, ROUNDS))
    assert all(np.array_equal(a.train, b.train) for a, b in zip(drawn, again, strict=True))
    other = next(subsets(LABELS, UNIT.tolist(), 6, 1))
    assert not np.array_equal(other.held_out, drawn[0].held_out)
    assert not np.array_equal(drawn[0].held_out, drawn[FOLDS * len(sizes_for(LABELS))].held_out)


@pytest.mark.parametrize(
    ("per_class", "expected"),
    [(4, [9]), (10, [6, 8, 10, 13, 18, 24]), (1000, [150, 261, 455, 792, 1379, 2400])],
    ids=["four", "ten", "thousand"],
)
def test_sizes_are_spread_evenly_on_a_logarithmic_axis(per_class: int, expected: list[int]) -> None:
    found = sizes_for(np.repeat([0, 1, 2], per_class))
    assert found[-1] == expected[-1]
    assert found == sorted(set(found))
    if len(expected) > 1:
        assert found == pytest.approx(expected, abs=1)


def test_answers_are_those_of_a_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    features = (rng.standard_normal((100, 6)) + 0.7 * LABELS[:, None]).astype(np.float32)
    order = rng.permutation(100)
    train, tested = order[:60], order[60:]
    found = correct_of(features, LABELS, train, train[:10], tested, strengths=(0.2,))
    scaler = StandardScaler().fit(features[train])
    # mean loss + l2/2 |W|^2 here, sum of losses C + 1/2 |W|^2 there
    peer = LogisticRegression(C=1 / (0.2 * 60), tol=1e-8, max_iter=1000)
    peer.fit(scaler.transform(features[train]), LABELS[train])
    assert np.array_equal(found, peer.predict(scaler.transform(features[tested])) == LABELS[tested])


def test_accuracy_grows_with_photos_where_there_is_something_to_learn() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 150)
    features = (rng.standard_normal((300, 40)) + 0.25 * labels[:, None]).astype(np.float32)
    said: list[tuple[int, int]] = []
    found = measure(features, labels, list(range(300)), 0, lambda done, total: said.append((done, total)))
    accuracy = np.nanmean(found.correct, axis=(0, 2))
    assert accuracy[0] < accuracy[-1] - 0.03
    assert np.isfinite(found.correct).sum(axis=0).tolist() == [[ROUNDS] * 300] * len(found.sizes)
    assert said[-1] == (len(said), len(said))


def test_one_photo_a_class_leaves_nothing_to_choose_by() -> None:
    rng = np.random.default_rng(2)
    labels = np.array([0, 1] * 10)
    features = (rng.standard_normal((20, 4)) + 5 * labels[:, None]).astype(np.float32)
    none = np.array([], np.int64)
    assert correct_of(features, labels, np.array([0, 1]), none, np.arange(2, 20)).mean() > 0.8
