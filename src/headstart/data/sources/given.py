"""Labelled photos that a caller has in memory, as a table on disk that every function reads like any other.

Pictures become files, numbered as they were given: PNG, or the bytes as they were. Table and files are in the cache, in
a folder named by their content, which stays while the process lives; ``keep`` copies it to where it is to last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from headstart.core.cached_folders import RECORD, open_folder
from headstart.core.eviction import FOLDERS
from headstart.core.files import work_folder, write_text
from headstart.core.paths import Place, cache_dir, place, told
from headstart.data.filenames import KIND_SUFFIXES, content_kind
from headstart.data.pictures import picture
from headstart.data.schema import ReadOptions
from headstart.data.sources.in_memory import (
    HINT,
    Rows,
    content_of,
    image_column,
    is_dataset,
    is_frame,
    rows_of,
    text_of,
)
from headstart.data.sources.table import Reader
from headstart.data.sources.table_reading import Table
from headstart.errors import DataError, OptionError, option

if TYPE_CHECKING:

    class Frame(Protocol):
        """A DataFrame of pandas or polars."""

        @property
        def columns(self) -> Any: ...

    class Dataset(Protocol):
        """A data set of Hugging Face."""

        @property
        def features(self) -> Any: ...

    Data = Place | tuple[Any, Any] | Frame | Dataset | Mapping[str, Dataset]
else:
    Data = Annotated[Place, "data"]

TABLE = "photos.jsonl"
IMAGES = "images"
_HOME = "given-"


def named(data: Any, argument: str = "data") -> str:
    """What labelled photos are called: a path or the name of a set as it is, ``photos`` where they are in memory.
    Raises OptionError for anything else.
    """
    if isinstance(data, str | os.PathLike):
        return place(data, argument)
    several = isinstance(data, Mapping) and bool(data) and all(is_dataset(one) for one in data.values())
    if isinstance(data, tuple) or is_frame(data) or is_dataset(data) or several:
        return Path(TABLE).stem
    raise OptionError(f"{told(argument, data)} is no labelled photos.", HINT, option=argument)


def on_disk(data: Any, options: ReadOptions, argument: str = "data") -> tuple[str, ReadOptions]:
    """The place of labelled photos, and the options that read it: of those in memory, the table that is made of them.

    Raises:
        OptionError: what is no labelled photos, or a column that is not there. DataError: nothing in it, or a column
        that has to be named. RunError: a disk that is full.
    """
    if isinstance(data, str | os.PathLike):
        return place(data, argument), options
    if (rows := rows_of(data, argument, options.several)) is None:
        raise OptionError(f"{told(argument, data)} is no labelled photos.", HINT, option=argument)
    home = cache_dir() / FOLDERS
    home.mkdir(parents=True, exist_ok=True)
    with work_folder(home) as work:
        header, digest, chosen = _Writing(rows, work, options, argument).run()
        target = home / f"{_HOME}{digest}"

        def fill(folder: Path) -> list[str]:
            for entry in work.iterdir():
                os.replace(entry, folder / entry.name)
            return header

        open_folder(target, fill)
    return str(target / TABLE), chosen


def is_given(data: str) -> bool:
    """Whether a place is such a table in the cache."""
    path = Path(data)
    return path.name == TABLE and path.parent.name.startswith(_HOME) and path.parent.parent == cache_dir() / FOLDERS


def in_memory(text: str, data: str) -> str:
    """A message about such a table, which the caller has never seen: their own words were `data`."""
    return re.sub(rf"{re.escape(data)}|\b{re.escape(TABLE)}", "`data`", text)


def keep(data: str, folder: Path, record: Callable[[list[Path]], None] = lambda files: None) -> str:
    """The table copied with its images to ``folder``, which need not exist; ``record`` is called with the files that
    will be there, before any is.
    """
    home = Path(data).parent
    files = [Path(here) / name for here, _, names in os.walk(home) for name in names if name != RECORD]
    record([folder / file.relative_to(home) for file in files])
    for file in files:
        target = folder / file.relative_to(home)
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            target.unlink()
        try:
            os.link(file, target)  # of one disk: nothing is copied
        except OSError:
            shutil.copyfile(file, target)
    return os.path.abspath(folder / TABLE)


class _Writing:
    """Writes one table and its images into a folder."""

    def __init__(self, rows: Rows, folder: Path, options: ReadOptions, argument: str) -> None:
        self.rows, self.folder, self.options, self.argument = rows, folder, options, argument
        self.digest = hashlib.blake2b(digest_size=10)

    def run(self) -> tuple[list[str], str, ReadOptions]:
        """(header, a hex digest of all content, the options that read the table)."""
        rows, options, header = iter(self.rows.rows), self.options, self.rows.header
        if (first := next(rows, None)) is None:
            raise DataError(f"{option(self.argument)} has no photos.", HINT)
        column = image_column(self.rows, options.path_column, self.argument)
        if column is not None:
            written = list(self._with_files(chain([first], rows), header.index(column)))
        else:
            written = [list(map(text_of, cells)) for cells in chain([first], rows)]
            column = self._resolved(header, written)
        labels, split = options.label_column or self.rows.labels, options.split_column or self.rows.split
        # Every text as it is: a CSV has delimiters, comments and formulas.
        table = "".join(json.dumps(dict(zip(header, cells, strict=True))) + "\n" for cells in written)
        write_text(self.folder / TABLE, table)
        self.digest.update(table.encode())
        chosen = replace(options, path_column=column, label_column=labels, split_column=split, images=None, suffix=None)
        return header, self.digest.hexdigest(), chosen

    def _with_files(self, rows: Iterator[list[Any]], at: int) -> Iterator[list[str]]:
        """The rows with paths in the column of images: files that are there already stay where they are."""
        for number, cells in enumerate(rows, 1):
            texts = [text_of(cell) if i != at else "" for i, cell in enumerate(cells)]
            content = content_of(cells[at])
            if isinstance(content, str | os.PathLike):
                home = self.options.images or ""
                texts[at] = os.path.abspath(os.path.join(home, place(content, self.argument)))
            elif content is not None:
                texts[at] = self._write(picture(content, number, self.argument), number)
            yield texts

    def _write(self, one: Any, number: int) -> str:
        """Write a picture; returns its path below the folder."""
        try:
            data = one.encoded(1)
        except OSError as error:
            raise DataError(f"{option(self.argument)}: image {number} cannot be read: {error}.") from None
        name = f"{IMAGES}/{number:06d}{KIND_SUFFIXES.get(content_kind(data[:64]), '')}"
        self.digest.update(hashlib.blake2b(data, digest_size=16).digest())
        (self.folder / IMAGES).mkdir(exist_ok=True)
        (self.folder / name).write_bytes(data)
        return name

    def _resolved(self, header: list[str], rows: list[list[str]]) -> str:
        """Make the paths of the table absolute, in place; returns the name of their column."""
        table = Table(Path("the DataFrame"), header, list(enumerate(rows, 1)), "DataFrame", sure=True)
        reader = Reader(table, options=self.options, labelled=False)
        at = reader.columns.path
        for cells in rows:
            if cells[at].strip():
                cells[at] = os.path.abspath(reader.places.find(os.path.expanduser(cells[at])).path)
        return header[at]
