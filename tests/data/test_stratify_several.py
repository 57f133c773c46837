"""Splits of photos with any number of labels."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.data.stratify_several import assign_several

PARTS = [0.7, 0.15, 0.15]


def drawn(photos: int, seed: int, shares: tuple[float, ...] = (0.5, 0.2, 0.08, 0.04)) -> list[tuple[str, ...]]:
    rng = np.random.default_rng(seed)
    return [tuple("abcd"[c] for c, share in enumerate(shares) if rng.random() < share) for _ in range(photos)]


def per_part(labels: list[tuple[str, ...]], found: list[int]) -> np.ndarray:
    """Photos of each label in each part."""
    return np.array(
        [[sum(c in own for own, at in zip(labels, found, strict=True) if at == p) for p in range(3)] for c in "abcd"]
    )


@pytest.mark.parametrize("seed", range(5))
def test_each_label_and_all_photos_are_divided_in_proportion(seed: int) -> None:
    labels = drawn(400, seed)
    found = assign_several(labels, list(range(400)), PARTS, seed)
    assert np.bincount(found) == pytest.approx([280, 60, 60], abs=3)
    counts = per_part(labels, found)
    wanted = counts.sum(1, keepdims=True) * PARTS
    assert np.abs(counts - wanted).max() <= 3
    assert (counts > 0).all()


def test_the_draw_depends_on_the_seed_alone() -> None:
    labels, units = drawn(100, 1), list(range(100))
    first = assign_several(labels, units, PARTS, 0)
    assert assign_several(labels, units, PARTS, 0) == first
    assert assign_several(labels, units, PARTS, 1) != first


@pytest.mark.parametrize("seed", range(5))
def test_units_stay_whole(seed: int) -> None:
    labels = drawn(300, seed)
    unit = [i // 3 for i in range(300)]
    found = assign_several(labels, unit, PARTS, seed)
    assert all(len({found[i] for i in range(u, u + 3)}) == 1 for u in range(0, 300, 3))
    assert np.bincount(found, minlength=3) == pytest.approx([210, 45, 45], abs=9)


@pytest.mark.parametrize("seed", range(20))
def test_a_label_with_three_photos_is_in_each_of_three_parts(seed: int) -> None:
    labels = [("a", "b"), ("b",), ("a", "b"), ("a",), *[("c",)] * 20, *[()] * 10]
    found = assign_several(labels, list(range(len(labels))), PARTS, seed)
    for label in "abc":
        assert {at for own, at in zip(labels, found, strict=True) if label in own} == {0, 1, 2}


def test_a_part_of_nothing_gets_nothing() -> None:
    labels = drawn(50, 2)
    assert set(assign_several(labels, list(range(50)), [0.8, 0.2, 0.0], 0)) == {0, 1}
