"""A project of the studio: an ordinary folder with ``labels.csv``, which every command reads, ``photos/`` with what was
dropped, and ``runs/``. Photos that were elsewhere stay there: nothing is moved, renamed or deleted.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from headstart.core.files import file_name, write_rows
from headstart.core.shell import shell_word
from headstart.core.text import plural
from headstart.data.filenames import clean_label, is_hidden, is_image_name
from headstart.data.label_sets import SEPARATOR
from headstart.data.schema import Photo
from headstart.data.sources.detect import scan
from headstart.errors import DataError, OptionError
from headstart.workbench.store import NewRow, Row, Store

LABELS, PHOTOS, RUNS = "labels.csv", "photos", "runs"
NO_CLASS = "unlabelled"
"""Folder of dropped photos that have no class yet."""
SAMPLE = 30
"""Digits per class of the sample project."""
_LONGEST, _LONGEST_SUFFIX = 80, 16
_REVERSING = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction of what follows, beyond the name itself."""


class Project:
    """One project, open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder)

    @classmethod
    def create(cls, folder: Path, data: str | None = None) -> Project:
        """A new project; ``data``: a folder, table, archive or named dataset whose photos it shows.

        Raises:
            OptionError: the folder exists.
            DataError: there are no photos in ``data``.
        """
        if folder.exists() and any(folder.iterdir()):
            raise OptionError(f"{folder} exists.", "Choose another name for the project.")
        rows, to_copy = ([], []) if data is None else _rows(data)
        folder.mkdir(parents=True, exist_ok=True)
        project = cls(folder)
        project.store.set_setting("id", secrets.token_hex(8))
        if to_copy:
            rows = [NewRow(project._copied(one), one.label, one.split, one.group) for one in to_copy]
        if data is not None:
            project.store.set_setting("data", data)
            project.store.add(rows, f"Opened {plural(len(rows), 'photo')} of {data}")
        project.write_table()
        return project

    def _copied(self, photo: Photo) -> str:
        """A copy of a photo in the project, as its path there."""
        place = self.folder / PHOTOS / file_name(photo.label)
        place.mkdir(parents=True, exist_ok=True)
        with photo.open() as file:
            return _write_new(place, photo.name, file.read()).relative_to(self.folder).as_posix()

    @classmethod
    def sample(cls, folder: Path) -> Project:
        """A project with drawn digits, which need no network connection. Raises OptionError where the folder exists."""
        from headstart.workflows.demo import write_digits

        project = cls.create(folder)
        write_digits(folder / PHOTOS, SAMPLE)
        found = scan(folder / PHOTOS, for_training=False).photos
        rows = [NewRow(photo.path.relative_to(folder).as_posix(), photo.label) for photo in found]
        project.store.add(rows, f"Drew {plural(len(rows), 'digit')}")
        project.write_table()
        return project

    @classmethod
    def at(cls, folder: Path) -> bool:
        """Whether the folder is a project."""
        return (folder / ".studio" / "project.sqlite").is_file()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def table(self) -> Path:
        return self.folder / LABELS

    @property
    def runs(self) -> Path:
        return self.folder / RUNS

    def path(self, row: Row) -> Path:
        """Where the photo is."""
        return self.folder / row.path

    # -- photos

    def drop(self, files: Sequence[tuple[str, bytes]], label: str | None) -> tuple[list[int], list[tuple[str, str]]]:
        """Store photos (name and content) that were dropped at once; returns their ids, and (name, reason) of each that
        is not taken. One that was left out before is brought back, and so is one whose file is gone. Raises OptionError
        for what is no name of a class, OSError where a file cannot be written: then none of them is kept.
        """
        if label is not None and label not in self.store.classes():
            label = class_name(label)
        place = self.folder / PHOTOS / file_name(label or NO_CLASS)
        place.mkdir(parents=True, exist_ok=True)
        rows: dict[str, NewRow] = {}
        back, refused, written = [], list[tuple[str, str]](), list[Path]()
        try:
            for name, content in files:
                digest = hashlib.blake2b(content, digest_size=16).hexdigest()
                known = self.store.of_digest(digest)
                if digest in rows or (known is not None and not known.left_out and self._holds(known, digest)):
                    refused.append((name, "the same file is in the project already"))
                elif known is not None and self._holds(known, digest):
                    back.append(known.id)
                elif known is not None and known.path.startswith(f"{PHOTOS}/") and not self.path(known).exists():
                    self.path(known).parent.mkdir(parents=True, exist_ok=True)
                    self.path(known).write_bytes(content)
                    back.append(known.id)
                else:
                    written.append(_write_new(place, name, content))
                    rows[digest] = NewRow(written[-1].relative_to(self.folder).as_posix(), label, digest=digest)
        except OSError:
            for file in written:
                file.unlink(missing_ok=True)
            raise
        what = f"Added {plural(len(rows) + len(back), 'photo')}" + (f" to {label}" if label else "")
        return [*self.store.add(list(rows.values()), what, back, label), *back], refused

    def _holds(self, row: Row, digest: str) -> bool:
        """Whether a photo's file still has the content that it was added with."""
        try:
            return _digest(self.path(row)) == digest
        except OSError:
            return False

    def find(self, paths: Iterable[str]) -> dict[str, int]:
        """Ids by path, of those paths (absolute, or relative to the project) that are photos of the project."""
        by_path = {os.path.normpath(self.path(row)): row.id for row in self.store.photos()}
        found = {path: by_path.get(os.path.normpath(self.folder / path)) for path in paths}
        return {path: number for path, number in found.items() if number is not None}

    def in_use(self) -> dict[str, int]:
        """The paths and ids of photos with a label that are not left out."""
        return {str(self.path(row)): row.id for row in self.store.photos("label is not null and left_out = 0")}

    def add_class(self, name: str) -> str:
        """Add a class; returns its name. Raises OptionError."""
        name = class_name(name)
        if name in (known := self.store.classes()):
            raise OptionError(f"There is a class {name!r} already.")
        self.store.set_classes([*known, name], None, f"Added the class {name}")
        return name

    def rename_class(self, old: str, new: str) -> str:
        """Rename a class, or join it to another; returns the new name. Raises OptionError."""
        new, known = class_name(new), self.store.classes()
        if old not in known:
            raise OptionError(f"There is no class {old!r}.")
        names = dict.fromkeys(new if name == old else name for name in known)
        what = f"Joined {old} to {new}" if new in known and new != old else f"Renamed {old} to {new}"
        self.store.set_classes(list(names), (old, new), what)
        self.write_table()
        return new

    def remove_class(self, name: str) -> None:
        """Remove a class without photos. Raises OptionError where it has some."""
        counts = self.store.counts()
        if name not in counts or name not in (known := self.store.classes()):
            raise OptionError(f"There is no class {name!r}.")
        if sum(counts[name]):
            raise OptionError(f"{name!r} has photos.", "Give them another class first, or join the class to another.")
        self.store.set_classes([one for one in known if one != name], None, f"Removed the class {name}")

    # -- what every command reads

    def write_table(self) -> None:
        """Write labels.csv: path, label and, where the data has them, split and group; photos that are left out, or
        have no label, are not in it. Where the data has splits, photos that were added since are for training.
        """
        rows = self.store.photos("label is not null and left_out = 0")
        columns: dict[str, list[str | None]] = {
            "path": [row.path for row in rows],
            "label": [row.label for row in rows],
        }
        if any(row.split for row in rows):
            columns["split"] = [row.split or "train" for row in rows]
        if any(row.group for row in rows):
            columns["group"] = [row.group for row in rows]
        write_rows(self.table, list(columns), list(zip(*columns.values(), strict=True)))
        self.store.set_setting("table", _digest(self.table))

    def catch_up(self) -> int:
        """Take over what was changed outside the studio: labels.csv that was edited, and photos that are new in the
        data that the project shows. Returns how many photos that concerns. Raises DataError where they cannot be read.
        """
        changed = self.read_edits()
        if (data := self.store.setting("data")) and Path(data).is_dir():
            rows, to_copy = _rows(data)
            if not to_copy:
                changed += len(self.store.add(rows, f"Found new photos in {data}"))
        if changed:
            self.write_table()
        return changed

    def settle(self) -> None:
        """Take over what was changed in labels.csv by hand, and write it as the project has it now."""
        self.read_edits()
        self.write_table()

    def read_edits(self) -> int:
        """Take over what was changed in labels.csv by hand. Returns how many photos that concerns."""
        if not self.table.is_file() or _digest(self.table) == self.store.setting("table"):
            return 0
        photos = {os.path.abspath(photo.path): photo for photo in scan(self.table, for_training=False).photos}
        listed = {path: photo.label for path, photo in photos.items()}
        mine = {os.path.abspath(self.path(row)): row for row in self.store.photos()}
        what = f"Read {LABELS}, which was edited"
        changed = 0
        for label in dict.fromkeys(listed.values()):
            other = [
                row.id for path, row in mine.items()
                if listed.get(path) == label and (row.label != label or row.left_out)
            ]  # fmt: skip
            changed += self.store.label(other, label, what)
        # A file that is not there now, on a disk that is not plugged in say, was not taken out by hand.
        gone = [
            row.id for path, row in mine.items()
            if path not in listed and row.label is not None and not row.left_out and os.path.exists(path)
        ]  # fmt: skip
        changed += self.store.leave_out(gone, what)
        new = [
            NewRow(self._relative(path), one.label, one.split, one.group)
            for path, one in photos.items() if path not in mine
        ]  # fmt: skip
        changed += self.store.place(
            {mine[path].id: (photos[path].split, photos[path].group) for path in photos if path in mine}
        )
        return changed + len(self.store.add(new, what))

    def _relative(self, path: str) -> str:
        place = Path(path)
        return place.relative_to(self.folder).as_posix() if place.is_relative_to(self.folder) else path

    def list_runs(self) -> list[Path]:
        """Folders of runs, the newest first."""
        found = [run for run in self.runs.glob("*") if (run / "request.json").is_file()] if self.runs.is_dir() else []
        return sorted(found, key=lambda run: (run / "request.json").stat().st_mtime, reverse=True)


