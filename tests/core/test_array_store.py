"""The row store: what is written comes back, and what is half-written is never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.core import array_store as cache
from headstart.core.array_store import RowStore, limit_bytes
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
    next((tmp_path / "k").glob("*.index")).unlink()
    assert "a" not in RowStore("k", "float32", tmp_path)


def test_a_truncated_shard_is_computed_again(tmp_path: Path) -> None:
    store_of(tmp_path, a=[1, 2, 3])
    rows = next((tmp_path / "k").glob("*.values"))
    rows.write_bytes(rows.read_bytes()[:-4])
    store = RowStore("k", "float32", tmp_path)
    assert "a" not in store
    with store.writing() as writer:
        writer.add("a", np.float32([4, 5, 6]))
    assert store.row("a").tolist() == [4, 5, 6]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and then nothing", b"not an archive"])
def test_a_damaged_index_is_passed_over(tmp_path: Path, damage: bytes) -> None:
    store_of(tmp_path, a=[1])
    next((tmp_path / "k").glob("*.index")).write_bytes(damage)
    assert "a" not in RowStore("k", "float32", tmp_path)


def test_an_index_cut_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    store_of(tmp_path, a=[1])
    index = next((tmp_path / "k").glob("*.index"))
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


def test_the_limit_is_read_in_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE_GB", "0.5")
    assert limit_bytes() == 500_000_000
    monkeypatch.setenv("HEADSTART_CACHE_GB", "much")
    with pytest.raises(RunError, match="'much', not a number"):
        limit_bytes()
