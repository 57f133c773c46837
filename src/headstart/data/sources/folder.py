"""Photos laid out in folders. In: a folder. Out: its labelled photos and how the layout was understood, or None where
it has none.

Understood are, in this order: split folders of class folders (or of ``label.123.jpg`` names), and class folders (with
split folders inside them, too). One flat folder of ``label.123.jpg`` names is read by ``flat_names``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from headstart.data.filenames import (
    clean_label,
    content_kind,
    is_companion,
    is_hidden,
    is_image_name,
    label_in_name,
    natural_key,
    split_of,
)
from headstart.data.schema import SPLITS, BadFile, Photo, Split

_PHOTO_KINDS = frozenset({"JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIC"})


@dataclass(frozen=True)
class Contents:
    """What one folder holds, hidden things left out: names in natural order."""

    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
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
        folders.notes.append(f"left out, for they are no splits: {_few(others)}")
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
        folders.notes.append(f"folders without photos{where}, left out: {_few(empty)}")
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


def _few(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(f"{name}/" for name in names[:shown]) + more
