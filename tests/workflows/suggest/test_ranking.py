"""Orders of the pool: against plain loops, and where the right answer is plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.workflows.suggest import ranking
from headstart.workflows.suggest.ranking import METHODS, Situation, margins, rank


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def situation(rng: np.random.Generator, labelled: int = 5, pool: int = 40, dim: int = 6, classes: int = 3) -> Situation:
    def some(n: int) -> np.ndarray:
        return rng.dirichlet(np.ones(classes), n)

    x = rng.normal(size=(labelled + pool, dim)).astype(np.float32)
    return Situation(x[:labelled], x[labelled:], some(labelled), some(pool))


def test_coverage_is_that_of_a_plain_loop(rng: np.random.Generator) -> None:
    there = situation(rng)
    mean = np.concatenate([there.labelled, there.pool]).mean(0).astype(np.float64)

    def unit(row: np.ndarray) -> np.ndarray:
        return np.asarray((row - mean) / np.linalg.norm(row - mean))

    pool, known = [unit(row) for row in there.pool], [unit(row) for row in there.labelled]
    nearest = [min(float(np.square(a - b).sum()) for b in known) for a in pool]
    width = 0.5 * float(np.median(nearest))
    two = [sorted(p)[-2:] for p in there.pool_sure]

    def covered(chosen: list[int]) -> float:
        of = [*known, *(pool[i] for i in chosen)]
        return sum(
            (1 - high + low) * max(float(np.exp(-np.square(a - b).sum() / width)) for b in of)
            for a, (low, high) in zip(pool, two, strict=True)
        )

    chosen: list[int] = []
    for _ in range(8):
        chosen.append(max((i for i in range(40) if i not in chosen), key=lambda i: covered([*chosen, i])))
    assert rank(there, 8).tolist() == chosen


def test_coverage_takes_one_of_each_kind_before_a_second(rng: np.random.Generator) -> None:
    centres = 10 * np.eye(4, 8)
    kinds = np.repeat(np.arange(4), 10)
    x = (centres[kinds] + 0.1 * rng.normal(size=(40, 8))).astype(np.float32)
    sure = np.where(kinds[:, None] == 3, [0.99, 0.01], [0.6, 0.4])  # the last kind is known, though not labelled
    there = Situation((centres[:1] * 0.9).astype(np.float32), x, np.array([[0.99, 0.01]]), sure)
    assert set(kinds[rank(there, 2)]) == {1, 2}  # kind 0 is labelled


def test_the_margin_orders_by_the_gap_of_the_first_two() -> None:
    sure = np.array([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04], [0.4, 0.35, 0.25], [0.34, 0.33, 0.33]])
    assert margins(sure) == pytest.approx([0.2, 0.84, 0.05, 0.01])
    there = Situation(np.zeros((1, 2)), np.zeros((4, 2)), sure[:1], sure)
    assert rank(there, 3, "margin").tolist() == [3, 2, 0]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_lists_each_photo_once(method: ranking.Method, rng: np.random.Generator) -> None:
    there = situation(rng)
    assert sorted(rank(there, 99, method).tolist()) == list(range(40))
    same = Situation(
        there.labelled[:1], np.repeat(there.labelled[:1], 6, 0), there.labelled_sure[:1], there.pool_sure[:6]
    )
    assert sorted(rank(same, 6, method).tolist()) == list(range(6))  # nothing is left to cover


def test_of_a_large_pool_a_part_is_looked_at(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    there = situation(rng, pool=60)
    monkeypatch.setattr(ranking, "MOST", 10)
    assert len(set(rank(there, 8).tolist())) == 8
    assert len(set(rank(there, 50).tolist())) == 50
    assert rank(there, 8, seed=1).tolist() == rank(there, 8, seed=1).tolist() != rank(there, 8, seed=2).tolist()