def _digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


def class_name(text: str) -> str:
    """A name that a class can have: one line, trimmed. Raises OptionError."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise OptionError("A class needs a name.", "Type one, such as the name of what its photos show.")
    if name != clean_label(name) or _REVERSING.search(name):
        raise OptionError("The name has a character that cannot be shown.", "Type it anew.")
    if SEPARATOR in name:
        raise OptionError(f"The name of a class has no {SEPARATOR}, which stands between several labels of a photo.")
    if len(name) > _LONGEST:
        raise OptionError(f"The name of a class has at most {_LONGEST} characters.")
    return name


def _rows(data: str) -> tuple[list[NewRow], list[Photo]]:
    """Photos of existing data, without classes where the folder holds photos alone; and those of them that are no files
    of the user's: in shards, or unpacked into the cache, which is trimmed. A name that is not UTF-8 cannot be stored:
    such photos are left out.
    """
    try:
        manifest = scan(data, for_training=False)
    except DataError:
        if loose := _loose(Path(data)):
            return [NewRow(path) for path in loose if _is_text(path)], []
        raise
    photos = [photo for photo in manifest.photos if _is_text(str(photo.path)) and _is_text(photo.label)]
    rows = [NewRow(os.path.abspath(photo.path), photo.label, photo.split, photo.group) for photo in photos]
    return rows, photos if manifest.source in ("archive", "stored") else []


def _is_text(name: str) -> bool:
    return not any("\udc80" <= c <= "\udcff" for c in name)


def _loose(folder: Path) -> list[str]:
    """Photos of a folder without classes, at any depth, in the order of their names."""
    if not folder.is_dir():
        return []
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        found += [
            os.path.abspath(Path(place) / name) for name in sorted(names) if is_image_name(name) and not is_hidden(name)
        ]
    return found


def _write_new(place: Path, name: str, content: bytes) -> Path:
    """Write a file under its own name, or the first with a number that is free; never over another file."""
    name = re.sub(r"[\\/]", "_", name.strip()) or "photo.jpg"
    stem, suffix = os.path.splitext(name)
    if len(suffix.encode()) > _LONGEST_SUFFIX:
        stem, suffix = name, ""
    stem = file_name(stem)
    number = 1
    while True:
        target = place / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        try:
            file = target.open("xb")
        except FileExistsError:
            number += 1
            continue
        try:
            with file:
                file.write(content)
        except OSError:
            target.unlink(missing_ok=True)
            raise
        return target


def describe(project: Project) -> dict[str, Any]:
    """What the page shows of a project at the top."""
    store = project.store
    counts = store.counts()
    return {
        "name": project.name, "id": store.setting("id", ""), "table": shell_word(str(project.table)),
        "revision": store.revision, "data": store.setting("data"),
        "training": store.setting("training", {}), "auto": store.setting("auto", False),
        "classes": [dict(zip(("name", "photos", "left_out"), (name, *counts[name]), strict=True))
                    for name in store.classes()],
        "unlabelled": counts[None][0], "left_out": sum(out for _, out in counts.values()),
        "runs": [run.name for run in project.list_runs()], "history": store.history(1),
    }  # fmt: skip
