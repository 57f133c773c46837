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
"""What numpy raises for an index that is gone, cut short or no index at all."""
STALE_SECONDS = 24 * 3600
"""Age after which a temporary file is taken for the remains of a killed process."""


def limit_bytes() -> int:
    """How large the row stores may grow: ``HEADSTART_CACHE_GB`` (default 20) in bytes."""
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
        self._where: dict[str, tuple[int, int, tuple[int, ...], Any]] = {}
        self._maps: list[np.ndarray] = []
        self._read: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Take in shards that appeared since the last look (this process' own or another's)."""
        for index in sorted(self.folder.glob("*.npz")):
            if index.stem not in self._read:
                with contextlib.suppress(*_UNREADABLE):  # evicted or damaged: its rows are computed again
                    self._read_shard(index)
                self._read.add(index.stem)

    def _read_shard(self, index: Path) -> None:
        rows = index.with_suffix(".rows")
        with np.load(index, allow_pickle=False) as saved:
            digests, offsets, shapes = saved["digests"], saved["offsets"], saved["shapes"]
            remarks = json.loads(bytes(saved["remarks"]).decode())
            size = int(saved["size"])
        if rows.stat().st_size != size * self.dtype.itemsize:
            raise ValueError("a shard of the wrong length")
        values = np.memmap(rows, dtype=self.dtype, mode="r") if size else np.empty(0, self.dtype)
        self._maps.append(values)
        for digest, offset, shape, remark in zip(
            digests.tolist(), offsets.tolist(), shapes.tolist(), remarks, strict=True
        ):
            self._where[digest.decode()] = (len(self._maps) - 1, offset, tuple(n for n in shape if n >= 0), remark)
        with contextlib.suppress(OSError):
            os.utime(index)  # the time of last use decides what is evicted

    def __contains__(self, digest: str) -> bool:
        return digest in self._where

    def missing(self, digests: Sequence[str | None]) -> list[int]:
        """The places of digests that have no row, the first of each; None counts as none."""
        first = {digest: i for i, digest in reversed(list(enumerate(digests))) if digest is not None}
        return sorted(i for digest, i in first.items() if digest not in self)

    def row(self, digest: str) -> np.ndarray:
        """The row of one digest: a read-only view into the mapped file."""
        shard, offset, shape, _ = self._where[digest]
        return self._maps[shard][offset : offset + int(np.prod(shape))].reshape(shape)

    def remark(self, digest: str) -> Any:
        """The JSON value that was stored beside the row."""
        return self._where[digest][3]

    def gather(self, digests: Sequence[str]) -> np.ndarray:
        """Rows of equal shape as one array [len(digests), ...]."""
        return np.stack([self.row(d) for d in digests]) if digests else np.empty((0,), self.dtype)

    @contextlib.contextmanager
    def writing(self) -> Iterator[ShardWriter]:
        """Collect rows into one new shard; it is published when the block ends without an error, and
        dropped otherwise.
        """
        writer: ShardWriter | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            writer = ShardWriter(self.folder, self.dtype)
            yield writer
            writer.publish()
        except OSError as error:
            raise RunError(
                f"The cache could not be written: {error.strerror or error} ({self.folder}).",
                "Free some space, or let HEADSTART_CACHE name a folder on another disk.",
            ) from error
        finally:
            if writer is not None:
                writer.discard()
        self.refresh()


class ShardWriter:
    """Rows on their way into a shard."""

    def __init__(self, folder: Path, dtype: np.dtype) -> None:
        self._name = uuid.uuid4().hex
        self._folder, self._dtype = folder, dtype
        self._temporary = folder / f"{self._name}.tmp"
        self._file: BinaryIO | None = self._temporary.open("wb")
        self._digests: list[str] = []
        self._offsets: list[int] = []
        self._shapes: list[tuple[int, ...]] = []
        self._remarks: list[Any] = []
        self._size = 0

    def add(self, digest: str, row: np.ndarray, remark: Any = None) -> None:
        """Append one row (up to four dimensions) under the digest of what it was computed from."""
        assert self._file is not None
        row = np.ascontiguousarray(row, dtype=self._dtype)
        self._file.write(row.data)
        self._digests.append(digest)
        self._offsets.append(self._size)
        self._shapes.append(row.shape + (-1,) * (4 - row.ndim))
        self._remarks.append(remark)
        self._size += row.size

    def publish(self) -> None:
        """Make the shard visible: rows first, the index last, each by an atomic rename."""
        if self._file is None or not self._digests:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        os.replace(self._temporary, self._folder / f"{self._name}.rows")
        index = self._folder / f"{self._name}.index.tmp"
        with index.open("wb") as out:
            np.savez(
                out,
                digests=np.array(self._digests, dtype="S"),
                offsets=np.array(self._offsets, dtype=np.int64),
                shapes=np.array(self._shapes, dtype=np.int32),
                remarks=np.frombuffer(json.dumps(self._remarks).encode(), dtype=np.uint8),
                size=np.int64(self._size),
            )
        os.replace(index, self._folder / f"{self._name}.npz")

    def discard(self) -> None:
        """Close and remove what was not published; harmless after ``publish``."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        for leftover in (self._temporary, self._folder / f"{self._name}.index.tmp"):
            with contextlib.suppress(OSError):
                leftover.unlink()


def trim(keep: Iterable[Path] = (), root: Path | None = None, limit: int | None = None) -> int:
    """Delete the least recently used shards until all stores together fit the limit; returns the bytes freed.

    Stores in ``keep`` are spared. A shard that another process has mapped stays readable there (POSIX) or cannot be
    removed (Windows).
    """
    base = root or cache_dir() / "rows"
    limit = limit_bytes() if limit is None else limit
    shards = [(_stat(index)[0], index) for index in base.glob("*/*.npz")]
    sizes = {index: _stat(index)[1] + _stat(index.with_suffix(".rows"))[1] for _, index in shards}
    _remove_stale(base)
    spared = {folder.resolve() for folder in keep}
    excess, freed = sum(sizes.values()) - limit, 0
    for _, index in sorted(shards):
        if freed >= excess:
            break
        if index.parent.resolve() not in spared and _unlink(index):
            _unlink(index.with_suffix(".rows"))
            freed += sizes[index]
    return freed


def _remove_stale(base: Path) -> None:
    indexed = {index.with_suffix("") for index in base.glob("*/*.npz")}
    orphans = [rows for rows in base.glob("*/*.rows") if rows.with_suffix("") not in indexed]
    for path in [*base.glob("*/*.tmp"), *orphans]:
        if time.time() - _stat(path)[0] > STALE_SECONDS:
            _unlink(path)


def _stat(path: Path) -> tuple[float, int]:
    """(last use, size); zeros where another process has deleted it since it was listed."""
    try:
        found = path.stat()
    except OSError:
        return 0.0, 0
    return found.st_mtime, found.st_size


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True
