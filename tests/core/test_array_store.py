"""The row store: what is written comes back, and what is half-written is never seen."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from headstart.core import array_store as cache
from headstart.core.array_store import STALE_SECONDS, RowStore, limit_bytes, trim
from headstart.errors import RunError


def store_of(root: Path, key: str = "k", **rows: object) -> RowStore:
    store = RowStore(key, "float32", root)
    with store.writing() as writer:
        for digest, row in rows.items():
            writer.add(digest, np.asarray(row, np.float32), {"of": digest})
    return store


def test_rows_of_any_shape_come_back_with_their_remarks(tmp_path: Path) -> None:
    rows = {"a": np.arange(6.0).reshape(2, 3), "b": np.float32([7]), "c": np.arange(24.0).reshape(2, 3, 2, 2)}
    store_of(tmp_path, **rows)
    again = RowStore("k", "float32", tmp_path)
    for digest, row in rows.items():
        assert np.array_equal(again.row(digest), row)
        assert again.row(digest).shape == row.shape
        assert again.remark(digest) == {"of": digest}
    assert "d" not in again


def test_gather_keeps_the_order_asked_for(tmp_path: Path) -> None:
    store = store_of(tmp_path, a=[1, 1], b=[2, 2], c=[3, 3])
    assert store.gather(["c", "a", "c"]).tolist() == [[3, 3], [1, 1], [3, 3]]


def test_keys_are_apart(tmp_path: Path) -> None:
    store_of(tmp_path, "one", a=[1])
    assert "a" not in RowStore("two", "float32", tmp_path)


def test_a_row_is_read_only(tmp_path: Path) -> None:
    row = store_of(tmp_path, a=[1, 2]).row("a")
    with pytest.raises(ValueError, match="read-only"):
        row[0] = 5


def test_an_error_while_writing_leaves_no_row_and_no_file(tmp_path: Path) -> None:
    store = RowStore("k", "float32", tmp_path)
    with pytest.raises(ZeroDivisionError), store.writing() as writer:  # noqa: PT012 - the block is what is tested
        writer.add("a", np.ones(3, np.float32))
        raise ZeroDivisionError
    assert "a" not in store
    assert list((tmp_path / "k").iterdir()) == []


def test_a_kill_between_rows_and_index_is_as_if_nothing_was_written(tmp_path: Path) -> None:
    store_of(tmp_path, a=[1])
    next((tmp_path / "k").glob("*.npz")).unlink()
    assert "a" not in RowStore("k", "float32", tmp_path)


def test_a_truncated_shard_is_computed_again(tmp_path: Path) -> None:
    store_of(tmp_path, a=[1, 2, 3])
    rows = next((tmp_path / "k").glob("*.rows"))
    rows.write_bytes(rows.read_bytes()[:-4])
    store = RowStore("k", "float32", tmp_path)
    assert "a" not in store
    with store.writing() as writer:
        writer.add("a", np.float32([4, 5, 6]))
    assert store.row("a").tolist() == [4, 5, 6]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and then nothing", b"not an archive"])
def test_a_damaged_index_is_passed_over(tmp_path: Path, damage: bytes) -> None:
    store_of(tmp_path, a=[1])
    next((tmp_path / "k").glob("*.npz")).write_bytes(damage)
    assert "a" not in RowStore("k", "float32", tmp_path)


def test_an_index_cut_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    store_of(tmp_path, a=[1])
    index = next((tmp_path / "k").glob("*.npz"))
    whole = index.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 12)):
        index.write_bytes(whole[:length])
        assert "a" not in RowStore("k", "float32", tmp_path)


def test_two_writers_at_once_both_keep_their_rows(tmp_path: Path) -> None:
    first, second = RowStore("k", "float32", tmp_path), RowStore("k", "float32", tmp_path)
    with first.writing() as one, second.writing() as two:
        one.add("a", np.float32([1]))
        two.add("b", np.float32([2]))
        two.add("a", np.float32([1]))
    first.refresh()
    assert first.row("b").tolist() == [2]
    assert RowStore("k", "float32", tmp_path).row("a").tolist() == [1]


def test_nothing_added_writes_nothing(tmp_path: Path) -> None:
    store_of(tmp_path)
    assert list((tmp_path / "k").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = RowStore("k", "float32", tmp_path / "file")
    with pytest.raises(RunError, match="cache could not be written"), store.writing() as writer:
        writer.add("a", np.ones(1, np.float32))


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    store = RowStore("k", "float32", tmp_path)
    with pytest.raises(RunError, match="No space left") as caught, store.writing() as writer:
        writer.add("a", np.ones(1, np.float32))
    assert "HEADSTART_CACHE" in caught.value.hint
    assert list((tmp_path / "k").iterdir()) == []


def aged(store: RowStore, seconds: float) -> None:
    for path in store.folder.iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_trim_deletes_the_least_recently_used_first(tmp_path: Path) -> None:
    old, new = store_of(tmp_path, "old", a=np.ones(1000)), store_of(tmp_path, "new", a=np.ones(1000))
    aged(old, 500)
    aged(new, 100)
    size = sum(p.stat().st_size for p in old.folder.iterdir())
    assert trim(root=tmp_path, limit=size) == size
    assert list(old.folder.iterdir()) == []
    assert len(list(new.folder.iterdir())) == 2


def test_reading_counts_as_use(tmp_path: Path) -> None:
    first, second = store_of(tmp_path, "first", a=np.ones(1000)), store_of(tmp_path, "second", a=np.ones(1000))
    aged(first, 500)
    aged(second, 100)
    RowStore("first", "float32", tmp_path)
    trim(root=tmp_path, limit=6000)
    assert "a" in RowStore("first", "float32", tmp_path)
    assert "a" not in RowStore("second", "float32", tmp_path)


def test_trim_spares_what_is_in_use_and_what_fits(tmp_path: Path) -> None:
    store = store_of(tmp_path, a=np.ones(1000))
    assert trim(root=tmp_path, limit=10**9) == 0
    assert trim(keep=[store.folder], root=tmp_path, limit=0) == 0
    assert "a" in RowStore("k", "float32", tmp_path)


def test_trim_clears_what_killed_processes_left_but_not_what_is_being_written(tmp_path: Path) -> None:
    folder = tmp_path / "k"
    folder.mkdir()
    for name, age in (("dead.tmp", STALE_SECONDS + 9), ("dead.rows", STALE_SECONDS + 9), ("alive.tmp", 5.0)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    trim(root=tmp_path, limit=10**9)
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
    assert trim(root=tmp_path, limit=0) == 0


def test_the_limit_is_read_in_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE_GB", "0.5")
    assert limit_bytes() == 500_000_000
    monkeypatch.setenv("HEADSTART_CACHE_GB", "much")
    with pytest.raises(RunError, match="'much', not a number"):
        limit_bytes()
