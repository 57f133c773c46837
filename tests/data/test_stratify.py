"""Drawing: exact where nothing is tied together, nearly so where units are, and never torn."""

from __future__ import annotations

from collections import Counter

import pytest

from headstart.data.stratify import assign, quotas, shuffled, units


@pytest.mark.parametrize(
    ("count", "parts", "expected"),
    [
        (1000, (0.7, 0.15, 0.15), [700, 150, 150]),
        (10, (0.7, 0.15, 0.15), [7, 2, 1]),
        (3, (0.7, 0.15, 0.15), [1, 1, 1]),
        (4, (0.98, 0.01, 0.01), [2, 1, 1]),
        (2, (0.7, 0.15, 0.15), [2, 0, 0]),
        (7, (0.5, 0.0, 0.5), [4, 0, 3]),
        (5, (3.0, 1.0, 1.0), [3, 1, 1]),
        (0, (0.5, 0.5), [0, 0]),
        (5, (0.0, 0.0), [0, 0]),
    ],
)
def test_quotas(count, parts, expected):
    assert quotas(count, parts) == expected


def test_units_join_by_any_key_and_by_way_of_others():
    groups = ["a", None, "a", "b", None, None]
    digests = ["1", "2", "3", "2", "2", "9"]
    assert units(groups, digests) == [0, 1, 0, 1, 1, 5]


def test_shuffled_is_fixed_by_seed_and_salt():
    items = list(range(100))
    assert shuffled(items, 1, "cat") == shuffled(items, 1, "cat")
    assert sorted(shuffled(items, 1, "cat")) == items
    assert len({tuple(shuffled(items, seed, salt)) for seed in (0, 1) for salt in ("cat", "dog")}) == 4


def test_the_draw_is_the_same_on_every_machine():
    """Pinned: a change here changes every user's splits, and the test photos of runs that are compared."""
    assert shuffled(list(range(8)), 0, "cat") == [2, 0, 6, 1, 4, 5, 3, 7]


def test_single_photos_meet_the_quotas_exactly():
    labels = ["cat"] * 100 + ["dog"] * 37
    parts = assign(labels, list(range(137)), (0.7, 0.15, 0.15), seed=3)
    assert Counter(zip(labels, parts, strict=True)) == {
        ("cat", 0): 70, ("cat", 1): 15, ("cat", 2): 15, ("dog", 0): 26, ("dog", 1): 6, ("dog", 2): 5,
    }  # fmt: skip


def test_a_class_is_drawn_alike_whatever_other_classes_there_are():
    alone = assign(["cat"] * 50, list(range(50)), (0.8, 0.2), seed=1)
    assert assign(["cat"] * 50 + ["dog"] * 9, list(range(59)), (0.8, 0.2), seed=1)[:50] == alone


@pytest.mark.parametrize("seed", range(5))
def test_units_are_never_torn_and_shares_stay_near(seed):
    labels = [("cat", "dog")[i % 2] for i in range(300)]
    unit = [i // 6 * 6 if i < 240 else i for i in range(300)]
    parts = assign(labels, unit, (0.7, 0.15, 0.15), seed)
    assert all(len({parts[i] for i in range(300) if unit[i] == u}) == 1 for u in set(unit))
    for label in ("cat", "dog"):
        shares = Counter(p for p, own in zip(parts, labels, strict=True) if own == label)
        assert [abs(shares[p] - q) <= 3 for p, q in enumerate((105, 23, 22))] == [True] * 3


def test_few_large_units_still_reach_every_part():
    labels = ["cat"] * 60 + ["dog"] * 60
    unit = [i // 20 * 20 for i in range(120)]
    parts = assign(labels, unit, (0.7, 0.15, 0.15), seed=0)
    for label in ("cat", "dog"):
        assert {p for p, own in zip(parts, labels, strict=True) if own == label} == {0, 1, 2}
