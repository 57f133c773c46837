"""Labelled photos in folders.

These layouts are tried in this order: split folders of class folders (or of ``label.123.jpg`` names), class folders
(also with split folders inside), a folder with one table or one such folder in it, a flat folder of ``label.123.jpg``
names.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from headstart.core.events import OnProgress
from headstart.core.text import listed
from headstart.data.filenames import (
    clean_label,
    content_kind,
    is_companion,
    is_hidden,
    is_image_name,
    label_in_name,
    merged,
    natural_key,
    split_of,
)
from headstart.data.schema import AS_FOUND, SPLITS, BadFile, Manifest, Photo, ReadOptions, Split
from headstart.data.sources.base import local
from headstart.data.sources.folder_tables import Tables
from headstart.data.sources.packed import note_on_archives
from headstart.errors import DataError

MAX_WRAPPED = 8
"""Folders with one folder in them that are looked through."""
_PHOTO_KINDS = frozenset({"JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIC"})


class Contents(NamedTuple):
    """The contents of one folder, without hidden ones: names in natural order."""

    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass
class Folders:
    """Reads every folder below a root once, whatever links lead to it, and collects notes for the user."""

    root: Path
    skipped: list[BadFile] = field(default_factory=list)
    lost: list[Path] = field(default_factory=list)
    """Those of the skipped that could not be read, and so may be or contain photos."""
    notes: list[str] = field(default_factory=list)
    read: dict[str, Contents] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _entered: dict[tuple[int, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for above in Path(os.path.realpath(self.root)).parents:
            with suppress(OSError):
                status = os.stat(above)
                self._entered[status.st_dev, status.st_ino] = "a link to a folder that contains these"

    def contents(self, folder: str) -> Contents:
        """One folder's contents; empty (and skipped by name) where it cannot be read, or was read by another name."""
        if folder not in self.read:
            self.read[folder] = self._scan(folder)
        return self.read[folder]

    def photos(self, folder: str) -> Iterator[str]:
        """All photos in and below a folder; other files are named among the skipped."""
        waiting = [folder]  # no recursion: folders may be nested more deeply than Python's limit
        while waiting:
            here = waiting.pop()
            found = self.contents(here)
            for name in found.images:
                yield os.path.join(here, name)
            for name in found.others:
                path = os.path.join(here, name)
                if not is_companion(name) and self._is_photo(path):
                    yield path
            waiting += [os.path.join(here, name) for name in reversed(found.folders)]

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
                    if not is_hidden(entry.name):
                        names[self._kind(entry)].append(entry.name)
        except OSError as error:
            self.skip(folder, f"folder cannot be read ({error.strerror or error})", lost=True)
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

    def _is_photo(self, path: str, told: bool = True) -> bool:
        """Whether a file without the suffix of an image is one, by its first bytes; another is skipped by name."""
        try:
            with open(path, "rb") as file:
                kind = content_kind(file.read(64))
        except OSError as error:
            self.skip(path, f"cannot be read ({error.strerror or error})", lost=True)
            return False
        if told and kind not in _PHOTO_KINDS:
            self.skip(path, f"not an image{f' ({kind} inside)' if kind else ''}")
        return kind in _PHOTO_KINDS

    def skip(self, path: str, reason: str, lost: bool = False) -> None:
        self.skipped.append(BadFile(Path(path), reason))
        if lost:
            self.lost.append(Path(path))

    def skip_loose(self, folder: str) -> None:
        found = self.contents(folder)
        for name in (*found.images, *(name for name in found.others if not is_companion(name))):
            path = os.path.join(folder, name)
            if name in found.images or self._is_photo(path, told=False):
                self.skip(path, "no label: it is beside the class folders")

    def label(self, name: str) -> str:
        """The label that a folder or file name gives."""
        self._names.add(name)
        return clean_label(name)

    @property
    def merged(self) -> tuple[str, ...]:
        """A note where names that differ gave one label."""
        return merged(self._names)


class FolderSource:
    """A folder on this machine."""

    def accepts(self, data: str) -> bool:
        return os.path.isdir(local(data))

    def manifest(self, data: str, progress: OnProgress | None = None, options: ReadOptions = AS_FOUND) -> Manifest:
        path = local(data)
        if (path / "request.json").is_file() and (path / "splits.csv").is_file():
            raise DataError(f"{path} is a run, not photos", "Name the photos that it was trained on, or others.")
        return folder_manifest(path, options=options)


