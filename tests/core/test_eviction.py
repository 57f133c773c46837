"""The cache stays below its limit: the least recently used goes first, and nothing that is in use."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from headstart.core.array_store import RowStore
from headstart.core.eviction import trim
from headstart.core.files import STALE_SECONDS


def store_of(cache: Path, key: str = "k", **rows: object) -> RowStore:
    store = RowStore(key, "float32", cache / "rows")
    with store.writing() as writer:
        for digest, row in rows.items():
            writer.add(digest, np.asarray(row, np.float32))
    return store


def aged(store: RowStore, seconds: float) -> None:
    for path in store.folder.iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_trim_deletes_the_least_recently_used_first(tmp_path: Path) -> None:
    old, new = store_of(tmp_path, "old", a=np.ones(1000)), store_of(tmp_path, "new", a=np.ones(1000))
    aged(old, 500)
    aged(new, 100)
    size = sum(p.stat().st_size for p in old.folder.iterdir())
    assert trim(cache=tmp_path, limit=size) == size
    assert list(old.folder.iterdir()) == []
    assert len(list(new.folder.iterdir())) == 2


def test_reading_counts_as_use(tmp_path: Path) -> None:
    first, second = store_of(tmp_path, "first", a=np.ones(1000)), store_of(tmp_path, "second", a=np.ones(1000))
    aged(first, 500)
    aged(second, 100)
    RowStore("first", "float32", tmp_path / "rows")
    trim(cache=tmp_path, limit=6000)
    assert "a" in RowStore("first", "float32", tmp_path / "rows")
    assert "a" not in RowStore("second", "float32", tmp_path / "rows")


def test_trim_spares_what_is_in_use_and_what_fits(tmp_path: Path) -> None:
    store = store_of(tmp_path, a=np.ones(1000))
    assert trim(cache=tmp_path, limit=10**9) == 0
    assert trim(keep=[store.folder], cache=tmp_path, limit=0) == 0
    assert "a" in RowStore("k", "float32", tmp_path / "rows")


def test_trim_clears_what_killed_processes_left_but_not_what_is_being_written(tmp_path: Path) -> None:
    folder = tmp_path / "rows" / "k"
    folder.mkdir(parents=True)
    for name, age in (("dead.tmp", STALE_SECONDS + 9), ("gone.values", STALE_SECONDS + 9), ("alive.tmp", 5.0)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    trim(cache=tmp_path, limit=10**9)
    assert [p.name for p in folder.iterdir()] == ["alive.tmp"]


def test_trim_bears_a_shard_that_another_process_deletes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_of(tmp_path, a=[1])
    glob = Path.glob

    def and_gone(self: Path, pattern: str) -> list[Path]:
        found = list(glob(self, pattern))
        for path in found:
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "glob", and_gone)
    assert trim(cache=tmp_path, limit=0) == 0
