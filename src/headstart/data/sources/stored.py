"""Labelled photos that are read in place: from shards (WebDataset tar files, Parquet files with images, Arrow folders
of Hugging Face's ``save_to_disk``) here or in an object store, and from folders in an object store.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from headstart.core.array_store import RowStore
from headstart.core.events import OnProgress
from headstart.core.text import listed, plural
from headstart.data.filenames import IMAGE_SUFFIXES, is_companion, is_hidden, is_image_name, split_of
from headstart.data.schema import AS_FOUND, BadFile, ImageRef, Manifest, Photo, ReadOptions, Split
from headstart.data.sources import arrow_folder, parquet_shards, tar_shards
from headstart.data.sources.addresses import is_pattern, scheme_of
from headstart.data.sources.arrow_columns import PARQUET_SUFFIXES
from headstart.data.sources.base import local
from headstart.data.sources.columns import Columns, Reader, Row, StoredPhotos
from headstart.data.sources.packed import ARCHIVE, FOREIGN
from headstart.data.sources.remote_folder import remote_manifest, remote_photos
from headstart.data.sources.shard_facts import Shard, resolved, split_of_shard, unique_names, without_label
from headstart.data.sources.stores import (
    Elsewhere,
    Here,
    Listing,
    Store,
    StoredFile,
    list_files,
)
from headstart.data.sources.tree import is_ignored, leave_out
from headstart.errors import DataError

SHARDS = (".tar", *PARQUET_SUFFIXES)
FORMAT = 2
"""Increased when a shard of the same bytes gives other rows than before."""


class StoredSource:
    """Shards, and addresses of an object store."""

    def accepts(self, data: str) -> bool:
        if scheme_of(data) is not None or is_pattern(data):
            return True
        path = local(data)
        if os.path.isdir(path):  # unlike Path.is_dir, no error for a name that no file can have
            return arrow_folder.is_saved_set(path) or _only_shards(path)
        if not os.path.isfile(path):
            return False
        size = path.stat().st_size
        if path.suffix.lower() in PARQUET_SUFFIXES:
            return parquet_shards.has_images(Here(), str(path), size)
        if path.suffix.lower() != ".tar":
            return False
        with Here().open(str(path), size) as file:
            return tar_shards.is_labelled(file, str(path))

    def manifest(self, data: str, progress: OnProgress | None = None, options: ReadOptions = AS_FOUND) -> Manifest:
        found = _listed(data)
        form, files = _form(found, data, options.ignore)
        if form is None:
            assert isinstance(found.store, Elsewhere)
            return remote_manifest(found, found.store, data, options)
        shards = _indexed(files, form(found, options), options, progress or (lambda done, total: None))
        return leave_out(_together(found, shards, data, LAYOUTS[form], options), options.ignore, data)

    def photos(self, data: str) -> tuple[list[ImageRef], list[BadFile]]:
        """All photos, whether or not they have a label, and the files beside them that are none. Raises DataError,
        DownloadError.
        """
        found = _listed(data)
        form, files = _form(found, data, ())
        if form is None:
            assert isinstance(found.store, Elsewhere)
            return remote_photos(found, found.store)
        shards = _indexed(files, form(found, AS_FOUND), AS_FOUND, lambda done, total: None)
        return list(_photos_of(found, unique_names(shards, data))), []


def _together(found: Listing, shards: list[Shard], data: str, layout: str, options: ReadOptions) -> Manifest:
    """One manifest of all shards. Raises DataError."""
    shards, notes = resolved(shards, found, data, options.split_column != "none")
    if pictures := sum(is_image_name(file.name) for file in found.files):
        notes.append(f"{plural(pictures, 'picture')} beside the shards not read")
    shards, bad = without_label(shards, found.root)
    return Manifest(found.root, found.name, layout, _photos_of(found, shards), tuple(bad), tuple(notes))


def _photos_of(found: Listing, shards: Sequence[Shard]) -> Sequence[Photo]:
    some = [one for one in shards if len(one.rows)]
    titles = [one.file.name for one in some]
    return StoredPhotos(found.root, [one.rows for one in some], [one.reader for one in some], titles) if some else ()


Opened = Callable[[StoredFile], tuple[Reader, Callable[[], Iterable[Row]]]]
"""What reads the photos of a shard, and what lists them."""
Form = Callable[[Listing, ReadOptions], Opened]


def _listed(data: str) -> Listing:
    """The files of the data; of a set of the Hugging Face hub without any that can be read, those that the hub made of
    it: Parquet, of each configuration.
    """
    if scheme_of(data) and (ARCHIVE.search(data) or FOREIGN.search(data)) and not data.lower().endswith(".tar"):
        problem = f"{data} is an address of an archive, which cannot be read in place"
        raise DataError(problem, "Download it first, then name the file.")
    found = list_files(data)
    repository = re.fullmatch(r"hf://datasets/[^/@]+(/[^/@]+)?/?", data)
    readable = (*SHARDS, *IMAGE_SUFFIXES)
    if not repository or any(file.suffix in readable for file in found.files):
        return found
    made = f"{data.rstrip('/')}@refs/convert/parquet"
    found = list_files(made)
    kinds = sorted({file.name.partition("/")[0] for file in found.files if file.suffix in SHARDS})
    if len(kinds) > 1:
        raise DataError(f"{data} has several configurations: {listed(kinds)}", f"Name one: {made}/{kinds[0]}.")
    return found


def _names(path: Path) -> set[str]:
    try:
        return set(os.listdir(path))
    except OSError:
        return set()


def _only_shards(path: Path) -> bool:
    """Whether a folder, or the folders of splits in it, hold shards and nothing that could be photos otherwise."""
    any_shard = False
    folders = [path]
    for folder in folders:
        for name in _names(folder):
            if is_hidden(name):
                continue
            suffix = os.path.splitext(name)[1].lower()
            if (folder / name).is_dir():
                if folder != path or split_of(name) is None:
                    return False
                folders.append(folder / name)
            elif suffix == ".tar":
                any_shard = True
            elif suffix in PARQUET_SUFFIXES:
                if not _is_parquet_of_images(Here(), str(folder / name), (folder / name).stat().st_size):
                    return False
                any_shard = True
            elif not is_companion(name):
                return False
    return any_shard


def _is_parquet_of_images(store: Store, path: str, size: int) -> bool:
    with suppress(DataError, OSError):  # among photos it may be anything
        return parquet_shards.has_images(store, path, size)
    return False


def _form(found: Listing, data: str, ignore: Sequence[str]) -> tuple[Form | None, list[StoredFile]]:
    """How the files are to be read, and which of them are shards; None for photos in folders elsewhere."""
    there = {form: files for form, files in _shards(found, data, ignore).items() if files}
    if len(there) > 1:
        names = listed([files[0].name for files in there.values()])
        raise DataError(f"{data} has shards of several kinds ({names})", "Name those of one kind: `photos/*.tar`.")
    if there:
        return next(iter(there.items()))
    packed = [f.name for f in found.files if f.name.lower().endswith((".zip", ".tar.gz", ".tgz", ".zst", ".tar.bz2"))]
    if packed and len(packed) == len(found.files):
        raise DataError(
            f"{data}: {listed(packed, 3)} cannot be read in place", "Use plain .tar shards, or unpack them."
        )
    if not isinstance(found.store, Elsewhere):
        raise DataError(
            f"{data} names no shards (.tar, .parquet)", "Name a folder, or shards: `photos-{000..099}.tar`."
        )
    return None, []


def _shards(found: Listing, data: str, ignore: Sequence[str]) -> dict[Form, list[StoredFile]]:
    """The shards among the files. Raises DataError where photos lie beside them in a store: either may be the data. On
    the hub they are pictures of the README.
    """
    tars = [file for file in found.files if file.suffix == ".tar"]
    parquets = [file for file in found.files if file.suffix in PARQUET_SUFFIXES]
    if not isinstance(found.store, Elsewhere):
        return {_tars: tars, _parquets: parquets, _arrows: arrow_folder.files_of_set(found.files)}
    photo = next((file.name for file in found.files if is_image_name(file.name)), None)
    if photo is not None and scheme_of(data) != "hf":
        tars = [file for file in tars if not is_ignored(file.name, ignore)]
        parquets = [file for file in parquets if not is_ignored(file.name, ignore)]
        parquets = [file for file in parquets if _is_parquet_of_images(found.store, file.path, file.size)]
        if shards := tars or parquets:
            raise _unclear(data, photo, shards[0])
    kinds = {file.suffix for file in found.files}
    if arrow_folder.SUFFIX in kinds and any(file.name.endswith(arrow_folder.STATE) for file in found.files):
        problem = f"{data}: Arrow files are mapped from a disk, and cannot be read in place elsewhere"
        raise DataError(problem, "Write them as Parquet (`Dataset.to_parquet`), or copy the folder here.")
    return {_tars: tars, _parquets: parquets}


def _unclear(data: str, photo: str, shard: StoredFile) -> DataError:
    every = "/".join(filter(None, (data.rstrip("/"), shard.name.rpartition("/")[0], f"*{shard.suffix}")))
    return DataError(
        f"{data} holds photos ({photo}) and shards ({shard.name}): which of them are the data is not clear",
        f"Name the shards, `{every}`, or leave them out: `ignore='*{shard.suffix}'`.",
    )


def _tars(found: Listing, options: ReadOptions) -> Opened:
    return lambda file: (
        tar_shards.TarReader(found.store, file.path),
        partial(tar_shards.index, file, found.store, options),
    )


def _part(file: StoredFile, options: ReadOptions) -> Split | None:
    return None if options.split_column == "none" else split_of_shard(file)


def _parquets(found: Listing, options: ReadOptions) -> Opened:
    groups = parquet_shards.RowGroups(found.store, options)
    return lambda file: (
        parquet_shards.ParquetReader(groups, file),
        partial(parquet_shards.index, file, found.store, options, _part(file, options)),
    )


def _arrows(found: Listing, options: ReadOptions) -> Opened:
    def opened(file: StoredFile) -> tuple[Reader, Callable[[], Iterable[Row]]]:
        reader = arrow_folder.ArrowReader(file, options)
        return reader, partial(reader.rows, _part(file, options))

    return opened


def _indexed(files: Sequence[StoredFile], opened: Opened, options: ReadOptions, progress: OnProgress) -> list[Shard]:
    """The shards with their rows: from the cache, which is opened once, where it has them."""
    store, shards = RowStore(f"shards-v{FORMAT}", "uint8"), []
    for number, file in enumerate(files, 1):
        reader, rows = opened(file)
        shards.append(Shard(file, _cached(store, file, options, rows), reader))
        progress(number, len(files))
    return shards


def _cached(store: RowStore, file: StoredFile, options: ReadOptions, rows: Callable[[], Iterable[Row]]) -> Columns:
    """The rows of a shard, from the cache where it has them: by the file's path, size and time of change or tag."""
    asked = (FORMAT, file.name, options.label_column, options.split_column, options.group_column, options.path_column)
    key = hashlib.blake2b(repr((file.key, *asked, options.several)).encode(errors="surrogateescape"), digest_size=16)
    kept = store.get(digest := key.hexdigest()) if file.stamp else None
    if kept is not None:
        return Columns.from_bytes(kept)
    made = Columns.of(rows())
    if file.stamp:
        with store.writing() as writer:
            writer.add(digest, made.to_bytes())
    return made


LAYOUTS: dict[Form, str] = {
    _tars: "WebDataset shards", _parquets: "Parquet with images", _arrows: "Hugging Face data set",
}  # fmt: skip
