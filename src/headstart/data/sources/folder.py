"""Labelled photos in folders.

Understood are, in this order: split folders of class folders (or of ``label.123.jpg`` names), class folders (with split
folders inside them, too), a folder with one table or one such folder in it, and a flat folder of ``label.123.jpg``
names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from headstart.core.events import OnProgress
from headstart.core.text import listed
from headstart.data.filenames import (
    TABLE_SUFFIXES,
    clean_label,
    content_kind,
    is_companion,
    is_hidden,
    is_image_name,
    label_in_name,
    natural_key,
    split_of,
)
from headstart.data.schema import SPLITS, BadFile, Manifest, Photo, Split
from headstart.data.sources.base import local
from headstart.data.sources.table import lists_photos, read_table
from headstart.errors import DataError

_PHOTO_KINDS = frozenset({"JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIC"})


class Contents(NamedTuple):
    """What one folder holds, hidden things left out: names in natural order."""

    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class Layout(NamedTuple):
    """Photos, and how they were recognised, in words."""

    words: str
    photos: list[Photo]


@dataclass
class Folders:
    """Reads every folder below a root once, whatever links lead to it, and collects what people should know."""

    root: Path
    skipped: list[BadFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _read: dict[str, Contents] = field(default_factory=dict)
    _entered: set[tuple[int, int]] = field(default_factory=set)

    def contents(self, folder: str) -> Contents:
        """One folder's contents; empty (and skipped by name) where it cannot be read, or was by another name."""
        if folder not in self._read:
            self._read[folder] = self._scan(folder)
        return self._read[folder]

    def photos(self, folder: str) -> Iterator[str]:
        """All photos in and below a folder; files that look like none are named among the skipped."""
        found = self.contents(folder)
        for name in found.images:
            yield os.path.join(folder, name)
        for name in found.others:
            path = os.path.join(folder, name)
            if not is_companion(name) and self._is_photo_inside(path):
                yield path
        for name in found.folders:
            yield from self.photos(os.path.join(folder, name))

    def _scan(self, folder: str) -> Contents:
        links: list[str] = []
        folders: list[str] = []
        images: list[str] = []
        others: list[str] = []
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in self._entered:
                self.skip(folder, "a link to a folder that was read already")
                return Contents()
            self._entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    if entry.is_dir():
                        (links if entry.is_symlink() else folders).append(entry.name)
                    elif entry.is_file():
                        (images if is_image_name(entry.name) else others).append(entry.name)
                    elif entry.is_symlink():
                        self.skip(entry.path, "a link to nothing")
        except OSError as error:
            self.skip(folder, f"folder cannot be read ({error.strerror or error})")
        # Links last: a folder that is also linked to keeps its own name.
        named = sorted(folders, key=natural_key) + sorted(links, key=natural_key)
        return Contents(tuple(named), tuple(sorted(images, key=natural_key)), tuple(sorted(others, key=natural_key)))

    def _is_photo_inside(self, path: str) -> bool:
        """A file without an image's name is judged by its first bytes."""
        try:
            with open(path, "rb") as file:
                kind = content_kind(file.read(64))
        except OSError as error:
            self.skip(path, f"cannot be read ({error.strerror or error})")
            return False
        if kind not in _PHOTO_KINDS:
            self.skip(path, f"not an image{f' ({kind} inside)' if kind else ''}")
        return kind in _PHOTO_KINDS

    def skip(self, path: str, reason: str) -> None:
        self.skipped.append(BadFile(Path(path), reason))


class FolderSource:
    """A folder on this machine."""

    def accepts(self, data: str) -> bool:
        return os.path.isdir(local(data))

    def manifest(self, data: str, progress: OnProgress | None = None) -> Manifest:
        path = local(data)
        if (path / "request.json").is_file() and (path / "splits.csv").is_file():
            raise DataError(f"{path} is a run, not photos", "Name the photos that it was trained on, or others.")
        return folder_manifest(path)


def folder_manifest(root: Path, within: Path | None = None) -> Manifest:
    """A folder's manifest: by its layout, else by the one table or folder in it, else by labels in file names.

    ``within``: refuse paths of a table that lead out of this folder.
    """
    folders = Folders(root)
    layout = read_layout(folders)
    tables = _tables(folders)
    if layout is None or len({p.label for p in layout.photos}) < 2:
        found = _one_table(tables, within) if tables else _inner_folder(folders, within)
        if found is not None:
            return replace(found, name=root.name)
    elif tables:
        folders.notes.append(f"labels are those of the folders; to use {tables[0].name} instead, name it as the data")
    layout = layout or Layout("file names (label.number.jpg)", flat_names(folders, str(root)))
    return Manifest(root, root.name, layout.words, tuple(layout.photos), tuple(folders.skipped), tuple(folders.notes))


def _inner_folder(folders: Folders, within: Path | None) -> Manifest | None:
    """The manifest of the only folder in a folder, where that one has classes (archives are often wrapped so)."""
    outer = folders.contents(str(folders.root))
    if len(outer.folders) != 1 or outer.images:
        return None
    inner = folders.root / outer.folders[0]
    if folders.contents(str(inner)).images and not within:
        return None  # it is a class folder; its file names are no labels
    found = folder_manifest(inner, within)
    if len({p.label for p in found.photos}) < 2:
        return None
    return replace(found, notes=(f"photos taken from the one folder in it, {inner.name}/", *found.notes))


