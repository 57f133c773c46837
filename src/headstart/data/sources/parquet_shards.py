"""Parquet files that hold encoded images, read in place: labels and names from their own columns, and images by row
groups, of which the last ones used stay in memory.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from headstart.core.text import brief
from headstart.data.schema import ReadOptions, Split
from headstart.data.sources.arrow_columns import choose, holds_images, rows_of
from headstart.data.sources.columns import Row
from headstart.data.sources.stores import Store, StoredFile
from headstart.errors import DataError, DownloadError

LARGEST_GROUP = 2 << 30
"""Bytes of the images of one row group, which is read at once; writers of images make groups of 10 to 100 MB."""
KEPT = 256 << 20
"""Bytes of row groups that stay in memory."""
_SHIFT = 32


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turns what pyarrow raises for files that it cannot read into a DataError."""
    try:
        yield
    except (DataError, DownloadError):
        raise
    except ImportError as error:
        raise DataError(f"{where} needs pyarrow", 'pip install "headstart[parquet]"') from error
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, MemoryError) as error:
        raise DataError(f"{where} cannot be read ({brief(error)[:160]})", "Download or write it again.") from error


def has_images(store: Store, path: str, size: int) -> bool:
    """Whether a Parquet file holds encoded images. Raises DataError where it cannot be read."""
    with reading(path), store.open(path, size) as file:
        from pyarrow import parquet

        return holds_images(parquet.ParquetFile(file))


def index(file: StoredFile, store: Store, options: ReadOptions, part: Split | None) -> Iterator[Row]:
    """Every photo of a file: ``at`` is its row group and its place in it; ``part``: see ``rows_of``. Raises DataError,
    OptionError.
    """
    with reading(file.path), store.open(file.path, file.size) as stream:
        from pyarrow import parquet

        found = parquet.ParquetFile(stream)
        chosen, first = choose(found.schema_arrow, options, file.path), 0
        for group in range(found.num_row_groups):
            count = found.metadata.row_group(group).num_rows
            table = found.read_row_group(group, columns=chosen.of_facts)
            at = [(group << _SHIFT) | i for i in range(count)]
            yield from rows_of(_with_rows(table, count), chosen, options, first, part, at)
            first += count


def _with_rows(table: Any, count: int) -> Any:
    """A table that has as many rows as its row group, also where no column was asked for."""
    if table.num_columns:
        return table
    import pyarrow

    return pyarrow.table({"": pyarrow.nulls(count)})


@dataclass
class RowGroups:
    """The images of row groups that were read last, of all files of some data."""

    store: Store
    options: ReadOptions
    _kept: OrderedDict[tuple[str, int], Any] = field(default_factory=OrderedDict, repr=False)
    _files: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def image(self, file: StoredFile, group: int, row: int) -> bytes:
        """One encoded image. Raises DataError, and OSError where the row has none."""
        with self._lock:  # one at a time: pyarrow decodes with threads of its own
            column = self._kept.get((file.path, group))
            if column is None:
                column = self._kept[file.path, group] = self._read(file, group)
                while len(self._kept) > 2 and sum(one.nbytes for one in self._kept.values()) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end((file.path, group))
        value = column[row].as_py() if row < len(column) else None
        if not isinstance(value, bytes):
            raise OSError("the row holds no image (a path alone, or nothing)")
        return value

    def _read(self, file: StoredFile, group: int) -> Any:
        with reading(file.path):
            from pyarrow import parquet

            if file.path not in self._files:
                while len(self._files) > 32:
                    self._files.pop(next(iter(self._files))).close()
                self._files[file.path] = parquet.ParquetFile(self.store.open(file.path, file.size))
            found = self._files[file.path]
            chosen = choose(found.schema_arrow, self.options, file.path)
            size = found.metadata.row_group(group).total_byte_size
            if size > LARGEST_GROUP:
                raise DataError(
                    f"{file.path}: row group {group} has {size / 1e9:.1f} GB, and one is read at once",
                    "Write it with fewer rows in a group (100 photos are usual).",
                )
            column = found.read_row_group(group, columns=[chosen.of_bytes]).column(chosen.image)
            return column.combine_chunks().field("bytes") if chosen.nested else column


@dataclass(frozen=True)
class ParquetReader:
    """Reads photos of one Parquet file."""

    groups: RowGroups
    file: StoredFile

    def read(self, at: int, size: int) -> bytes:
        return self.groups.image(self.file, at >> _SHIFT, at & ((1 << _SHIFT) - 1))
