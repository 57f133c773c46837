"""Large arrays lie in a file, and everything that reads them gives the same figures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from headstart.core import large_arrays
from headstart.core.array_store import RowStore
from headstart.core.paths import cache_dir
from headstart.training.linear_probe import fit_probe


def in_a_file(array: np.ndarray) -> bool:
    while array.base is not None and not isinstance(array.base, np.memmap):
        array = array.base  # type: ignore[assignment]
    return isinstance(array.base, np.memmap)


def test_large_arrays_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "IN_MEMORY", 1000)
    assert not in_a_file(large_arrays.empty((10, 10), np.uint8))
    found = large_arrays.empty((10, 200), np.float32)
    assert in_a_file(found)
    assert found.shape == (10, 200)
    assert found.dtype == np.float32
    found[:] = 7
    assert (found == 7).all()
    assert not list(cache_dir().iterdir())


def test_a_full_disk_means_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "IN_MEMORY", 1000)

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    assert not in_a_file(large_arrays.empty((10, 200), np.float32))


def test_a_cache_that_cannot_be_made_means_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(large_arrays, "IN_MEMORY", 1000)
    (tmp_path / "file").touch()
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file" / "cache"))
    assert not in_a_file(large_arrays.empty((10, 200), np.float32))


def test_a_probe_of_large_arrays_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 300)
    rows = (draw.normal(size=(300, 8)) + labels[:, None]).astype(np.float32)
    store, names = RowStore("rows", "float32"), [str(i) for i in range(300)]
    with store.writing() as writer:
        for name, row in zip(names, rows, strict=True):
            writer.add(name, row)

    def fitted() -> list[np.ndarray]:
        read = store.gather(names)
        assert (read == rows).all()
        assert in_a_file(read) == (large_arrays.IN_MEMORY == 1000)
        probe = fit_probe((read[:200], labels[:200]), (read[200:], labels[200:]), 3)
        return [probe.weight.numpy(), probe.bias.numpy()]

    small = fitted()
    monkeypatch.setattr(large_arrays, "IN_MEMORY", 1000)
    assert all(np.array_equal(*pair) for pair in zip(small, fitted(), strict=True))
