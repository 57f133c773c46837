"""Labelled photos listed in a table; unusable rows are reported with their line numbers."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from headstart.core.events import OnProgress
from headstart.core.files import unguarded
from headstart.core.text import listed, plural, quoted
from headstart.data.filenames import clean_label, merged, natural_key, shown, split_of
from headstart.data.label_sets import SEPARATOR, joined_labels, labels_in
from headstart.data.schema import AS_FOUND, GUARD, BadFile, Manifest, Photo, ReadOptions, Split
from headstart.data.sources import table_reading, table_values
from headstart.data.sources.base import local
from headstart.data.sources.table_columns import Chooser, Columns, names_columns
from headstart.data.sources.table_paths import NO_FILE, WEB, Places
from headstart.data.sources.table_reading import plain
from headstart.data.sources.tree import leave_out
from headstart.errors import DataError


class TableSource:
    """A table with the columns path and label."""

    def accepts(self, data: str) -> bool:
        path = local(data)
        return path.suffix.lower() in table_reading.SUFFIXES and os.path.isfile(path)

    def manifest(self, data: str, progress: OnProgress | None = None, options: ReadOptions = AS_FOUND) -> Manifest:
        return leave_out(read_table(local(data), options=options), options.ignore, data)


def read_table(path: Path, within: Path | None = None, options: ReadOptions = AS_FOUND) -> Manifest:
    """All photos of a table, with paths relative to its folder; ``skipped`` has one entry per unusable row.

    Args:
        path: a CSV or TSV, JSON, JSON lines, Parquet, or a list of names and labels in a text file.
        within: refuse paths that lead out of this folder, since a table in an archive must not name other files.
        options: what the columns are, and where the photos.

    Raises:
        UnclearError: no column for paths or labels. DataError: a table that cannot be read, or whose labels are no
        classes, or most of whose rows name no file. OptionError: a column that is not there.
    """
    return Reader(path, within, options).manifest()


def listed_paths(path: Path) -> list[tuple[str, Path]]:
    """The paths of a table that needs no labels, in its order: as they are written, and the files that they name.

    Raises UnclearError where no column names photos, and DataError for a table that cannot be read.
    """
    reader = Reader(path, labelled=False)
    names = [reader._path_of(cells) for _, cells in reader.table.rows]
    return [(name, Path(reader.places.find(os.path.expanduser(name)).path)) for name in names]


def split_of_table(stem: str) -> Split | None:
    """The split that a table's name says: ``train``, ``labels_train``, ``val-annotations``; None where it says none."""
    words = [word for word in re.split(r"[\W_]+", stem) if word]
    found = {split for word in words if (split := split_of(word))}
    return found.pop() if len(found) == 1 else None


