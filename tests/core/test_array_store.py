"""The row store: what is written comes back, and what is half-written is never seen."""

from __future__ import annotations

import io
import os
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
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
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


# -- damage --


def files_of(root: Path) -> list[Path]:
    return sorted((root / "k").iterdir())


@pytest.mark.parametrize("suffix", [".index", ".values"])
def test_any_changed_byte_is_noticed_the_shard_deleted_and_one_warning_given(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    for at in range(0, 1500, 37):
        store_of(tmp_path, a=np.arange(400.0), b=[2])
        (path,) = (tmp_path / "k").glob(f"*{suffix}")
        content = bytearray(path.read_bytes())
        content[at % len(content)] ^= 1 << at % 8
        path.write_bytes(content)
        caplog.clear()
        store = RowStore("k", "float32", tmp_path)
        found = [digest for digest in ("a", "b") if not store.missing([digest])]
        assert found != ["a", "b"]
        assert "damaged" in caplog.text
        assert len(caplog.records) == 1
        assert files_of(tmp_path) == []
        for digest in found:  # what is whole serves this process on
            assert np.array_equal(store.row(digest), {"a": np.arange(400.0), "b": [2]}[digest])


def test_a_damaged_row_is_missing_and_raises_where_it_is_taken_all_the_same(tmp_path: Path) -> None:
    store_of(tmp_path, a=[1], b=[2])
    (path,) = (tmp_path / "k").glob("*.values")
    path.write_bytes(np.float32([1, 3]).tobytes())
    store = RowStore("k", "float32", tmp_path)
    assert store.missing(["a", "b", None, "b"]) == [1]
    with pytest.raises(KeyError):
        store.row("b")
    with store.writing() as writer:
        writer.add("b", np.float32([2]))
    assert store.gather(["a", "b"]).tolist() == [[1], [2]]


def forged(index: Path, **changes: object) -> None:
    """An index with other content and a valid checksum: what a bug or another program might leave."""
    content = index.read_bytes()[cache._SEAL :]
    with np.load(io.BytesIO(content)) as saved:
        arrays = {name: saved[name] for name in saved.files} | changes
    packed = io.BytesIO()
    np.savez(packed, **{name: array for name, array in arrays.items() if array is not None})
    index.write_bytes(cache._seal(packed.getvalue()) + packed.getvalue())


@pytest.mark.parametrize(
    "changes",
    [
        {"offsets": np.array([5])}, {"offsets": np.array([-1])}, {"offsets": np.array([2**62])}, {"size": np.int64(9)},
        {"shapes": np.array([[2**30] * 4])}, {"shapes": np.array([3])}, {"digests": np.array([1])}, {"digests": None},
        {"checksums": np.array([], np.uint32)}, {"remarks": np.frombuffer(b"{", np.uint8)}, {"dtype": np.array("<f8")},
        {"offsets": np.array([object()])}, {"remarks": np.array(["x"])}, {"size": np.array([1, 2])},
    ],
)  # fmt: skip
def test_an_index_that_contradicts_the_values_is_damage(tmp_path: Path, changes: dict[str, object]) -> None:
    store_of(tmp_path, a=[1, 2, 3])
    forged(next((tmp_path / "k").glob("*.index")), **changes)
    assert "a" not in RowStore("k", "float32", tmp_path)
    assert files_of(tmp_path) == []


def test_no_pickle_is_loaded_from_a_cache(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "evil"),)

    store_of(tmp_path, a=[1])
    index = next((tmp_path / "k").glob("*.index"))
    forged(index, digests=np.array([Evil()], dtype=object))
    assert "a" not in RowStore("k", "float32", tmp_path)
    assert not (tmp_path / "evil").exists()


def test_another_dtype_is_not_read_as_this_one(tmp_path: Path) -> None:
    store_of(tmp_path, a=[1, 2])
    assert "a" not in RowStore("k", "uint32", tmp_path)


def test_values_that_are_gone_are_damage_and_an_evicted_shard_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store_of(tmp_path, a=[1])
    next((tmp_path / "k").glob("*.values")).unlink()
    assert "a" not in RowStore("k", "float32", tmp_path)
    assert len(caplog.records) == 1
    assert files_of(tmp_path) == []


def test_a_shard_deleted_by_another_process_serves_on_where_it_is_open(tmp_path: Path) -> None:
    reader, other = store_of(tmp_path, a=np.arange(9.0)), RowStore("k", "float32", tmp_path)
    other._heal(files_of(tmp_path)[0])
    other._heal(next(iter(other._damaged)))  # twice: by two threads
    assert reader.row("a").tolist() == list(range(9))
    reader.refresh()
    assert "a" in reader
    assert "a" not in RowStore("k", "float32", tmp_path)


def test_an_index_that_cannot_be_written_leaves_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    store = RowStore("k", "float32", tmp_path)
    with pytest.raises(RunError, match="No space left"), store.writing() as writer:
        writer.add("a", np.ones(1, np.float32))
    assert files_of(tmp_path) == []


@pytest.mark.parametrize("text", ["nan", "inf", "1e400", "-1", ""])
def test_limits_that_are_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HEADSTART_CACHE_GB", text)
    with pytest.raises(RunError, match="not a number"):
        limit_bytes()
