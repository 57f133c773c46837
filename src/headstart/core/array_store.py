"""Content-addressed, memory-mapped arrays on disk, for this and every later run.

A *store* is a folder of immutable shards. A shard is ``<id>.rows`` (raw values, one row after another) and ``<id>.npz``
(digest, offset and shape of each row, and a JSON remark). The index is renamed into place last, so a shard exists
completely or not at all: two processes, or one that is killed, cannot leave a half-written row. The worst case is that
two processes compute the same rows twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from headstart.core.paths import cache_dir
from headstart.errors import RunError

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
"""What numpy raises for an index that is missing, truncated or not an index at all."""
STALE_SECONDS = 24 * 3600
"""Age above which a temporary file is taken to be left by a killed process."""


def limit_bytes() -> int:
    """The size limit of all row stores together: ``HEADSTART_CACHE_GB`` (default 20) in bytes."""
    text = os.environ.get("HEADSTART_CACHE_GB", "20")
    try:
        return int(float(text) * 1e9)
    except ValueError:
        raise RunError(
            f"HEADSTART_CACHE_GB is {text!r}, not a number.", "Set it to a size in gigabytes, 20 for example."
        ) from None


class RowStore:
    """Rows of one kind (one dtype, one way of computing them), found by the digest of what they were computed from."""

    def __init__(self, key: str, dtype: str, root: Path | None = None) -> None:
        self.folder = (root or cache_dir() / "rows") / key
        self.dtype = np.dtype(dtype)
        self._where: dict[str, tuple[np.ndarray, int, tuple[int, ...], Any]] = {}  # shard, offset, shape, remark
        self._read: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Read shards that were added since the last call, by this process or another."""
        for index in sorted(self.folder.glob("*.npz")):
            if index.stem not in self._read:
                with contextlib.suppress(*_UNREADABLE):  # evicted or damaged: its rows are computed again
                    self._read_shard(index)
                self._read.add(index.stem)

    def _read_shard(self, index: Path) -> None:
        rows = index.with_suffix(".rows")
        with np.load(index, allow_pickle=False) as saved:
            digests, offsets, shapes = (saved[name].tolist() for name in ("digests", "offsets", "shapes"))
            remarks = json.loads(bytes(saved["remarks"]).decode())
            size = int(saved["size"])
        if rows.stat().st_size != size * self.dtype.itemsize:
            raise ValueError("a shard of the wrong length")
        values = np.memmap(rows, dtype=self.dtype, mode="r") if size else np.empty(0, self.dtype)
        for digest, offset, shape, remark in zip(digests, offsets, shapes, remarks, strict=True):
            self._where[digest.decode()] = values, offset, tuple(n for n in shape if n >= 0), remark
        with contextlib.suppress(OSError):
            os.utime(index)  # the time of last use decides what is evicted

    def __contains__(self, digest: str) -> bool:
        return digest in self._where

    def missing(self, digests: Sequence[str | None]) -> list[int]:
        """The indices of digests that have no row, the first of each; None is skipped."""
        first = {digest: i for i, digest in reversed(list(enumerate(digests))) if digest is not None}
        return sorted(i for digest, i in first.items() if digest not in self)

    def row(self, digest: str) -> np.ndarray:
        """The row of one digest: a read-only view into the mapped file."""
        values, offset, shape, _ = self._where[digest]
        return values[offset : offset + int(np.prod(shape))].reshape(shape)

    def remark(self, digest: str) -> Any:
        """The JSON value that was stored with the row."""
        return self._where[digest][3]

    def gather(self, digests: Sequence[str]) -> np.ndarray:
        """Rows of equal shape as one array [len(digests), ...]."""
        return np.stack([self.row(d) for d in digests]) if digests else np.empty((0,), self.dtype)

    @contextlib.contextmanager
    def writing(self) -> Iterator[ShardWriter]:
        """Collect rows into one new shard, published when the block ends without an error and dropped otherwise.

        The rows are renamed first and the index last, each atomically. Raises RunError.
        """
        shard = self.folder / uuid.uuid4().hex
        rows, index = shard.with_suffix(".tmp"), shard.with_suffix(".index.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with rows.open("wb") as file:
                writer = ShardWriter(file, self.dtype)
                yield writer
                file.flush()
                os.fsync(file.fileno())
            if writer.rows:
                digests, offsets, shapes, remarks = zip(*writer.rows, strict=True)
                os.replace(rows, shard.with_suffix(".rows"))
                with index.open("wb") as out:
                    np.savez(
                        out,
                        digests=np.array(digests, dtype="S"),
                        offsets=np.array(offsets, dtype=np.int64),
                        shapes=np.array(shapes, dtype=np.int32),
                        remarks=np.frombuffer(json.dumps(remarks).encode(), dtype=np.uint8),
                        size=np.int64(writer.size),
                    )
                os.replace(index, shard.with_suffix(".npz"))
        except OSError as error:
            raise RunError(
                f"The cache could not be written: {error.strerror or error} ({self.folder}).",
                "Free some space, or let HEADSTART_CACHE name a folder on another disk.",
            ) from error
        finally:
            _unlink(rows)
            _unlink(index)
        self.refresh()


class ShardWriter:
    """Rows of a shard that is being written."""

    def __init__(self, file: BinaryIO, dtype: np.dtype) -> None:
        self._file, self._dtype, self.size = file, dtype, 0
        self.rows: list[tuple[str, int, tuple[int, ...], Any]] = []  # digest, offset, shape, remark

    def add(self, digest: str, row: np.ndarray, remark: Any = None) -> None:
        """Append one row (up to four dimensions) under the digest of what it was computed from."""
        row = np.ascontiguousarray(row, dtype=self._dtype)
        self._file.write(row.data)
        self.rows.append((digest, self.size, row.shape + (-1,) * (4 - row.ndim), remark))
        self.size += row.size


def trim(keep: Iterable[Path] = (), root: Path | None = None, limit: int | None = None) -> int:
    """Delete the least recently used shards until all stores together fit the limit; returns the bytes freed.

    Stores in ``keep`` are spared. A shard that another process has mapped stays readable there (POSIX) or cannot be
    removed (Windows).
    """
    base = root or cache_dir() / "rows"
    limit = limit_bytes() if limit is None else limit
    shards = [(_stat(index)[0], index) for index in base.glob("*/*.npz")]
    sizes = {index: _stat(index)[1] + _stat(index.with_suffix(".rows"))[1] for _, index in shards}
    indexed = {index.with_suffix(".rows") for index in sizes}
    for path in [*base.glob("*/*.tmp"), *(rows for rows in base.glob("*/*.rows") if rows not in indexed)]:
        if time.time() - _stat(path)[0] > STALE_SECONDS:
            _unlink(path)
    spared = {folder.resolve() for folder in keep}
    excess, freed = sum(sizes.values()) - limit, 0
    for _, index in sorted(shards):
        if freed >= excess:
            break
        if index.parent.resolve() not in spared and _unlink(index):
            _unlink(index.with_suffix(".rows"))
            freed += sizes[index]
    return freed


def _stat(path: Path) -> tuple[float, int]:
    """(last use, size); zeros where another process has deleted it since it was listed."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_mtime, found.st_size
    return 0.0, 0


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True