class Reader:
    """One table, read: its columns are chosen when this is made, its rows when the manifest is asked for."""

    def __init__(
        self,
        table: Path | table_reading.Table,
        within: Path | None = None,
        options: ReadOptions = AS_FOUND,
        above: Path | None = None,
        split: Split | None = None,
        labelled: bool = True,
    ) -> None:
        self.table = table_reading.read(table) if isinstance(table, Path) else table
        path = self.table.path
        self.within, self.split, self.root = within, split, above or path.parent
        self.places = Places(path.parent, options, above, split or split_of_table(path.stem))
        if self.table.kind == "CSV":
            for _, cells in self.table.rows:
                cells[:] = map(unguarded, cells)
        self._settle_header()
        self.chooser = Chooser(self.table, self.places, options)
        self.columns: Columns = self.chooser.choose() if labelled else Columns(self.chooser.path(), ())
        self.skipped: list[BadFile] = []
        self.repeats = self.joined = 0
        self.written: set[str] = set()

    def manifest(self) -> Manifest:
        """The photos. Raises DataError."""
        table, path = self.table, self.table.path
        if not table.rows:
            raise DataError(f"{path} lists no photos", table_reading.HINT)
        self._check_labels_are_classes()
        photos = self._photos()
        if 2 * len(self.skipped) > len(photos) + len(self.skipped):
            raise self._useless(len(photos) + len(self.skipped))
        photos.sort(key=lambda photo: natural_key(str(photo.path)))
        notes = [*table.notes, *self.chooser.note(self.columns), *self.places.notes(table.name, self.root)]
        if self.repeats:
            notes.append(f"{plural(self.repeats, 'line')} of {table.name} repeat a photo with the same label")
        if self.joined:
            notes.append(f"{plural(self.joined, 'line')} of {table.name} add labels to a photo that is listed already")
        if self.chooser.options.several:
            notes += self._told_of_labels(photos)
        if self.columns.split is None and self.split is None:
            photos, said = self._splits_of_folders(photos)
            notes += said
        return Manifest(
            self.root, path.stem, table.kind, tuple(photos), tuple(self.skipped), (*notes, *merged(self.written))
        )

    def _told_of_labels(self, photos: list[Photo]) -> list[str]:
        """What separates labels where it is not ``|``, and how many photos have none."""
        notes = []
        if len(self.columns.labels) == 1 and self.separator not in ("", SEPARATOR):
            named = {" ": "blanks"}.get(self.separator, repr(self.separator))
            notes.append(f"{self.chooser.names[self.columns.labels[0]]} is read as labels that {named} separate")
        if without := sum(not photo.label for photo in photos):
            notes.append(f"{plural(without, 'photo')} without any label")
        return notes

    def _settle_header(self) -> None:
        """A first row that names a photo, and no column, is no header."""
        table = self.table
        if table.sure or not table.header or names_columns(table.header):
            return
        for at, cell in enumerate(table.header):
            share = self.places.learn([cell, *table.column(at)]) if cell.strip() else 0.0
            if share >= 0.5 and not self.places.find(cell).problem:
                table.rows.insert(0, (table.line, table.header))
                width = max(len(cells) for _, cells in table.rows)
                table.header = [f"column {at}" for at in range(1, width + 1)]
                table.notes += (f"{table.name} has no header: its first line names a photo",)
                return

    # -- labels --

    def _labels(self, cells: list[str]) -> list[str]:
        """The labels that a row gives, as they are written: one, or with ``labels="multi"`` any number."""
        if not self.chooser.options.several:
            return [self._label(cells)]
        if len(self.columns.labels) > 1:
            return [self.chooser.names[at] for at in self.columns.labels if self._marked(cells, at)]
        at = self.columns.labels[0]
        text = plain(cells[at].strip()) if at < len(cells) else ""
        if (items := table_values.listed_labels(text)) is not None:
            return [item.strip() for item in items if item.strip()]
        parts = text.split(self.separator) if self.separator else [text]
        return [part.strip() for part in parts if part.strip()]

    def _marked(self, cells: list[str], at: int) -> bool:
        return at < len(cells) and cells[at].strip() in table_values.ONE

    @cached_property
    def separator(self) -> str:
        """What separates the labels of a cell; see ``table_values.separator_of``."""
        return table_values.separator_of(v for v in self.chooser.values[self.columns.labels[0]] if v)

    def _label(self, cells: list[str]) -> str:
        if len(self.columns.labels) == 1:
            at = self.columns.labels[0]
            text = plain(cells[at].strip()) if at < len(cells) else ""
            items = table_values.listed_labels(text) if text[:1] in ("[", "{", "(") else None
            return items[0] if items and len(items) == 1 else text
        marked = [at for at in self.columns.labels if self._marked(cells, at)]
        return self.chooser.names[marked[0]] if marked else ""

    def _check_labels_are_classes(self) -> None:
        if len(self.columns.labels) > 1:
            return
        at, name = self.columns.labels[0], self.chooser.names[self.columns.labels[0]]
        labels = [value for value in self.chooser.values[at] if value]
        if self.chooser.options.several:
            labels = [label for _, cells in self.table.rows for label in self._labels(cells)]
        if why := table_values.no_classes(labels):
            raise DataError(
                f"{self.table.path}: {why} (column {name}, {quoted(labels[0], 40)} for example)",
                "Name the column of the classes: `label_column='NAME'`. Learning numbers (regression) is not built.",
            )
        several = [] if self.chooser.options.several else table_values.several_labels(labels)
        if several and not self._names_folders(set(several)):
            raise DataError(
                f"{self.table.path}: labels such as {listed([quoted(v, 60) for v in several])} look like several "
                f"labels per photo (column {name})",
                f"{table_values.SEVERAL} Where such a text is one class, write it without the separator.",
            )

    def _cleaned(self, written: list[str]) -> str:
        """A row's labels as those of a ``Photo``. Raises DataError where a label cannot be one of several."""
        if not self.chooser.options.several:
            return clean_label(written[0])
        if wrong := next((label for label in written if SEPARATOR in label), None):
            problem = f"{self.table.path}: the label {quoted(wrong, 60)} holds {SEPARATOR}, which separates labels"
            raise DataError(problem, "Write it without.")
        return _joined(map(clean_label, written))

    def _names_folders(self, labels: set[str]) -> bool:
        """Whether the photos with these labels are in folders of that name: then they are classes."""
        at = self.columns.labels[0]
        rows = [cells for _, cells in self.table.rows if self._label(cells) in labels]
        return all(cells[at].strip() in self._path_of(cells).replace("\\", "/").split("/") for cells in rows)

    def _path_of(self, cells: list[str]) -> str:
        return cells[self.columns.path] if self.columns.path < len(cells) else ""

    # -- rows --

    def _photos(self) -> list[Photo]:
        """The usable photos; the other rows are added to ``skipped``."""
        found: dict[str, tuple[int, Photo]] = {}
        refused: dict[str, str] = {}
        columns, several = self.columns, self.chooser.options.several
        deepest = max(columns.used)
        for line, cells in self.table.rows:
            place = self.places.find(self._path_of(cells))
            written, split = self._labels(cells), self._split_of(cells)
            label = self._cleaned(written)
            problem = self._problem(cells, written, place.path, place.problem, len(cells) > deepest, split)
            if problem:
                gone = problem == place.problem and not several  # a photo of its class, wherever it is
                self._skip(place.path, f"line {line} of {self.table.name}: {problem}", label if gone else None)
                continue
            self.places.ways[place.way] += 1
            self.written.update(written)
            group = clean_label(cells[columns.group]) if columns.group is not None else ""
            known_split = split if split in GUARD else None
            photo = Photo(
                Path(place.path), label, known_split or self.split,  # type: ignore[arg-type]
                group if group.casefold() not in table_values.NOTHING else None,
            )  # fmt: skip
            before = found.get(place.path)
            if before is None:
                found[place.path] = (line, photo)
            elif before[1].label != label and several:  # a row for each label of a photo
                both = _joined(labels_in(before[1].label, True) + labels_in(label, True))
                found[place.path] = (before[0], replace(before[1], label=both))
                self.joined += 1
            elif before[1].label != label:
                said = f"line {line} of {self.table.name}: listed on line {before[0]} already as {before[1].label!r}"
                refused.setdefault(place.path, f"{said}, so its label is not known")
            else:
                self.repeats += 1
                if GUARD[photo.split] > GUARD[before[1].split]:
                    found[place.path] = (before[0], replace(before[1], split=photo.split))
        self._refuse_contradictions(found, refused)
        return self._with_splits([photo for path, (_, photo) in found.items() if path not in refused])

    def _problem(
        self, cells: list[str], written: list[str], place: str, problem: str, complete: bool, split: Split | str | None
    ) -> str:
        if not complete:
            return "too few cells"
        if not self._path_of(cells).strip():
            return "no path"
        if not self.chooser.options.several and not written[0]:
            return "no label" if len(self.columns.labels) == 1 else "no class is marked with 1"
        if split and split not in GUARD:
            return f"unknown split {split!r} (train, val or test)"
        if problem:
            return problem
        if self.within and not Path(place).resolve().is_relative_to(self.within.resolve()):
            return "its path leads out of the archive"
        return ""

    def _split_of(self, cells: list[str]) -> Split | str | None:
        """The split of a row, None where its cells are empty, or what is none."""
        if self.columns.split is None:
            return None
        key = tuple(plain(cells[at]).strip() if at < len(cells) else "" for at in self.columns.split.columns)
        return self.columns.split.words.get(key) or " ".join(key).strip() or None

    def _refuse_contradictions(self, found: dict[str, tuple[int, Photo]], refused: dict[str, str]) -> None:
        """Leave out the photos that have two labels. Raises DataError where those are many."""
        if len(refused) > max(2, len(found) / 10):
            raise DataError(
                f"{self.table.path} gives {plural(len(refused), 'photo')} of {len(found):,} more than one label: that "
                "looks like several labels per photo",
                table_values.SEVERAL,
                lines=list(refused.values())[:5],
            )
        for path, reason in refused.items():
            self._skip(path, reason)

    def _with_splits(self, photos: list[Photo]) -> list[Photo]:
        """A row without a split is a mistake: drawing one could separate the photo from its duplicate."""
        with_split = [p for p in photos if p.split]
        if not with_split:
            return photos
        for photo in photos:
            if not photo.split:
                self._skip(str(photo.path), f"{self.table.name}: no split, though other rows have one")
        return with_split

    def _splits_of_folders(self, photos: list[Photo]) -> tuple[list[Photo], list[str]]:
        """Where every photo is in a split folder, the table's photos have those splits."""
        known: dict[str, Split | None] = {}
        for photo in photos:
            folder = os.path.dirname(photo.path)
            if folder not in known:
                above = shown(Path(folder), self.root)
                known[folder] = next(filter(None, map(split_of, above.split("/"))), None) if above != folder else None
        marks = [known[os.path.dirname(photo.path)] for photo in photos]
        given = set(marks)
        if None in given or len(given) < 2 or "train" not in given:
            return photos, []
        both = [replace(photo, split=mark) for photo, mark in zip(photos, marks, strict=True)]
        return both, [f"the splits of {self.table.name} are those of the folders that its photos are in"]

    def _skip(self, place: str, reason: str, label: str | None = None) -> None:
        self.skipped.append(BadFile(Path(place), reason, label))

    def _useless(self, count: int) -> DataError:
        """The error of a table most of whose rows cannot be used, by the most frequent reason."""
        # Without what is in brackets, which differs from row to row.
        reasons = Counter(bad.reason.partition(": ")[2].partition(" (")[0] for bad in self.skipped)
        reason = reasons.most_common(1)[0][0]
        column = quoted(self.chooser.names[self.columns.path])
        if reason == WEB:
            hint = "Download the photos first, and write the names of the files into the table."
        elif reason == NO_FILE:
            hint = (
                f"Paths in a table are relative to the table's own folder ({self.table.path.parent}); `images` names "
                f"another, `suffix` what the names lack. Its column of paths is {column}; `path_column` names another."
            )
        else:
            which = "All of them" if reasons[reason] == len(self.skipped) else f"{reasons[reason]} of them"
            hint = f"{which}: {reason}."
            if reason.endswith("files fit it"):
                hint += " Write the folders into the table as well: x/1.jpg."
        return DataError(
            f"{len(self.skipped)} of the {count} rows of {self.table.path} cannot be used, first of all:",
            hint,
            lines=[f"{bad.path}: {bad.reason}" for bad in self.skipped[:5]],
        )


def _joined(labels: Iterable[str]) -> str:
    return joined_labels(sorted(set(labels), key=natural_key))
