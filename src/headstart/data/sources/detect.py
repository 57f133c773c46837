"""What a user's data is. In: a folder, table, archive or named set. Out: a ``Manifest``, or a ``DataError``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from headstart.core.download import Progress
from headstart.data.filenames import TABLE_SUFFIXES, is_image_name, natural_key, shown
from headstart.data.schema import Manifest, Photo
from headstart.data.sources import archive, named
from headstart.data.sources.folder import Folders, Layout, flat_names, read_layout
from headstart.data.sources.table import lists_photos, read_table
from headstart.errors import DataError, did_you_mean

_LAYOUTS = (
    "Photos are found in class folders (cats/1.jpg), split folders (train/cats/1.jpg), one folder of label.123.jpg "
    "names, a CSV with the columns path and label, or a .zip or .tar of these."
)


def scan(
    data: str | Path, name: str | None = None, *, for_training: bool = True, progress: Progress | None = None
) -> Manifest:
    """All labelled photos of ``data``, nothing decoded yet, in natural order of their paths.

    ``data``: a folder, a CSV, an archive, or a named set (``cifar10``); ``name``: what to call it (default: its own
    name). ``for_training`` also refuses data with one class, and classes that only val or test hold; for an evaluation
    these are fine. Raises ``DataError`` (``DownloadError`` for a named set that cannot be fetched).
    """
    manifest = _find(str(data), progress)
    manifest = replace(manifest, name=name or manifest.name, photos=tuple(manifest.photos))
    if not manifest.photos:
        raise DataError(f"no photos in {data}{_what_was_seen(manifest)}", _LAYOUTS)
    if for_training:
        check_labels(manifest.photos, str(data))
    return replace(manifest, notes=(*manifest.notes, *_alike(manifest.photos)))


def check_labels(photos: Iterable[Photo], data: str) -> None:
    """Raise ``DataError`` for labels that nothing can be learned from: a single class, or classes not in train."""
    splits: dict[str, set[str | None]] = {}
    for photo in photos:
        splits.setdefault(photo.label, set()).add(photo.split)
    if len(splits) == 1:
        raise DataError(f"{data} has one class only ({next(iter(splits))!r}): there is nothing to tell apart", _LAYOUTS)
    given = set().union(*splits.values())
    if given == {None}:
        return
    if "train" not in given:
        raise DataError(
            f"{data} has no train split, only {' and '.join(sorted(map(str, given)))}", "Point to the folder above?"
        )
    lacking = sorted((label for label, where in splits.items() if "train" not in where), key=natural_key)
    if lacking:
        named_ones = "; ".join(
            f"{label!r} is only in {' and '.join(sorted(map(str, splits[label])))}" for label in lacking[:5]
        )
        more = f"; and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise DataError(
            f"classes that train does not hold: {named_ones}{more}", "Every class must have photos in train."
        )


def _find(data: str, progress: Progress | None) -> Manifest:
    path = Path(os.path.abspath(os.path.expanduser(data)))
    if os.path.exists(path):
        found = _local(path)
        if not named.is_name(data):
            return found
        kind = "folder" if path.is_dir() else "file"
        return replace(found, notes=(*found.notes, f"{data}: the local {kind} of that name, not the named set"))
    known = named.find(data, progress)
    if known is None:
        raise _no_such_path(data, path)
    found = _local(known.path)
    layout = f"named set {known.name}: {found.layout}"
    return replace(found, name=known.name, layout=layout, notes=(*found.notes, *known.notes))


def _local(path: Path) -> Manifest:
    if path.is_dir():
        if (path / "request.json").is_file() and (path / "splits.csv").is_file():
            raise DataError(f"{path} is a run, not photos", "Name the photos that it was trained on, or others.")
        return _folder(path)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _table(path)
    if archive.is_archive(path):
        unpacked = archive.unpack(path)
        found = _folder(unpacked.path, within=unpacked.path)
        layout = f"archive of {found.layout}"
        return replace(found, name=archive.stem(path.name), layout=layout, notes=(*unpacked.notes, *found.notes))
    if is_image_name(path.name):
        raise DataError(f"{path} is one photo; a classifier learns from many, with labels", _LAYOUTS)
    raise DataError(
        f"{path} is neither a folder nor a table nor an archive that can be read (.zip, .tar, .tar.gz, ...)", _LAYOUTS
    )


def _folder(root: Path, within: Path | None = None) -> Manifest:
    """A folder's manifest: by its layout, else by the one table or folder in it, else by labels in file names."""
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
    found = _folder(inner, within)
    if len({p.label for p in found.photos}) < 2:
        return None
    return replace(found, notes=(f"photos taken from the one folder in it, {inner.name}/", *found.notes))


def _table(path: Path, within: Path | None = None) -> Manifest:
    table = read_table(path, within)
    photos = tuple(sorted(table.photos, key=lambda p: natural_key(str(p.path))))
    return Manifest(path.parent, path.stem, "CSV", photos, tuple(table.skipped), tuple(table.notes))


def _tables(folders: Folders) -> list[Path]:
    names = [n for n in folders.contents(str(folders.root)).others if os.path.splitext(n)[1].lower() in TABLE_SUFFIXES]
    return [folders.root / n for n in names if lists_photos(folders.root / n)]


def _one_table(tables: list[Path], within: Path | None) -> Manifest:
    if len(tables) > 1:
        names = ", ".join(t.name for t in tables)
        raise DataError(f"{tables[0].parent} holds several tables: {names}", "Name the one that is meant as the data.")
    return _table(tables[0], within)


def _what_was_seen(manifest: Manifest) -> str:
    if manifest.skipped:
        return f" ({shown(manifest.skipped[0].path, manifest.root)}: {manifest.skipped[0].reason})"
    try:
        images = sum(is_image_name(entry.name) for entry in os.scandir(manifest.root))
    except OSError:
        images = 0
    if images:
        return f": the {images} images in it have no labels (no class folders, no label in their names, no table)"
    return f" ({manifest.notes[0]})" if manifest.notes else ""


def _alike(photos: Iterable[Photo]) -> list[str]:
    """A note on classes that differ in case only, which are rarely meant to be two."""
    labels = Counter(p.label for p in photos)
    folded: dict[str, list[str]] = {}
    for label in sorted(labels, key=natural_key):
        folded.setdefault(label.casefold(), []).append(label)
    pairs = [" and ".join(repr(w) for w in words) for words in folded.values() if len(words) > 1]
    return [f"classes that differ in case only: {'; '.join(pairs[:5])}"] if pairs else []


def _no_such_path(data: str, path: Path) -> DataError:
    if "://" in data:
        return DataError(f"{data} is an address, not a folder", "Download it first, then name the file.")
    try:
        beside = [str(Path(data).parent / n) for n in os.listdir(path.parent)]
    except OSError:
        beside = []
    close = did_you_mean(data, [*beside, *named.NAMED])
    return DataError(f"no such folder or file: {data}", close or f"Named sets: {', '.join(named.NAMED)}.")