def _tables(folders: Folders) -> list[Path]:
    names = [n for n in folders.contents(str(folders.root)).others if os.path.splitext(n)[1].lower() in TABLE_SUFFIXES]
    return [folders.root / n for n in names if lists_photos(folders.root / n)]


def _one_table(tables: list[Path], within: Path | None) -> Manifest:
    if len(tables) > 1:
        names = ", ".join(t.name for t in tables)
        raise DataError(f"{tables[0].parent} holds several tables: {names}", "Name the one that is meant as the data.")
    return read_table(tables[0], within)


def read_layout(folders: Folders) -> Layout | None:
    """The layout of ``folders.root``; None where no photo gets a label from it."""
    return _split_folders(folders) or _class_folders(folders)


def flat_names(folders: Folders, folder: str, split: Split | None = None) -> list[Photo]:
    """Photos directly in a folder, labelled by their names; where some names hold a label, the others are skipped."""
    names = folders.contents(folder).images
    labels = [label_in_name(name) for name in names]
    if any(labels):
        for name, label in zip(names, labels, strict=True):
            if not label:
                folders.skip(os.path.join(folder, name), "no label in its name (label.123.jpg)")
    return [Photo(Path(folder, n), label, split) for n, label in zip(names, labels, strict=True) if label]


def _split_folders(folders: Folders) -> Layout | None:
    root = str(folders.root)
    marked = [(name, split_of(name)) for name in folders.contents(root).folders]
    of = {split: [name for name, mark in marked if mark == split] for split in SPLITS}
    if not _means_splits(folders, root, of["train"], all(mark for _, mark in marked) and bool(marked)):
        return None
    photos = [p for split in SPLITS for name in of[split] for p in _one_split(folders, os.path.join(root, name), split)]
    others = [name for name, mark in marked if not mark and any(folders.photos(os.path.join(root, name)))]
    if others:
        folders.notes.append(f"left out, for they are no splits: {listed([f'{name}/' for name in others])}")
    said = ", ".join(name for split in SPLITS for name in of[split])
    return Layout(f"split folders ({said})", photos)


def _means_splits(folders: Folders, root: str, train: list[str], all_marked: bool) -> bool:
    """``train/`` of class folders means splits; beside ``bus/`` and ``car/``, full of pictures, it does not."""
    if all_marked:
        return True
    inside = [folders.contents(os.path.join(root, name)) for name in train]
    return any(c.folders and not c.images for c in inside)


def _one_split(folders: Folders, folder: str, split: Split) -> list[Photo]:
    found = folders.contents(folder)
    photos = _labelled(folders, folder, split)
    if not photos:
        photos = flat_names(folders, folder, split)
        if not photos and found.images:
            folders.notes.append(
                f"{os.path.basename(folder)}/ holds photos without labels ({len(found.images)}): left out"
            )
    elif found.images:
        _skip_loose(folders, folder, found.images)
    return photos


def _class_folders(folders: Folders) -> Layout | None:
    root = str(folders.root)
    if _splits_in_classes(folders, root):
        return Layout("class folders, each with its split folders", _labelled_and_split(folders, root))
    photos = _labelled(folders, root, None)
    if not photos:
        return None
    _skip_loose(folders, root, folders.contents(root).images)
    return Layout("class folders", photos)


def _labelled(folders: Folders, root: str, split: Split | None) -> list[Photo]:
    """Photos below each class folder of ``root``; folders without photos are named."""
    photos, empty = [], []
    for name in folders.contents(root).folders:
        label = clean_label(name)
        inside = [Photo(Path(path), label, split) for path in folders.photos(os.path.join(root, name))]
        photos += inside
        if not inside and not any(s.path == Path(root, name) for s in folders.skipped):
            empty.append(name)
    if photos and empty:
        where = f" in {split}" if split else ""
        folders.notes.append(f"folders without photos{where}, left out: {listed([f'{name}/' for name in empty])}")
    return photos


def _splits_in_classes(folders: Folders, root: str) -> bool:
    """Whether every class folder holds split folders only, train among them (``cats/train/1.jpg``)."""
    classes = [folders.contents(os.path.join(root, name)) for name in folders.contents(root).folders]
    filled = [c for c in classes if c.folders or c.images]
    return len(filled) > 1 and all(
        not c.images and all(map(split_of, c.folders)) and "train" in map(split_of, c.folders) for c in filled
    )


def _labelled_and_split(folders: Folders, root: str) -> list[Photo]:
    return [
        Photo(Path(path), clean_label(name), split_of(inner))
        for name in folders.contents(root).folders
        for inner in folders.contents(os.path.join(root, name)).folders
        for path in folders.photos(os.path.join(root, name, inner))
    ]


def _skip_loose(folders: Folders, folder: str, images: tuple[str, ...]) -> None:
    for name in images:
        folders.skip(os.path.join(folder, name), "no label: it lies beside the class folders")
