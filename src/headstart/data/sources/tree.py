"""A tree of folders, each read once: its folders, photos and other files, without what is no part of the data."""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from headstart.core.text import listed, plural
from headstart.data.filenames import (
    KIND_SUFFIXES,
    clean_label,
    content_kind,
    is_companion,
    is_hidden,
    is_image_name,
    is_junk,
    is_raw_name,
    merged,
    natural_key,
    raw_problem,
    shown,
)
from headstart.data.schema import AS_FOUND, BadFile, Manifest, ReadOptions
from headstart.data.sources.columns import StoredPhotos
from headstart.errors import DataError, did_you_mean, option

_OUTPUTS = (
    {"comparison-request.json"}, {"comparison.json", "report.html"}, {"study.json", "report.html"}, {"explained.html"},
    {"model.json", "model.safetensors"}, *({"request.json", name} for name in ("splits.csv", "plan.json", "state")),
)  # fmt: skip
"""Files and folders by which a folder that headstart wrote is known: a comparison, study, run, model or explanation."""


class Contents(NamedTuple):
    """The contents of one folder, without hidden ones: names in natural order."""

    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass
class Folders:
    """Reads every folder below a root once, whatever links lead to it, and collects notes for the user."""

    root: Path
    options: ReadOptions = AS_FOUND
    skipped: list[BadFile] = field(default_factory=list)
    lost: list[Path] = field(default_factory=list)
    """Those of the skipped that could not be read, and so may be or contain photos."""
    notes: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    """Folders that headstart wrote, which are left out."""
    read: dict[str, Contents] = field(default_factory=dict)
    _kinds: dict[str, str] = field(default_factory=dict)
    _holds: dict[str, bool] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _names: set[str] = field(default_factory=set)
    _classes: dict[str, str] = field(default_factory=dict)
    _hidden: list[str] = field(default_factory=list)
    _ignored: dict[str, list[str]] = field(default_factory=dict)
    _entered: dict[tuple[int, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ignored = {pattern: [] for pattern in map(self._below, self.options.ignore) if pattern}
        for above in Path(os.path.realpath(self.root)).parents:
            with suppress(OSError):
                status = os.stat(above)
                self._entered[status.st_dev, status.st_ino] = "a link to a folder that contains these"

    def contents(self, folder: str) -> Contents:
        """One folder's contents; empty (and skipped by name) where it cannot be read, or was read by another name."""
        if folder not in self.read:
            self.read[folder] = self._scan(folder)
        return self.read[folder]

    def photos(self, folder: str, told: bool = True) -> Iterator[str]:
        """All photos in and below a folder; other files are named among the skipped if they are to be ``told``."""
        waiting = [folder]  # no recursion: folders may be nested more deeply than Python's limit
        while waiting:
            here = waiting.pop()
            found = self.contents(here)
            for name in found.images:
                yield os.path.join(here, name)
            for name in self._unsure(found):
                path = os.path.join(here, name)
                if self._is_photo(path, told):
                    yield path
            waiting += [os.path.join(here, name) for name in reversed(found.folders)]

    def filled(self, folder: str) -> list[str]:
        """The names of the folders in a folder that hold photos, or RAW files, which would be photos as JPEG."""
        return [name for name in self.contents(folder).folders if self.holds_photos(os.path.join(folder, name))]

    def holds_photos(self, folder: str) -> bool:
        if folder not in self._holds:
            # The folder first: where every class has photos of its own, nothing below is read for this question.
            self._holds[folder] = next(self.photos(folder, told=False), None) is not None or self._holds_raw(folder)
        return self._holds[folder]

    def _holds_raw(self, folder: str) -> bool:
        below = [folder]
        while below:
            found = self.contents(here := below.pop())
            if any(map(is_raw_name, found.others)):
                return True
            below += [os.path.join(here, name) for name in found.folders]
        return False

    def _scan(self, folder: str) -> Contents:
        names: dict[str, list[str]] = defaultdict(list)
        try:
            status = os.stat(folder)
            if reason := self._entered.get((status.st_dev, status.st_ino)):
                self.skip(folder, reason)
                return Contents()
            self._entered[status.st_dev, status.st_ino] = "a link to a folder that was read already"
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        self._hidden += [] if is_junk(entry.name) else [entry.path]
                    elif not self._is_ignored(entry.path):
                        names[self._kind(entry)].append(entry.name)
        except OSError as error:
            self.skip(folder, f"folder cannot be read ({error.strerror or error})", lost=True)
        if folder != str(self.root) and is_output({*names["others"], *names["folders"]}):
            self.outputs.append(folder)
            return Contents()
        folders, links, images, others = (
            sorted(names[kind], key=natural_key) for kind in ("folders", "links", "images", "others")
        )
        # Links last: a folder that is also linked to keeps its own name.
        return Contents((*folders, *links), tuple(images), tuple(others))

    def _kind(self, entry: os.DirEntry[str]) -> str:
        """Which list an entry belongs to; one that is no file and no folder is skipped by name."""
        try:
            if entry.is_dir():
                return "links" if entry.is_symlink() else "folders"
            if entry.is_file():
                return "images" if is_image_name(entry.name) else "others"
            gone = entry.is_symlink() and not os.path.exists(entry.path)
            self.skip(entry.path, "a link to nothing" if gone else "not a file (a pipe, socket or device)", lost=gone)
        except OSError as error:  # of this entry alone: the others are read
            circle = error.errno == errno.ELOOP
            reason = "a link that leads to itself" if circle else f"cannot be read ({error.strerror or error})"
            self.skip(entry.path, reason, lost=True)
        return "skipped"

    @staticmethod
    def _unsure(found: Contents) -> Iterator[str]:
        """The files that may be photos although their names do not say so."""
        stems = {os.path.splitext(name)[0] for name in found.images}
        return (name for name in found.others if not is_companion(name, stems))

    def _is_photo(self, path: str, told: bool) -> bool:
        """Whether a file without the suffix of an image is one, by its first bytes; another is skipped by name."""
        if path not in self._kinds:
            self._kinds[path] = _kind_of(path)
        kind = self._kinds[path]
        if told and kind not in KIND_SUFFIXES and path not in self._told:
            self._told.add(path)
            reason = (
                kind if kind.startswith(("RAW", "cannot")) else f"not an image{f' ({kind} inside)' if kind else ''}"
            )
            self.skip(path, reason, lost=kind.startswith("cannot"))
        return kind in KIND_SUFFIXES

    def skip(self, path: str, reason: str, lost: bool = False) -> None:
        self.skipped.append(BadFile(Path(path), reason))
        if lost:
            self.lost.append(Path(path))

    def skip_loose(self, folder: str, reason: str = "no label: it is beside the class folders") -> None:
        found = self.contents(folder)
        for name in (*found.images, *self._unsure(found)):
            path = os.path.join(folder, name)
            if name in found.images or self._is_photo(path, told=False):
                self.skip(path, reason)

    def label(self, name: str, folder: str | None = None) -> str:
        """The label that a folder or file name gives; ``folder``: all in it is of this class."""
        self._names.add(name)
        if folder is not None:
            self._classes[folder] = clean_label(name)
        return clean_label(name)

    def forget(self) -> None:
        """Forget notes and classes of a layout that it turned out not to be."""
        self.notes.clear()
        self._names.clear()
        self._classes.clear()

    def finish(self) -> tuple[tuple[BadFile, ...], tuple[str, ...]]:
        """The skipped files and all notes, when the layout is known. Raises DataError for an ``ignore`` in vain."""
        outputs = [f"{shown(Path(folder), self.root)}/" for folder in sorted(self.outputs, key=natural_key)]
        hidden = [f"{shown(Path(path), self.root)}/" for path in sorted(self._hidden) if _has_images(path)]
        asked = [shown(Path(path), self.root) for paths in self._ignored.values() for path in paths]
        leaving = {
            "left out, because headstart wrote them": outputs, "hidden folders with photos, left out": hidden,
            "left out as asked": asked,
        }  # fmt: skip
        notes = (f"{words}: {listed(names)}" for words, names in leaving.items() if names)
        self.refuse_unmatched()
        skipped = (BadFile(bad.path, bad.reason, self._class_of(bad)) for bad in self.skipped)
        return tuple(skipped), (*dict.fromkeys(self.notes), *notes, *merged(self._names))

    def _class_of(self, bad: BadFile) -> str | None:
        """The class of a file or folder that holds a photo, or may hold some, and cannot be read."""
        if not (is_raw_name(bad.path.name) or bad.path in self.lost):
            return None
        places = (str(place) for place in (bad.path, *bad.path.parents))
        return next((self._classes[place] for place in places if place in self._classes), None)

    def _below(self, pattern: str) -> str:
        """A pattern below the root: one typed as a path from here (``photos/test`` for ``test``) names the same."""
        place, root = os.path.abspath(os.path.expanduser(pattern)), os.path.abspath(self.root)
        inside = place.startswith(root + os.sep) and os.path.exists(place)
        if inside and (os.path.isabs(pattern) or not os.path.exists(os.path.join(root, pattern))):
            pattern = os.path.relpath(place, root)
        return pattern.replace(os.sep, "/").removeprefix("./").rstrip("/")

    def _is_ignored(self, path: str) -> bool:
        if not self._ignored:
            return False
        pattern = ignored_by(shown(Path(path), self.root), self._ignored)
        if pattern:
            self._ignored[pattern].append(path)
        return bool(pattern)

    def refuse_unmatched(self) -> None:
        """Raise DataError for a pattern of ``ignore`` that no file or folder has, read or not."""
        vain = [pattern for pattern, paths in self._ignored.items() if not paths]
        for folder, folders, files in os.walk(self.root) if vain else ():
            for name in (*folders, *files):
                matched = ignored_by(shown(Path(folder, name), self.root), vain)
                vain = [pattern for pattern in vain if pattern != matched]
            if not vain:
                return
        if vain:
            names = self.contents(str(self.root)).folders
            problem = f"{option('ignore', repr(vain[0]))} matches nothing in {self.root}"
            raise DataError(problem, did_you_mean(vain[0], names) or f"It holds: {listed(names)}.", option="ignore")


def ignored_by(relative: str, patterns: Iterable[str]) -> str | None:
    """The pattern that leaves out a path below the data: a name anywhere, or a path from the top; both may be globs."""
    name = relative.rpartition("/")[2]
    return next((p for p in patterns if fnmatchcase(relative, p) or ("/" not in p and fnmatchcase(name, p))), None)


def is_output(names: set[str]) -> bool:
    """Whether a folder with these files and folders was written by headstart."""
    return any(names >= some for some in _OUTPUTS)


def _kind_of(path: str) -> str:
    """The kind of a file: as ``content_kind`` says it, or why it is none that can be used."""
    if raw := raw_problem(path):
        return raw
    try:
        with open(path, "rb") as file:
            return content_kind(file.read(64))
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _has_images(folder: str) -> bool:
    with suppress(OSError), os.scandir(folder) as entries:
        return any(is_image_name(entry.name) and not entry.name.startswith("._") for entry in entries)
    return False


def leave_out(found: Manifest, ignore: Sequence[str], data: str = "") -> Manifest:
    """A manifest that no folder gave, without the photos that these names, paths or globs are of.

    Raises DataError where there are none such, unless ``data`` is empty: then they may be about folders.
    """
    patterns = tuple(pattern.strip("/").removeprefix("./") for pattern in ignore)
    if not patterns:
        return found
    kept = [i for i, photo in enumerate(found.photos) if not is_ignored(shown(photo.path, found.root), patterns)]
    if len(kept) == len(found.photos):
        if data:
            raise DataError(f"{option('ignore', listed(patterns))} matches no photo of {data}", option="ignore")
        return found
    note = f"left out as asked: {plural(len(found.photos) - len(kept), 'photo')} ({listed(patterns)})"
    photos = found.photos.take(kept) if isinstance(found.photos, StoredPhotos) else [found.photos[i] for i in kept]
    return replace(found, photos=photos, notes=(*found.notes, note))


def is_ignored(relative: str, patterns: Sequence[str]) -> bool:
    """Whether a path below the data, or a folder that it is in, has one of these names, paths or globs."""
    parts = relative.split("/")
    return any(ignored_by("/".join(parts[:end]), patterns) for end in range(1, len(parts) + 1))
