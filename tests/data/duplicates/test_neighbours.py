"""The nearest others of each row, against a comparison of all pairs in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.data.duplicates import neighbours
from headstart.data.duplicates.neighbours import NEAREST, k_means, nearest_pairs


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def with_copies(count: int, copies: int, seed: int = 0) -> np.ndarray:
    """Random rows of length one [count + copies, 32]; the last are the first ones again, a little changed."""
    draw = np.random.default_rng(seed)
    rows = unit(draw.normal(size=(count, 32)))
    return np.concatenate([rows, unit(rows[:copies] + draw.normal(size=(copies, 32)) * 0.03)]).astype(np.float32)


def by_numpy(rows: np.ndarray, least: float, mirrored: np.ndarray | None = None) -> set[tuple[int, int]]:
    alike = rows.astype(float) @ rows.T.astype(float)
    if mirrored is not None:
        alike = np.maximum(alike, rows.astype(float) @ mirrored.T.astype(float))
    np.fill_diagonal(alike, -np.inf)
    near = np.argsort(-alike, axis=1)[:, :NEAREST]
    return {(min(i, int(j)), max(i, int(j))) for i in range(len(rows)) for j in near[i] if alike[i, j] >= least}


@pytest.mark.parametrize("least", [0.9, 0.4, -1.0])
def test_few_rows_are_all_compared(least: float) -> None:
    rows = with_copies(1500, 100)  # more than one chunk
    pairs = nearest_pairs(torch.from_numpy(rows), least)
    assert set(map(tuple, pairs.tolist())) == by_numpy(rows, least)
    assert (pairs == np.unique(pairs, axis=0)).all()
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_the_more_similar_form_counts() -> None:
    rows, other = with_copies(300, 0), with_copies(300, 0, seed=1)
    other[7] = rows[200]
    pairs = nearest_pairs(torch.from_numpy(rows), 0.95, torch.from_numpy(other))
    assert pairs.tolist() == [[7, 200]]
    assert set(map(tuple, pairs.tolist())) == by_numpy(rows, 0.95, other)


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True], ids=["one form", "two forms"])
def test_many_rows_are_compared_within_cells(mirrored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "EXACT", 1000)
    rows = with_copies(6000, 300)
    other = torch.from_numpy(with_copies(6000, 300, seed=1)) if mirrored else None
    compared = 0
    best = neighbours._best

    def counting(
        rows: torch.Tensor, forms: list[torch.Tensor], own: torch.Tensor, members: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal compared
        compared += len(own) * len(members)
        return best(rows, forms, own, members)

    monkeypatch.setattr(neighbours, "_best", counting)
    pairs = nearest_pairs(torch.from_numpy(rows), 0.9, other)
    assert {(i, 6000 + i) for i in range(300)} <= set(map(tuple, pairs.tolist()))
    assert set(map(tuple, pairs.tolist())) <= by_numpy(rows, 0.9, None if other is None else other.numpy())
    assert compared < len(rows) ** 2 * (0.7 if mirrored else 0.35)


def test_all_cells_are_a_comparison_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is a member of two cells is one neighbour; seen twice it would push another out."""
    monkeypatch.setattr(neighbours, "EXACT", 10)
    monkeypatch.setattr(neighbours, "PROBED", 1000)
    rows, other = with_copies(500, 100), with_copies(500, 100, seed=1)
    pairs = nearest_pairs(torch.from_numpy(rows), -1.0, torch.from_numpy(other))
    assert set(map(tuple, pairs.tolist())) == by_numpy(rows, -1.0, other)


@pytest.mark.parametrize("exact", [10, 10_000], ids=["cells", "all"])
def test_rows_may_be_kept_as_bits(exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As signs / 8, they are rows of length one, whose products tell the Hamming distance."""
    monkeypatch.setattr(neighbours, "EXACT", exact)
    bits = np.random.default_rng(0).random((2000, 2, 64)) < 0.5
    bits[1000:1100] = bits[:100]
    bits[1000:1100, 0, :3] ^= True
    rows = (bits * 2.0 - 1).astype(np.float32) / 8
    wanted = nearest_pairs(torch.from_numpy(rows[:, 0]), 0.8, torch.from_numpy(rows[:, 1]))
    kept = torch.from_numpy(bits)
    found = nearest_pairs(kept[:, 0], 0.8, kept[:, 1], form=lambda some: (some.float() * 2 - 1) / 8)
    assert found.tolist() == wanted.tolist()
    assert {(i, 1000 + i) for i in range(100)} <= set(map(tuple, found.tolist()))


def test_centres_have_length_one_and_stay_where_no_row_is() -> None:
    rows = torch.from_numpy(unit(np.eye(4, 8)).astype(np.float32)).repeat(5, 1)
    centres = k_means(rows, 6)
    assert torch.allclose(centres.norm(dim=1), torch.ones(len(centres)))
    assert torch.equal(k_means(rows, 6), centres)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_rows(count: int) -> None:
    assert nearest_pairs(torch.ones(count, 1), 0.5).tolist() == [[0, 1]][: count // 2]
