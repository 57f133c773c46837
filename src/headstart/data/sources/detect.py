"""Read labelled photos from a folder, table, archive, named set, or another source's data."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from headstart.core.events import OnProgress
from headstart.core.paths import Place
from headstart.core.text import listed, plural, quoted
from headstart.data.filenames import is_image_name, natural_key, written_alike
from headstart.data.label_sets import labels_in
from headstart.data.readable import by_cause, refuse_lost
from headstart.data.schema import AS_FOUND, Manifest, Photo, ReadOptions
from headstart.data.sources import named
from headstart.data.sources.base import LAYOUTS, SOURCES, Source, local
from headstart.data.sources.columns import StoredPhotos
from headstart.data.sources.given import in_memory, is_given
from headstart.data.sources.tree import leave_out
from headstart.errors import DataError, did_you_mean


def scan(
    data: Place,
    *,
    for_training: bool = True,
    progress: OnProgress | None = None,
    options: ReadOptions = AS_FOUND,
) -> Manifest:
    """All labelled photos of ``data``, not decoded, in natural order of their paths.

    Args:
        data: a folder, a CSV, an archive, a named set (``cifar10``), or what another source accepts.
        for_training: also refuse data with one class, and classes that only val or test has.
        progress: called with bytes while a named set is downloaded.
        options: what is left out, which folders are the classes, and which columns of a table are what, where the data
            leaves that open.

    Raises:
        DataError: no photos with labels. OptionError: an empty ``data``. DownloadError: a named set that cannot be
            downloaded.
    """
    if not is_given(str(data)):
        return _scanned(data, for_training, progress, options)
    try:
        found = _scanned(data, for_training, progress, options)
    except DataError as error:
        told = in_memory(error.problem, str(data)), in_memory("" if error.hint == LAYOUTS else error.hint, str(data))
        raise DataError(*told, option=error.option, lines=[in_memory(one, str(data)) for one in error.lines]) from None
    skipped = tuple(replace(bad, reason=in_memory(bad.reason, str(data))) for bad in found.skipped)
    return replace(found, notes=tuple(in_memory(note, str(data)) for note in found.notes), skipped=skipped)


def _scanned(data: Place, for_training: bool, progress: OnProgress | None, options: ReadOptions) -> Manifest:
    found = replace(_read(str(data), progress, options), several=options.several)
    if for_training:
        refuse_lost(found)
    if not found.photos:
        raise DataError(f"no photos in {data}{_what_was_seen(found)}", LAYOUTS, lines=found.notes)
    if for_training:
        try:
            check_labels(found.photos, str(data), options.several)
        except DataError as error:  # what was left out may be the reason
            raise DataError(error.problem, error.hint, lines=(*error.lines, *found.notes)) from None
    labels = sorted({label for photo in found.photos for label in found.labels_of(photo)}, key=natural_key)
    photos = found.photos if isinstance(found.photos, StoredPhotos) else tuple(found.photos)
    return replace(found, photos=photos, notes=(*found.notes, *written_alike(labels)))


def _read(data: str, progress: OnProgress | None, options: ReadOptions) -> Manifest:
    """Read by the first source that accepts the data."""
    path = local(data)
    for name in SOURCES.names():
        source = SOURCES.get(name)
        if source.accepts(data):
            found = replace(_manifest(source, data, progress, options), source=name)
            if name != "named" and named.is_name(data):
                note = f"{data}: the local {'folder' if path.is_dir() else 'file'} of that name, not the named set"
                found = replace(found, notes=(*found.notes, note))
            return found
    if not os.path.exists(path):
        raise _no_such_path(data, path)
    if is_image_name(path.name):
        raise DataError(f"{path} is one photo; a classifier learns from many, with labels", LAYOUTS)
    raise DataError(
        f"{path} is neither a folder nor a table nor an archive that can be read (.zip, .tar, .tar.gz, ...)", LAYOUTS
    )


def _manifest(source: Source, data: str, progress: OnProgress | None, options: ReadOptions) -> Manifest:
    if "options" in inspect.signature(source.manifest).parameters:
        return source.manifest(data, progress, options=options)  # type: ignore[call-arg]  # not of every source
    found = source.manifest(data, progress)
    return leave_out(found, options.ignore, data)


def check_labels(photos: Iterable[Photo], data: str, several: bool = False) -> None:
    """Raise DataError for labels that cannot be trained on: a single class, or classes that train lacks; ``several``:
    photos have any number of labels.
    """
    splits: dict[str, set[str | None]] = {}
    for photo in photos:
        for label in labels_in(photo.label, several):
            splits.setdefault(label, set()).add(photo.split)
    if several and len(splits) < 2:
        problem = f"{data} has {plural(len(splits), 'label')} only: `labels='multi'` is for two labels or more"
        raise DataError(problem, "For yes or no, give each photo one of two classes.", option="labels")
    if len(splits) == 1:
        raise DataError(f"{data} has one class only ({next(iter(splits))!r}): there is nothing to tell apart", LAYOUTS)
    given = set().union(*splits.values())
    if given == {None}:
        return
    if "train" not in given:
        raise DataError(
            f"{data} has no train split, only {' and '.join(sorted(map(str, given)))}", "Point to the folder above?"
        )
    lacking = sorted((label for label, where in splits.items() if "train" not in where), key=natural_key)
    if lacking:
        where = [f"{label!r} is only in {' and '.join(sorted(map(str, splits[label])))}" for label in lacking]
        raise DataError(
            f"classes that train lacks: {listed(where, separator='; ')}",
            "Every class must have photos in train: add some, leave such classes out with `min_per_class=1`, or"
            " leave out a folder that is no class with `ignore`.",
        )


def _what_was_seen(manifest: Manifest) -> str:
    if manifest.skipped:
        return f" ({listed(by_cause(manifest.skipped, manifest.root), 3, '; ')})"
    try:
        images = [entry.name for entry in os.scandir(manifest.root) if is_image_name(entry.name)]
    except OSError:
        images = []
    if images:
        named = f"no label in their names such as {quoted(min(images))}"
        return f": the {len(images)} images in it have no labels (no class folders, {named}, no table)"
    return ""


def _no_such_path(data: str, path: Path) -> DataError:
    if "://" in data:
        return DataError(f"{data} is an address, not a folder", "Download it first, then name the file.")
    try:
        beside = [str(Path(data).parent / n) for n in os.listdir(path.parent)]
    except OSError:
        beside = []
    close = did_you_mean(data, [*beside, *named.NAMED])
    return DataError(f"no such folder or file: {data}", close or f"Named sets: {', '.join(named.NAMED)}.")
