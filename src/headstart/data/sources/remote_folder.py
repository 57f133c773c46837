"""Folders of photos in an object store, by the same rules as folders here: the names are laid out as empty files in a
temporary folder, tables among them whole, and what reads folders reads that. Photos stay where they are.
"""

from __future__ import annotations

import errno
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

from headstart.core.text import plural
from headstart.data.bounds import MAX_BYTES
from headstart.data.filenames import is_companion, is_image_name, raw_problem, shown
from headstart.data.schema import BadFile, ImageRef, Manifest, ReadOptions
from headstart.data.sources.addresses import address_of
from headstart.data.sources.archive import safe_parts
from headstart.data.sources.columns import Columns, Row, StoredPhotos
from headstart.data.sources.folder import folder_manifest
from headstart.data.sources.packed import ARCHIVE, FOREIGN
from headstart.data.sources.stores import Elsewhere, Listing
from headstart.data.sources.table_reading import SUFFIXES
from headstart.data.sources.tree import is_ignored
from headstart.errors import DataError

MOST = 1_000_000
"""Files of a folder elsewhere: each is one request."""
LARGEST_TABLE = 256 << 20
"""Bytes: a line for each of so many files."""


@dataclass(frozen=True)
class FileReader:
    """Reads whole files by their number."""

    store: Elsewhere
    paths: tuple[str, ...]

    def read(self, at: int, size: int) -> bytes:
        return self.store.whole(self.paths[at])


@dataclass(frozen=True)
class RemotePhoto:
    """A photo elsewhere, by its address: a request of its own. ``key``: its name in the store."""

    written: str
    store: Elsewhere
    key: str
    size: int

    @property
    def path(self) -> Path:
        """Where it is; of the address's slashes a path keeps one."""
        return Path(self.written)

    @property
    def name(self) -> str:
        return self.path.name

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:
        """The encoded image. Raises OSError where it is larger than any photo; DownloadError."""
        if self.size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"too large: a file of {self.size / 1e9:.1f} GB")
        return io.BytesIO(self.store.whole(self.key))


def remote_photos(found: Listing, store: Elsewhere) -> tuple[list[ImageRef], list[BadFile]]:
    """The photos below an address in whatever folders, and the files beside them that are none."""
    photos: list[ImageRef] = []
    skipped = []
    for file in found.files:
        path = found.root / file.name
        if is_image_name(file.name):
            photos.append(RemotePhoto(address_of(path) or str(path), store, file.path, file.size))
        elif not is_companion(path.name):
            skipped.append(BadFile(path, raw_problem(file.name) or "not an image"))
    return photos, skipped


def remote_manifest(found: Listing, store: Elsewhere, data: str, options: ReadOptions) -> Manifest:
    """The photos below an address. Raises DataError, also for more files than ``MOST``."""
    if len(found.files) > MOST:
        problem = f"{data} has {plural(len(found.files), 'file')}, and each would be a request of its own"
        raise DataError(problem, "Pack them into shards first: `hs.pack(DATA, OUT)`.")
    with tempfile.TemporaryDirectory(prefix="headstart-") as work:
        here = Path(work) / (found.root.name or "photos")
        by_name = _laid_out(here, found, store, data, options.ignore)
        told = folder_manifest(here, within=here, options=options, title=data.rstrip("/"))
        rows = []
        for photo in told.photos:
            number = by_name[name := shown(photo.path, here)]
            rows.append(Row(name, photo.label, photo.split, photo.group, number, found.files[number].size))
        skipped = tuple(BadFile(found.root / shown(bad.path, here), bad.reason, bad.label) for bad in told.skipped)
    reader = FileReader(store, tuple(file.path for file in found.files))
    photos = StoredPhotos(found.root, [Columns.of(rows)], [reader], [""]) if rows else ()
    return replace(
        told, root=found.root, name=found.name, layout=f"{told.layout}, read in place", photos=photos, skipped=skipped
    )


def _laid_out(here: Path, found: Listing, store: Elsewhere, data: str, ignore: Sequence[str]) -> dict[str, int]:
    """Write the files' names below ``here``; returns their numbers by the names there. Raises DataError for a name that
    no file here can have, and for a table that is too large to fetch: it may hold the labels.
    """
    here.mkdir()
    numbers: dict[str, int] = {}
    for number, file in enumerate(found.files):
        parts = safe_parts(file.name, data)
        target = here.joinpath(*parts)
        table = target.suffix.lower() in SUFFIXES
        if table and file.size > LARGEST_TABLE and not is_ignored(file.name, ignore):
            raise DataError(
                f"{data} holds a table of {file.size >> 20:,} MB ({file.name}); at most {LARGEST_TABLE >> 20} are read",
                f"Name a smaller table as the data, or leave it out: `ignore={file.name!r}`.",
            )
        if not (table or is_image_name(file.name) or ARCHIVE.search(file.name) or FOREIGN.search(file.name)):
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(store.whole(file.path) if table and file.size <= LARGEST_TABLE else b"")
        except OSError as error:
            raise DataError(f"{data}: no file here can be named {file.name} ({error.strerror or error})") from error
        if numbers.setdefault("/".join(parts), number) != number:
            raise DataError(f"{data} holds two files {'/'.join(parts)}", "Give each a name of its own.")
    return numbers
