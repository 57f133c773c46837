"""The tables in a folder: which of them label its photos, alone or as one table per split."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.core.text import listed
from headstart.data.filenames import split_of
from headstart.data.schema import Manifest, Photo, Split
from headstart.data.sources.base import TABLE_OF_LABELS
from headstart.data.sources.table import Reader, split_of_table
from headstart.data.sources.table_reading import LIST_SUFFIXES, OFFICE, SUFFIXES
from headstart.data.sources.tree import Folders
from headstart.errors import DataError, OptionError

_SUBMISSION = re.compile(r"sample[-_ ]?sub|^submission|[-_ ]submission", re.IGNORECASE)
MAX_ASIDE = 64 << 20
"""Bytes of tables that are read although folders give the labels."""
_DOCUMENTED = "metadata"
"""The name of the table that labels the photos beside it in the hub's ``imagefolder`` layout."""


@dataclass(frozen=True)
class Candidate:
    """One table: ``split`` by its folder or its name; its manifest, or why it has none."""

    path: Path
    split: Split | None
    found: Manifest | None = None
    problem: DataError | OptionError | None = None

    @property
    def is_list(self) -> bool:
        """A text file, a table only where its rows name photos."""
        return self.path.suffix.lower() in LIST_SUFFIXES


class Tables:
    """The tables in a folder, in its split folders, or else in its other folders."""

    def __init__(self, folders: Folders, root: Path, within: Path | None) -> None:
        self.folders, self.root, self.within, self.options = folders, root, within, folders.options
        self._inner = [root / name for name in folders.contents(str(root)).folders]
        self.paths: list[tuple[Path, Split | None]] = [(path, None) for path in self._tables_in(root)]
        for folder in self._inner:
            if split := split_of(folder.name):
                self.paths += [(path, split) for path in self._tables_in(folder)]
        self.submissions: list[Path] = []
        self._read: list[Candidate] | None = None
        self._sort_out()

    def _tables_in(self, folder: Path) -> list[Path]:
        """Without those that are to be ignored, and those that headstart wrote."""
        names = self.folders.contents(str(folder)).others
        return [folder / name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES]

    def _sort_out(self) -> None:
        """Forms for answers are no tables of labels, nor are the lists of what ``check`` left out."""
        self.paths = [(path, split) for path, split in self.paths if not _is_left_out(path)]
        self.submissions += [path for path, _ in self.paths if _SUBMISSION.search(path.stem)]
        self.paths = [(path, split) for path, split in self.paths if path not in self.submissions]

    def _go_deeper(self) -> None:
        """Without any table here, those in the other folders count."""
        if not self.paths:
            self.paths = [(path, None) for folder in self._inner for path in self._tables_in(folder)]
            self._read = None
            self._sort_out()

    def first(self) -> Manifest | None:
        """What the tables say where that goes before folders: options name columns, or the table is called metadata.
        Raises DataError where options name columns and no table can be read.
        """
        if not (given := self.options.of_tables):
            return self._documented()
        self._go_deeper()
        if found := self.manifest():
            return found
        if self.options.several and not self.problem():
            problem = f"several labels per photo are read from a table, and {self.root} has none that can be read"
            raise DataError(problem, TABLE_OF_LABELS, option="labels")
        raise self.problem() or DataError(
            f"`{given[0]}` is about a table, and {self.root} has none that can be read",
            "Leave it out, or name the table.",
        )

    @property
    def candidates(self) -> list[Candidate]:
        """All tables, read. Raises OptionError for an option that none of them can follow."""
        if self._read is None:
            self._read = [self._candidate(path, split) for path, split in self.paths]
            wrong = [c.problem for c in self._read if isinstance(c.problem, OptionError)]
            if wrong and not any(c.found for c in self._read):
                raise wrong[0]
        return self._read

    def _candidate(self, path: Path, split: Split | None) -> Candidate:
        split = split or split_of_table(path.stem)
        try:
            reader = Reader(path, self.within, self.options, self.root, split)
            return Candidate(path, split, reader.manifest())
        except (DataError, OptionError) as error:
            return Candidate(path, split, problem=error)

    def _documented(self) -> Manifest | None:
        """What the tables called ``metadata`` say, which is more than names of folders and files do."""
        if not any(path.stem.casefold() == _DOCUMENTED for path, _ in self.paths):
            return None
        own = [c for c in self.candidates if c.path.stem.casefold() == _DOCUMENTED]
        return self._together(own) if own and all(c.found for c in own) else None

    def manifest(self) -> Manifest | None:
        """What the tables say together; None where none of them lists photos. Raises DataError for several tables that
        may be meant.
        """
        self._go_deeper()
        able = [c for c in self.candidates if c.found]
        return self._together(able) if able else None

    def _together(self, able: Sequence[Candidate]) -> Manifest:
        splits = [c for c in able if c.split]
        each = len({(c.split, c.path.parent) for c in splits}) == len(splits) > 1
        if each and (joined := self._joined(splits, [c for c in able if not c.split])):
            return joined
        if len(able) > 1:
            names = ", ".join(self._name(c.path) for c in able)
            raise DataError(f"{self.root} has several tables: {names}", "Name the one that you mean as the data.")
        (only,) = able
        assert only.found
        found = only.found
        if only.split and {p.split for p in found.photos} == {only.split}:
            # One table of a split is all there is: what splits there are is decided later.
            found = replace(found, photos=tuple(replace(p, split=None) for p in found.photos))
        return replace(found, notes=(*found.notes, *self._others([only.path])))

    def _joined(self, tables: Sequence[Candidate], whole: Sequence[Candidate]) -> Manifest | None:
        """One table per split, as one; None where they share photos, and so are no splits."""
        found = [c.found for c in tables if c.found]
        photos = {photo.path: photo for one in found for photo in one.photos}
        if len(photos) < sum(len(one.photos) for one in found):
            return None
        names = ", ".join(self._name(c.path) for c in tables)
        notes = [*dict.fromkeys(note for one in found for note in one.notes), f"each table is a split: {names}"]
        notes += [f"{self._name(c.path)} is not used: the tables of the splits are" for c in whole]
        kinds = " and ".join(dict.fromkeys(one.layout for one in found))
        return Manifest(
            self.root, self.root.name, kinds, tuple(photos.values()),
            tuple(bad for one in found for bad in one.skipped),
            (*notes, *self._others([c.path for c in (*tables, *whole)])),
        )  # fmt: skip

    def _others(self, used: Iterable[Path]) -> list[str]:
        """A sentence on the tables that were not used."""
        rest = [c for c in self.candidates if c.path not in used and not c.is_list]
        reasons = [f"{self._name(c.path)} ({_brief(c)})" for c in rest]
        reasons += [f"{self._name(path)} (a form for answers)" for path in self.submissions]
        return [f"tables left out: {listed(reasons)}"] if reasons else []

    def problem(self) -> DataError | None:
        """Why none of the tables is used, where one could be meant."""
        meant = sorted((c for c in self.candidates if c.problem and not c.is_list), key=lambda c: c.split == "test")
        meant.sort(key=lambda c: c.path.suffix.lower() in (".json", *OFFICE))
        if not meant:
            return None
        first, rest = meant[0].problem, [f"{self._name(c.path)}: {c.problem.problem}" for c in meant[1:] if c.problem]
        assert first
        return DataError(first.problem, first.hint, option=first.option, lines=[*first.lines, *rest])

    def _beside_labels(self) -> list[Candidate]:
        """The tables that list photos, where folders give labels already: then large ones are not read for a remark."""
        if sum(os.path.getsize(path) for path, _ in self.paths if path.exists()) > MAX_ASIDE:
            return []
        return [c for c in self.candidates if c.found]

    def better_than(self, photos: Sequence[Photo]) -> Manifest | None:
        """What the tables say where they label most of these photos, and most of the folders that gave them their
        labels hold several labels of the tables: such folders (``part_1``, ``part_2``) are no classes.
        """
        able = self._beside_labels()
        labels = {photo.path: photo.label for c in able if c.found for photo in c.found.photos}
        inside: dict[str, Counter[str]] = defaultdict(Counter)
        for photo in photos:
            if photo.path in labels:
                inside[photo.label][labels[photo.path]] += 1
        if 2 * sum(own.total() for own in inside.values()) < max(1, len(photos)):
            return None
        mixed = [folder for folder, own in inside.items() if max(own.values()) < 0.9 * own.total()]
        if 2 * len(mixed) <= len(inside):
            return None
        found = self._together(able)
        note = f"labels are those of the table: what would be classes holds several of them ({listed(sorted(mixed))})"
        return replace(found, notes=(*found.notes, note))

    def unused(self) -> str:
        """A note on a table that could label photos whose folders do; empty where there is none."""
        able = [self._name(c.path) for c in self._beside_labels()]
        return f"labels are those of the folders; to use {able[0]} instead, name it as the data" if able else ""

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _brief(candidate: Candidate) -> str:
    lacks = getattr(candidate.problem, "lacks", "")
    if lacks:
        return f"no column of {lacks}s"
    return candidate.problem.problem.partition(": ")[2][:80] or "not readable" if candidate.problem else "another one"


def _is_left_out(path: Path) -> bool:
    whole = path.stem.removesuffix("-left-out")
    return whole != path.stem and path.with_name(whole + path.suffix).exists()