def folder_manifest(
    root: Path, within: Path | None = None, wrapped: int = 0, options: ReadOptions = AS_FOUND
) -> Manifest:
    """A folder's manifest: by its layout, else by its tables or the one folder in it, else by labels in file names.

    ``within``: refuse paths of a table that lead out of this folder; ``wrapped``: how many folders with only this in
    them are around it.
    """
    folders, tables = Folders(root), Tables(root, within, options)
    if found := tables.first():
        return replace(found, name=root.name)
    words, photos = _split_folders(folders) or _class_folders(folders) or ("", [])
    if len({p.label for p in photos}) < 2:
        found = tables.manifest() or _inner_folder(folders, within, wrapped)
    else:
        found = tables.better_than(photos)
        folders.notes += filter(None, [tables.unused()])
    if found is not None:
        return replace(found, name=root.name)
    if not words:
        words, photos = "file names (label.number.jpg)", _flat_names(folders, str(root))
    if len({p.label for p in photos}) < 2 and (problem := tables.problem()):
        if not photos:
            raise problem
        folders.notes.append(problem.problem)
    notes = (*folders.notes, *note_on_archives(folders.read), *folders.merged)
    return Manifest(root, root.name, words, tuple(photos), tuple(folders.skipped), notes)


def _inner_folder(folders: Folders, within: Path | None, wrapped: int) -> Manifest | None:
    """The manifest of the only folder in a folder, where that one has classes (archives are often wrapped so)."""
    outer = folders.contents(str(folders.root))
    if len(outer.folders) != 1 or outer.images or wrapped == MAX_WRAPPED:
        return None
    inner = folders.root / outer.folders[0]
    if folders.contents(str(inner)).images and not within:
        return None  # it is a class folder; its file names are no labels
    found = folder_manifest(inner, within, wrapped + 1)
    if len({p.label for p in found.photos}) < 2:
        return None
    beside = [bad for bad in folders.skipped if bad.path.parent == folders.root]
    notes = (f"photos taken from the one folder in it, {inner.name}/", *found.notes)
    return replace(found, skipped=(*beside, *found.skipped), notes=notes)


def _flat_names(folders: Folders, folder: str, split: Split | None = None) -> list[Photo]:
    """Photos directly in a folder, labelled by their names; where some names have a label, the others are skipped."""
    named = [(name, label_in_name(name)) for name in folders.contents(folder).images]
    if any(label for _, label in named):
        for name, label in named:
            if not label:
                folders.skip(os.path.join(folder, name), "no label in its name (label.123.jpg)")
    return [Photo(Path(folder, name), folders.label(label), split) for name, label in named if label]


def _split_folders(folders: Folders) -> tuple[str, list[Photo]] | None:
    """The layout and photos of split folders; None where there are none."""
    root = str(folders.root)
    marks = {name: split_of(name) for name in folders.contents(root).folders}
    # train/ of class folders means splits; beside bus/ and car/, full of pictures, it does not.
    train = (folders.contents(os.path.join(root, name)) for name, mark in marks.items() if mark == "train")
    if not marks or not (all(marks.values()) or any(c.folders and not c.images for c in train)):
        return None
    names = [(name, split) for split in SPLITS for name, mark in marks.items() if mark == split]
    photos = []
    for name, split in names:
        folder = os.path.join(root, name)
        loose = folders.contents(folder).images
        inside = _labelled(folders, folder, split)
        if inside:
            folders.skip_loose(folder)
        else:
            inside = _flat_names(folders, folder, split)
            if loose and not inside:
                folders.notes.append(f"{name}/ has photos without labels ({len(loose)}): left out")
        photos += inside
    others = [f"{name}/" for name, mark in marks.items() if not mark and any(folders.photos(os.path.join(root, name)))]
    if others:
        folders.notes.append(f"left out, because they are no splits: {listed(others)}")
    folders.skip_loose(root)
    return f"split folders ({', '.join(name for name, _ in names)})", photos


def _class_folders(folders: Folders) -> tuple[str, list[Photo]] | None:
    """The layout and photos of class folders; None where no photo is in one."""
    root = str(folders.root)
    classes = [(name, folders.contents(os.path.join(root, name))) for name in folders.contents(root).folders]
    # Classes may have splits: every class folder has split folders only, train among them (cats/train/1.jpg).
    filled = [inside for _, inside in classes if inside.folders or inside.images]
    marks = [[split_of(inner) for inner in inside.folders] for inside in filled]
    if len(filled) > 1 and not any(c.images for c in filled) and all(all(m) and "train" in m for m in marks):
        photos = [
            Photo(Path(path), folders.label(name), split_of(inner))
            for name, inside in classes
            for inner in inside.folders
            for path in folders.photos(os.path.join(root, name, inner))
        ]
        folders.skip_loose(root)
        return "class folders, each with its split folders", photos
    photos = _labelled(folders, root, None)
    if not photos:
        return None
    folders.skip_loose(root)
    return "class folders", photos


def _labelled(folders: Folders, root: str, split: Split | None) -> list[Photo]:
    """Photos below each class folder of ``root``; folders without photos are named."""
    photos, empty = [], []
    for name in folders.contents(root).folders:
        label = folders.label(name)
        inside = [Photo(Path(path), label, split) for path in folders.photos(os.path.join(root, name))]
        photos += inside
        if not inside and not any(s.path == Path(root, name) for s in folders.skipped):
            empty.append(f"{name}/")
    if photos and empty:
        where = f" in {split}" if split else ""
        folders.notes.append(f"folders without photos{where}, left out: {listed(empty)}")
    return photos
