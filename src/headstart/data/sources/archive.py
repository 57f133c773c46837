"""Photos in a .zip or .tar file (compressed or not), unpacked into the cache once per content.

Nothing in an archive is trusted: names that lead elsewhere are refused, links and devices are never made, and what
comes out is bounded while it comes out, whatever the headers promise.
"""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import os
import re
import shutil
import stat
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from headstart.core.events import OnProgress
from headstart.core.paths import cache_dir
from headstart.data.filenames import is_hidden
from headstart.data.schema import Manifest
from headstart.data.sources.base import local
from headstart.data.sources.folder import folder_manifest
from headstart.errors import DataError

MAX_FILES = 5_000_000
MAX_BYTES = 1 << 40
# Photos are compressed already: an archive of them hardly grows. Uncompressed bitmaps may, black ones a lot; a bomb
# grows a thousandfold.
MAX_RATIO = 100
SMALL = 64 << 20
_NOTES = ".headstart-notes.json"
_SUFFIXES = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
_FOREIGN = re.compile(r"\.(7z|rar|zst|tar\.zst|lz4|cab|dmg|iso)$", re.IGNORECASE)
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError,
)  # fmt: skip


@dataclass(frozen=True)
class Unpacked:
    """The folder with an archive's files, and what is worth telling about them."""

    path: Path
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Member:
    """One entry of an archive: its name, the size it claims, how to open it (None where it is no plain file)."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None] | None
    is_folder: bool = False


class ArchiveSource:
    """An archive of anything that a folder may hold."""

    def accepts(self, data: str) -> bool:
        path = local(data)
        return os.path.exists(path) and is_archive(path)

    def manifest(self, data: str, progress: OnProgress | None = None) -> Manifest:
        path = local(data)
        unpacked = unpack(path)
        found = folder_manifest(unpacked.path, within=unpacked.path)
        layout, notes = f"archive of {found.layout}", (*unpacked.notes, *found.notes)
        return replace(found, name=_SUFFIXES.sub("", path.name), layout=layout, notes=notes)


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that can be unpacked; ``DataError`` where only its name says so."""
    if _FOREIGN.search(path.name):
        raise DataError(
            f"{path}: archives of this kind cannot be read",
            "Unpack it, and name the folder; or pack it as .zip or .tar.gz.",
        )
    try:
        found = zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except (OSError, *_DAMAGE) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    if not found and _SUFFIXES.search(path.name):
        raise DataError(
            f"{path} is damaged or no archive (its first and last bytes are not those of one)", "Fetch it again."
        )
    return found


def unpack(path: Path) -> Unpacked:
    """The archive's files in the cache, in a folder named by its SHA-256; there already when unpacked before.

    Hidden and operating-system files are left out, links and devices too (and a note says so).

    Raises:
        DataError: names that lead out of the folder, more than ``MAX_FILES`` files or ``MAX_BYTES`` bytes, growth
        beyond ``MAX_RATIO``, damage, passwords and a full disk.
    """
    home = cache_dir() / "archives"
    try:
        target = home / _digest(path)[:20]
        if not (target / _NOTES).is_file():
            unpack_to(path, target)
        return Unpacked(target, tuple(json.loads((target / _NOTES).read_text(encoding="utf-8"))))
    except OSError as error:
        full = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise DataError(
            f"{path} could not be unpacked to {home} ({full})", "Make room, or set HEADSTART_CACHE to another folder."
        ) from error


def unpack_to(path: Path, target: Path) -> None:
    """As ``unpack``, to a folder of the caller's choice.

    It is made beside the target and renamed at the end, so that a target is always whole; the first of two processes
    wins.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.parent / f".unpacking-{uuid.uuid4().hex}"
    work.mkdir()  # not mkdtemp, whose folders only their owner can read
    try:
        notes = _extract(path, work)
        (work / _NOTES).write_text(json.dumps(notes), encoding="utf-8")
        try:
            os.rename(work, target)
        except OSError:
            if not (target / _NOTES).is_file():
                raise
    except _DAMAGE as error:
        raise DataError(
            f"{path} is damaged ({str(error) or type(error).__name__})", "Fetch or pack it again."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(path: Path, folder: Path) -> list[str]:
    budget = Budget(path)
    left_out = 0
    for member in _zip_members(path) if zipfile.is_zipfile(path) else _tar_members(path):
        budget.file(member.size)
        parts = _parts(member.name, path)
        if member.is_folder or not parts or any(is_hidden(part) for part in parts):
            continue
        if member.open is None:
            left_out += 1
            continue
        to = folder.joinpath(*parts)
        to.parent.mkdir(parents=True, exist_ok=True)
        source = member.open()
        if source is None:
            raise tarfile.ReadError(f"{member.name} has no content")
        with source, open(to, "wb") as out:
            while chunk := source.read(1 << 18):
                budget.written(len(chunk))
                out.write(chunk)
    return [f"{left_out} links or devices in {path.name} were left out"] if left_out else []


class Budget:
    """What may come out of one archive, plural as promised (``file``) and as written: headers may lie."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.limit = min(MAX_BYTES, SMALL + MAX_RATIO * path.stat().st_size)
        self.files = self.promised = self.bytes = 0

    def file(self, size: int) -> None:
        self.files += 1
        self.promised += size
        if self.files > MAX_FILES:
            raise DataError(f"{self.path} holds more than {MAX_FILES:,} files; it was not unpacked")
        self._check(self.promised)

    def written(self, size: int) -> None:
        self.bytes += size
        self._check(self.bytes)

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise DataError(
                f"{self.path} would unpack to more than {self.limit:,} bytes, which its size does not explain: refused",
                "If you trust it, unpack it yourself and name the folder.",
            )


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            plain = not stat.S_IFMT(mode) or stat.S_ISREG(mode)
            if info.flag_bits & 1:
                raise DataError(f"{path} is locked with a password", "Unpack it yourself and name the folder.")
            opener = (lambda info=info: archive.open(info)) if plain else None
            yield Member(info.filename, info.file_size, opener, info.is_dir())


def _tar_members(path: Path) -> Iterator[Member]:
    with tarfile.open(path, "r:*") as archive:
        for info in archive:
            opener = (lambda info=info: archive.extractfile(info)) if info.isreg() else None
            yield Member(info.name, info.size, opener, info.isdir())


def _parts(name: str, path: Path) -> list[str]:
    """The folders and file that a member's name means; ``DataError`` where it leads elsewhere on any system."""
    parts = name.replace("\\", "/").split("/")
    if name[:1] in ("/", "\\") or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise DataError(
            f"{path} holds a file that would land outside its folder ({name!r}); it was not unpacked",
            "Do not trust it.",
        )
    return [part for part in parts if part not in ("", ".")]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
