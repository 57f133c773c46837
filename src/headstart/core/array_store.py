"""Content-addressed, memory-mapped arrays on disk, for this and every later run.

A *store* is a folder of immutable shards. A shard is ``<id>.values`` (raw values, one row after another) and
``<id>.index`` (digest, offset, shape and checksum of each row, and a JSON remark; behind a checksum of its own). The
index is renamed into place last, so a shard exists completely or not at all: two processes, or one that is killed,
cannot leave a half-written row. The worst case is that two processes compute the same rows twice.

What was damaged on the disk is never used: an index is checked when it is read, a row when it is first asked for. A
damaged shard is deleted, its rows are computed again, and a warning says so.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from headstart.core.paths import cache_dir
from headstart.core.temporary import delete_left, ending
from headstart.errors import RunError

INDEX, VALUES = ".index", ".values"
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


@dataclass
class _Shard:
    """A shard that is mapped: where it is, and its values."""

    path: Path
    values: np.ndarray


@dataclass(slots=True)
class _Row:
    """Where a row is, and its remark; ``checksum``: None once the row has been compared with it."""

    shard: _Shard
    offset: int
    shape: tuple[int, ...]
    remark: Any
    checksum: int | None

    @property
    def values(self) -> np.ndarray:
        return self.shard.values[self.offset : self.offset + math.prod(self.shape)].reshape(self.shape)

    def is_whole(self) -> bool:
        """Whether the row is as it was written."""
        if self.checksum is not None:
            if zlib.crc32(self.values.data) != self.checksum:
                return False
            self.checksum = None
        return True


class RowStore:
    """Rows of one kind (one dtype, one way of computing them), found by the digest of what they were computed from."""

    def __init__(self, key: str, dtype: str, root: Path | None = None) -> None:
        self.folder = (root or cache_dir() / "rows") / key
        self.dtype = np.dtype(dtype)
        self._rows: dict[str, _Row] = {}
        self._read: set[str] = set()
        self._damaged: set[Path] = set()
        self._lock = threading.Lock()
        self.refresh()

    def refresh(self) -> None:
        """Read shards that were added since the last call, by this process or another."""
        for index in sorted(self.folder.glob(f"*{INDEX}")):
            if index.stem not in self._read:
                try:
                    # What was checked already is not replaced.
                    self._rows = _read_shard(index, self.dtype) | self._rows
                except FileNotFoundError:
                    if index.exists():  # else it was evicted meanwhile
                        self._heal(index)
                except OSError:  # not to be read by this process: its rows are computed again
                    pass
                except _DAMAGE:
                    self._heal(index)
                self._read.add(index.stem)

    def __contains__(self, digest: str) -> bool:
        """Whether there is a row, by the index: its remark can be used, and ``get`` may still find it damaged."""
        return digest in self._rows

    def get(self, digest: str) -> np.ndarray | None:
        """The row of one digest, a read-only view into the mapped file; None where there is none, or it is damaged."""
        row = self._rows.get(digest)
        if row is None or row.is_whole():
            return None if row is None else row.values
        # The shard's other rows stay in use here, each once it has been checked.
        self._rows.pop(digest, None)
        self._heal(row.shard.path)
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
        return self._rows[digest].remark

    def gather(self, digests: Sequence[str]) -> np.ndarray:
        """Rows of equal shape as one array [len(digests), ...]."""
        return np.stack([self.row(d) for d in digests]) if digests else np.empty((0,), self.dtype)

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
                file.flush()
                os.fsync(file.fileno())
            if writer.rows:
                content, end = _index(writer), shard.with_suffix(INDEX)
                # Mapped before it has its name: then another process may delete it at any time. Windows does not
                # rename what is mapped, nor delete it.
                rows = {} if os.name == "nt" else _rows_of(content, end, self.dtype, values)
                os.replace(values, shard.with_suffix(VALUES))
                rows = rows or _rows_of(content, end, self.dtype)
                index.write_bytes(content)
                os.replace(index, shard.with_suffix(INDEX))
                self._rows |= rows
                self._read.add(shard.name)
        except OSError as error:
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


def _read_shard(index: Path, dtype: np.dtype) -> dict[str, _Row]:
    """The rows of a shard. Raises OSError, and ``_DAMAGE`` where it is not as it was written."""
    rows = _rows_of(index.read_bytes(), index, dtype)
    with contextlib.suppress(OSError):
        os.utime(index)  # the time of last use decides what is evicted
    return rows


def _rows_of(content: bytes, index: Path, dtype: np.dtype, path: Path | None = None) -> dict[str, _Row]:
    """The rows that an index names, by its content; the values are mapped, those beside it if no path is given."""
    if _seal(content[_SEAL:]) != content[:_SEAL]:
        raise ValueError("an index that is not as it was written")
    with np.load(io.BytesIO(content[_SEAL:]), allow_pickle=False) as saved:
        digests, offsets, shapes, checksums = (
            saved[name].tolist() for name in ("digests", "offsets", "shapes", "checksums")
        )
        remarks = json.loads(bytes(saved["remarks"]).decode())
        size, kind = int(saved["size"]), str(saved["dtype"])
    path = path or index.with_suffix(VALUES)
    if kind != dtype.str or path.stat().st_size != size * dtype.itemsize:
        raise ValueError("values of another kind or length")
    values = np.memmap(path, dtype=dtype, mode="r") if size else np.empty(0, dtype)
    shard, rows = _Shard(index, values), {}
    for digest, offset, shape, checksum, remark in zip(digests, offsets, shapes, checksums, remarks, strict=True):
        shape = tuple(n for n in shape if n >= 0)
        if not 0 <= offset <= size - math.prod(shape):
            raise ValueError("a row beyond the values")
        rows[digest.decode()] = _Row(shard, offset, shape, remark, checksum)
    return rows


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
