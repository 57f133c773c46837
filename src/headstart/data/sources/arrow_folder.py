"""Folders that ``save_to_disk`` of Hugging Face's datasets wrote: Arrow files, mapped and read in place. The package
datasets is not needed, and nothing of such a folder is run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.core.files import read_json
from headstart.core.text import listed
from headstart.data.schema import ReadOptions, Split
from headstart.data.sources.arrow_columns import Chosen, choose, rows_of
from headstart.data.sources.columns import Row
from headstart.data.sources.parquet_shards import reading
from headstart.data.sources.stores import StoredFile
from headstart.errors import DataError, RunError

STATE, PARTS = "state.json", "dataset_dict.json"
"""Files by which such a folder is known: of one set, and of several parts, each in a folder of its own."""
SUFFIX = ".arrow"


def is_saved_set(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote a folder: other programs write a ``state.json`` too."""
    with suppress(OSError):
        names = os.listdir(folder)
        if STATE in names and any(name.endswith(SUFFIX) for name in names):
            return True
        return PARTS in names and any((folder / name / STATE).is_file() for name in names)
    return False


def files_of_set(files: Sequence[StoredFile]) -> list[StoredFile]:
    """The Arrow files that the ``state.json`` beside them names: others are what the package datasets computed of the
    set (``cache-….arrow``). Raises DataError where one is missing, RunError for a damaged ``state.json``.
    """
    folders: dict[str, dict[str, StoredFile]] = {}
    for file in files:
        folder, _, name = file.name.rpartition("/")
        folders.setdefault(folder, {})[name] = file
    found = []
    for there in (beside for beside in folders.values() if STATE in beside):
        state = Path(there[STATE].path)
        arrows = [name for name in there if name.endswith(SUFFIX) and not name.startswith("cache-")]
        named = list(dict.fromkeys(_named(state))) or arrows
        if missing := [name for name in named if name not in there]:
            raise DataError(f"{state} names files that are not there: {listed(missing)}", "Copy or save the set again.")
        found += [there[name] for name in named]
    return found


def _named(state: Path) -> list[str]:
    try:
        held = read_json(state)
    except RunError as error:
        raise DataError(error.problem, "Copy or save the set again.") from None
    data_files = held.get("_data_files") if isinstance(held, dict) else None
    names = [one.get("filename") for one in data_files if isinstance(one, dict)] if isinstance(data_files, list) else []
    return [name for name in names if isinstance(name, str)]


@dataclass
class ArrowReader:
    """One Arrow file in the stream format, mapped: its images stay on the disk until they are read."""

    file: StoredFile
    options: ReadOptions

    @cached_property
    def batches(self) -> list[Any]:
        """Its record batches, all lengths and offsets of which are checked: a false one would read anything."""
        with reading(self.file.path):
            import pyarrow

            with pyarrow.memory_map(self.file.path) as mapped, pyarrow.ipc.open_stream(mapped) as stream:
                found = list(stream)
            for batch in found:  # before any column is touched: Arrow aborts the process for a false length
                batch.validate(full=True)
        return found

    @cached_property
    def chosen(self) -> Chosen:
        with reading(self.file.path):
            import pyarrow

            with pyarrow.memory_map(self.file.path) as mapped, pyarrow.ipc.open_stream(mapped) as stream:
                return choose(stream.schema, self.options, self.file.path)

    def rows(self, part: Split | None) -> Iterator[Row]:
        """Every photo: ``at`` is its batch and its place in it."""
        first = 0
        for number, batch in enumerate(self.batches):
            at = [(number << 32) | i for i in range(batch.num_rows)]
            with reading(self.file.path):
                yield from rows_of(self._facts(batch), self.chosen, self.options, first, part, at)
            first += batch.num_rows

    def read(self, at: int, size: int) -> bytes:
        """One encoded image. Raises OSError where the row has none."""
        value = self._images(self.batches[at >> 32])[at & 0xFFFFFFFF].as_py()
        if not isinstance(value, bytes):
            raise OSError("the row has no image")
        return value

    def _images(self, batch: Any) -> Any:
        column = batch.column(self.chosen.image)
        return column.field("bytes") if self.chosen.nested else column

    def _facts(self, batch: Any) -> Any:
        """A table without the bytes of the images."""
        import pyarrow

        columns = {name: batch.column(name) for name in self.chosen.of_facts if "." not in name}
        if self.chosen.has_path:
            path = batch.column(self.chosen.image).field("path")
            columns[self.chosen.image] = pyarrow.StructArray.from_arrays([path], ["path"])
        return pyarrow.table(columns or {"": pyarrow.nulls(batch.num_rows)})
