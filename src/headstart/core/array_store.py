"""Content-addressed, memory-mapped arrays on disk, for this and every later run.

A *store* is a folder of immutable shards. A shard is ``<id>.values`` (raw values, one row after another) and
``<id>.index`` (digest, offset, shape and checksum of each row, and a JSON remark; behind a checksum of its own). The
index is renamed into place last, so a shard exists completely or not at all: two processes, or one that is killed,
cannot leave a half-written row. The worst case is that two processes compute the same rows twice.

What was damaged on the disk is never used: an index is checked when it is read, a row when it is first asked for. A
damaged shard is deleted, its rows are computed again, and a warning says so. So nothing waits for the disk (fsync):
what a power cut leaves half-written is found by its checksum.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import math
import os
import struct
import threading
import uuid
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from headstart.core import large_arrays
from headstart.core.open_files import raise_open_files
from headstart.core.paths import cache_dir
from headstart.core.temporary import delete_left, ending
from headstart.errors import RunError

INDEX, VALUES = ".index", ".values"
_ROWS = 32
_IN_SHARD = (1 << _ROWS) - 1
_REMARKS = 64
"""Shards whose remarks are kept as objects."""
_SEAL = 16
"""Bytes of the checksum (blake2b) that an index begins with."""
_DAMAGE = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, MemoryError, RuntimeError),
    *(SyntaxError, struct.error, zlib.error, zipfile.BadZipFile),
)
"""What numpy and zipfile raise for bytes that are no index."""


def limit_bytes() -> int:
    """The size limit of rows and unpacked archives together: ``HEADSTART_CACHE_GB`` (default 20) in bytes."""
    text = os.environ.get("HEADSTART_CACHE_GB", "20")
    try:
        if float(text) >= 0:
            return int(float(text) * 1e9)
    except (ValueError, OverflowError):
        pass
    raise RunError(f"HEADSTART_CACHE_GB is {text!r}, not a number.", "Set it to a size in gigabytes, 20 for example.")


class _Shard:
    """A shard that is mapped: where it is, its values, and of each row the offset, shape, checksum and remark, in
    columns: an object for each of a million rows would take a gigabyte.
    """

    def __init__(self, path: Path, values: np.ndarray, index: _Index) -> None:
        self.path, self.values, self.index = path, values, index
        self.checked = np.zeros(len(index.offsets), bool)

    def row(self, i: int) -> np.ndarray:
        offset, shape = int(self.index.offsets[i]), [n for n in self.index.shapes[i].tolist() if n >= 0]
        return self.values[offset : offset + math.prod(shape)].reshape(shape)

    def is_whole(self, i: int) -> bool:
        """Whether a row is as it was written; it is compared once."""
        if not self.checked[i]:
            if zlib.crc32(self.row(i).data) != self.index.checksums[i]:
                return False
            self.checked[i] = True
        return True


class _Index(NamedTuple):
    """The columns of an index; ``remarks``: the JSON of a list."""

    digests: list[str]
    offsets: np.ndarray
    shapes: np.ndarray
    checksums: np.ndarray
    remarks: bytes


class RowStore:
    """Rows of one kind (one dtype, one way of computing them), found by the digest of what they were computed from."""

    def __init__(self, key: str, dtype: str, root: Path | None = None) -> None:
        self.folder = (root or cache_dir() / "rows") / key
        self.dtype = np.dtype(dtype)
        self._shards: list[_Shard] = []
        self._rows: dict[str, int] = {}  # the number of the shard, and the row in it in the lowest bits
        self._remarks: OrderedDict[int, list[Any]] = OrderedDict()  # of the shards that were asked for last
        self._read: set[str] = set()
        self._damaged: set[Path] = set()
        self._lock = threading.Lock()
        raise_open_files()  # each shard is one
        self.refresh()

    def refresh(self) -> None:
        """Read shards that were added since the last call, by this process or another."""
        for index in sorted(self.folder.glob(f"*{INDEX}")):
            if index.stem not in self._read:
                try:
                    self._add(_read_shard(index, self.dtype), replacing=False)  # what was checked already stays
                except FileNotFoundError:
                    if index.exists():  # else it was evicted meanwhile
                        self._heal(index)
                except OSError:  # not to be read by this process: its rows are computed again
                    pass
                except _DAMAGE:
                    self._heal(index)
                self._read.add(index.stem)

    def _add(self, shard: _Shard, replacing: bool) -> None:
        first = len(self._shards) << _ROWS
        self._shards.append(shard)
        places = range(first, first + len(shard.index.digests))
        if replacing:
            self._rows.update(zip(shard.index.digests, places, strict=True))
        else:
            for digest, place in zip(shard.index.digests, places, strict=True):
                self._rows.setdefault(digest, place)
        shard.index.digests.clear()  # the keys of ``_rows`` are the same texts

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, digest: str) -> bool:
        """Whether there is a row, by the index: its remark can be used, and ``get`` may still find it damaged."""
        return digest in self._rows

    def get(self, digest: str) -> np.ndarray | None:
        """The row of one digest, a read-only view into the mapped file; None where there is none, or it is damaged."""
        place = self._rows.get(digest)
        if place is None:
            return None
        shard, row = self._shards[place >> _ROWS], place & _IN_SHARD
        if shard.is_whole(row):
            return shard.row(row)
        # The shard's other rows stay in use here, each once it has been checked.
        self._rows.pop(digest, None)
        self._heal(shard.path)
        return None

    def _heal(self, index: Path) -> None:
        """Delete a damaged shard; the first is told."""
        with self._lock:
            if not self._damaged:
                words = "Part of the cache was damaged; it was deleted, and is computed again"
                logging.getLogger("headstart").warning(f"{words}: {self.folder}.")
            if index not in self._damaged:
                self._damaged.add(index)
                _unlink(index)
                _unlink(index.with_suffix(VALUES))

    def missing(self, digests: Sequence[str | None]) -> list[int]:
        """The indices of digests that have no row, or a damaged one, the first of each; None is skipped."""
        first = {digest: i for i, digest in reversed(list(enumerate(digests))) if digest is not None}
        return sorted(i for digest, i in first.items() if self.get(digest) is None)

    def row(self, digest: str) -> np.ndarray:
        """As ``get``, for a row that ``missing`` did not name."""
        found = self.get(digest)
        if found is None:
            raise KeyError(digest)
        return found

    def remark(self, digest: str) -> Any:
        """The JSON value that was stored with the row."""
        place = self._rows[digest]
        number = place >> _ROWS
        with self._lock:
            if number not in self._remarks:
                self._remarks[number] = json.loads(self._shards[number].index.remarks.decode())
                while len(self._remarks) > _REMARKS:
                    self._remarks.popitem(last=False)
            self._remarks.move_to_end(number)
            return self._remarks[number][place & _IN_SHARD]

    def gather(self, digests: Sequence[str]) -> np.ndarray:
        """Rows of equal shape as one array [len(digests), ...]."""
        if not digests:
            return np.empty((0,), self.dtype)
        found = large_arrays.empty((len(digests), *self.row(digests[0]).shape), self.dtype)
        for place, digest in enumerate(digests):
            found[place] = self.row(digest)
        return found

    @contextlib.contextmanager
    def writing(self) -> Iterator[ShardWriter]:
        """Collect rows into one new shard, published when the block ends without an error and dropped otherwise.

        The values are renamed first and the index last, each atomically. Raises RunError.
        """
        shard = self.folder / uuid.uuid4().hex
        values, index = (shard.with_name(f"{shard.name}{part}{ending()}") for part in (VALUES, INDEX))
        delete_left(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with values.open("wb") as file:
                writer = ShardWriter(file, self.dtype)
                yield writer
            if writer.rows:
                content, end = _index(writer), shard.with_suffix(INDEX)
                # Mapped before it has its name: then another process may delete it at any time. Windows does not
                # rename what is mapped, nor delete it.
                made = None if os.name == "nt" else _shard_of(content, end, self.dtype, values)
                os.replace(values, shard.with_suffix(VALUES))
                made = made or _shard_of(content, end, self.dtype)
                index.write_bytes(content)
                os.replace(index, shard.with_suffix(INDEX))
                self._add(made, replacing=True)
                self._read.add(shard.name)
        except OSError as error:
            made = None  # Windows does not delete what is mapped
            _unlink(shard.with_suffix(VALUES))
            raise RunError(
                f"The cache could not be written: {error.strerror or error} ({self.folder}).",
                "Free some space, or let HEADSTART_CACHE name a folder on another disk.",
            ) from error
        finally:
            _unlink(values)
            _unlink(index)
        self.refresh()


class _Entry(NamedTuple):
    digest: str
    offset: int
    shape: tuple[int, ...]
    checksum: int
    remark: Any


@dataclass
class ShardWriter:
    """Rows of a shard that is being written."""

    file: BinaryIO
    dtype: np.dtype
    size: int = 0
    rows: list[_Entry] = field(default_factory=list)

    def add(self, digest: str, row: np.ndarray, remark: Any = None) -> None:
        """Append one row (up to four dimensions) under the digest of what it was computed from."""
        row = np.ascontiguousarray(row, dtype=self.dtype)
        self.file.write(row.data)
        checksum = zlib.crc32(row.data)
        self.rows.append(_Entry(digest, self.size, row.shape + (-1,) * (4 - row.ndim), checksum, remark))
        self.size += row.size


def _index(writer: ShardWriter) -> bytes:
    """The index file of the rows that were written."""
    digests, offsets, shapes, checksums, remarks = zip(*writer.rows, strict=True)
    packed = io.BytesIO()
    np.savez(
        packed,
        digests=np.array(digests, dtype="S"),
        offsets=np.array(offsets, dtype=np.int64),
        shapes=np.array(shapes, dtype=np.int32),
        checksums=np.array(checksums, dtype=np.uint32),
        remarks=np.frombuffer(json.dumps(remarks).encode(), dtype=np.uint8),
        size=np.int64(writer.size),
        dtype=np.array(writer.dtype.str),
    )
    return _seal(packed.getvalue()) + packed.getvalue()


def _seal(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SEAL).digest()


def _read_shard(index: Path, dtype: np.dtype) -> _Shard:
    """A shard. Raises OSError, and ``_DAMAGE`` where it is not as it was written."""
    shard = _shard_of(index.read_bytes(), index, dtype)
    with contextlib.suppress(OSError):
        os.utime(index)  # the time of last use decides what is evicted
    return shard


def _shard_of(content: bytes, index: Path, dtype: np.dtype, path: Path | None = None) -> _Shard:
    """The shard of an index, by its content; the values are mapped, those beside it if no path is given."""
    if _seal(content[_SEAL:]) != content[:_SEAL]:
        raise ValueError("an index that is not as it was written")
    with np.load(io.BytesIO(content[_SEAL:]), allow_pickle=False) as saved:
        digests, offsets, shapes, checksums, remarks = (
            saved[name] for name in ("digests", "offsets", "shapes", "checksums", "remarks")
        )
        size, kind = int(saved["size"]), str(saved["dtype"])
    path = path or index.with_suffix(VALUES)
    if kind != dtype.str or path.stat().st_size != size * dtype.itemsize:
        raise ValueError("values of another kind or length")
    lengths = np.where(shapes >= 0, shapes, 1).prod(axis=1, dtype=np.float64)  # of which no product overflows
    count = len(json.loads(remarks.tobytes().decode()))
    if not len(digests) == len(offsets) == len(lengths) == len(checksums) == count:
        raise ValueError("columns of different lengths")
    if ((offsets < 0) | (offsets > size - lengths)).any():
        raise ValueError("a row beyond the values")
    values = np.memmap(path, dtype=dtype, mode="r") if size else np.empty(0, dtype)
    names = [digest.decode() for digest in digests.tolist()]
    return _Shard(index, values, _Index(names, offsets, shapes, checksums, remarks.tobytes()))


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
