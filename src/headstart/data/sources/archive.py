"""Photos in a .zip or .tar file (compressed or not), unpacked into the cache once per content.

Archives are not trusted: names that lead out of the folder are refused, links and devices are never created, and sizes
are limited while files are written, whatever the headers say.
"""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple, cast

from headstart.core.events import OnProgress
from headstart.core.files import new_folder
from headstart.core.paths import cache_dir
from headstart.data.filenames import is_hidden
from headstart.data.schema import Manifest
from headstart.data.sources.base import local
from headstart.data.sources.folder import folder_manifest
from headstart.errors import DataError

MAX_FILES = 5_000_000
MAX_BYTES = 1 << 40
# Photos are already compressed: unpacking hardly enlarges them. Uncompressed bitmaps grow, black ones a lot, and a bomb
# grows a thousandfold.
MAX_RATIO = 100
SMALL = 64 << 20
_NOTES = ".headstart-notes.json"
_SUFFIXES = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
_FOREIGN = re.compile(r"\.(7z|rar|zst|tar\.zst|lz4|cab|dmg|iso)$", re.IGNORECASE)
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError,
)  # fmt: skip


class Member(NamedTuple):
    """One entry of an archive: its name, its size by the header, how to open it (None where it is not a plain file)."""

    name: str
    size: int
    open: Callable[[], IO[bytes]] | None
    is_folder: bool = False


class ArchiveSource:
    """An archive of anything that a folder may contain."""

    def accepts(self, data: str) -> bool:
        path = local(data)
        return os.path.exists(path) and is_archive(path)

    def manifest(self, data: str, progress: OnProgress | None = None) -> Manifest:
        path = local(data)
        folder, notes = unpack(path)
        found = folder_manifest(folder, within=folder)
        name, layout = _SUFFIXES.sub("", path.name), f"archive of {found.layout}"
        return replace(found, name=name, layout=layout, notes=(*notes, *found.notes))


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that can be unpacked. Raises DataError for a damaged one, and other formats."""
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
        raise DataError(f"{path} is damaged or no archive (by its first and last bytes)", "Download it again.")
    return found


def unpack(path: Path) -> tuple[Path, list[str]]:
    """Unpack the archive into the cache, once, to a folder named by its SHA-256; returns that folder and notes.

    Hidden and operating-system files are left out, links and devices too (with a note).

    Raises:
        DataError: names that lead out of the folder, more than ``MAX_FILES`` files or ``MAX_BYTES`` bytes, growth
        beyond ``MAX_RATIO``, damage, passwords and a full disk.
    """
    home = cache_dir() / "archives"
    try:
        with open(path, "rb") as file:
            target = home / hashlib.file_digest(file, "sha256").hexdigest()[:20]
        if not (target / _NOTES).is_file():
            unpack_to(path, target)
        return target, json.loads((target / _NOTES).read_text(encoding="utf-8"))
    except OSError as error:
        full = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise DataError(
            f"{path} could not be unpacked to {home} ({full})", "Make room, or set HEADSTART_CACHE to another folder."
        ) from error


def unpack_to(path: Path, target: Path) -> None:
    """As ``unpack``, to a given folder, which is always complete."""
    try:
        with new_folder(target) as work:
            (work / _NOTES).write_text(json.dumps(_extract(path, work)), encoding="utf-8")
    except _DAMAGE as error:
        raise DataError(
            f"{path} is damaged ({str(error) or type(error).__name__})", "Download or pack it again."
        ) from error


def _extract(path: Path, folder: Path) -> list[str]:
    headers, written = Budget(path), Budget(path)  # both limited, since headers may be wrong
    left_out = 0
    for number, member in enumerate(_members(path), 1):
        if number > MAX_FILES:
            raise DataError(f"{path} has more than {MAX_FILES:,} files; it was not unpacked")
        headers.spend(member.size)
        parts = _parts(member.name, path)
        if member.is_folder or not parts or any(is_hidden(part) for part in parts):
            continue
        if member.open is None:
            left_out += 1
            continue
        to = folder.joinpath(*parts)
        to.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, open(to, "wb") as out:
            while chunk := source.read(1 << 18):
                written.spend(len(chunk))
                out.write(chunk)
    return [f"{left_out} links or devices in {path.name} were left out"] if left_out else []


class Budget:
    """The bytes that an archive may unpack to."""

    def __init__(self, path: Path) -> None:
        self.path, self.spent = path, 0
        self.limit = min(MAX_BYTES, SMALL + MAX_RATIO * path.stat().st_size)

    def spend(self, size: int) -> None:
        self.spent += size
        if self.spent > self.limit:
            raise DataError(
                f"{self.path} would unpack to more than {self.limit:,} bytes, too many for its size: refused",
                "If you trust it, unpack it yourself and name the folder.",
            )


def _members(path: Path) -> Iterator[Member]:
    if not zipfile.is_zipfile(path):
        with tarfile.open(path, "r:*") as tar:
            for entry in tar:
                opener = (lambda entry=entry: cast(IO[bytes], tar.extractfile(entry))) if entry.isreg() else None
                yield Member(entry.name, entry.size, opener, entry.isdir())
        return
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            plain = not stat.S_IFMT(mode) or stat.S_ISREG(mode)
            if info.flag_bits & 1:
                raise DataError(f"{path} is locked with a password", "Unpack it yourself and name the folder.")
            opener = (lambda info=info: archive.open(info)) if plain else None
            yield Member(info.filename, info.file_size, opener, info.is_dir())


def _parts(name: str, path: Path) -> list[str]:
    """The folders and file of a member's name. Raises DataError where it leads out of the folder on any system."""
    parts = name.replace("\\", "/").split("/")
    if name[:1] in ("/", "\\") or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise DataError(
            f"{path} has a file that would be written outside its folder ({name!r}); it was not unpacked",
            "Do not trust it.",
        )
    return [part for part in parts if part not in ("", ".")]
