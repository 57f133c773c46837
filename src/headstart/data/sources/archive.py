"""Photos in a .zip or .tar file (compressed or not), unpacked into the cache once per content.

Archives are not trusted: names that lead out of the folder are refused, links and devices are never created, and sizes
are limited while files are written, whatever the headers say.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from headstart.core.cached_folders import open_folder
from headstart.core.events import OnProgress
from headstart.core.eviction import FOLDERS
from headstart.core.files import new_folder
from headstart.core.paths import cache_dir
from headstart.core.text import first_line, plural, quoted
from headstart.data.filenames import is_hidden
from headstart.data.schema import AS_FOUND, Manifest, ReadOptions
from headstart.data.sources.base import local
from headstart.data.sources.folder import folder_manifest
from headstart.data.sources.packed import ARCHIVE, FOREIGN
from headstart.errors import DataError

MAX_FILES = 5_000_000
MAX_DEPTH = 100
"""Folders within folders: deeper ones are no photos, and more than Python's recursion bears."""
MAX_BYTES = 1 << 40
# Photos are already compressed: unpacking hardly enlarges them. Uncompressed bitmaps grow, black ones a lot, and a bomb
# grows a thousandfold.
MAX_RATIO = 100
SMALL = 64 << 20
MAX_FILL = 0.95
"""Share of the free disk that may be filled."""
MAX_HEADER = 1 << 20
"""Bytes that are read at once: tarfile reads a header of any claimed length into memory."""
EXAMPLES = 3
_GUESSED = "names in an unknown encoding"
"""Among the reasons for what is left out, though nothing is."""
_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open, b"]\0\0": lzma.open,
}  # fmt: skip
# What zipfile, tarfile and the decompressors raise for bytes that are not as they should be.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError),
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError),
)
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_NAMES = {6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 96: "JPEG", 98: "PPMd"}
_TAKEN = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
_NO_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


class Member(NamedTuple):
    """One entry of an archive: its name, its size by the header, how to open it (None where it is not a plain file)."""

    name: str
    size: int
    open: Callable[[], IO[bytes]] | None
    is_folder: bool = False
    same_as: str = ""
    """The name of an earlier member that is the same file: a hard link."""
    guessed: bool = False
    """Whether nothing says in which encoding the name is."""


class ArchiveSource:
    """An archive of anything that a folder may contain."""

    def accepts(self, data: str) -> bool:
        path = local(data)
        return os.path.isfile(path) and is_archive(path)

    def manifest(self, data: str, progress: OnProgress | None = None, options: ReadOptions = AS_FOUND) -> Manifest:
        path = local(data)
        folder, notes = unpack(path)
        try:
            found = folder_manifest(folder, within=folder, options=options, title=str(path))
        except DataError as error:  # what was left out may be the reason
            raise DataError(error.problem, error.hint, lines=(*error.lines, *notes)) from error
        name, layout = ARCHIVE.sub("", path.name), f"archive of {found.layout}"
        return replace(found, name=name, layout=layout, notes=(*notes, *found.notes))


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that can be unpacked. Raises DataError for a damaged one, and other formats."""
    if FOREIGN.search(path.name):
        raise DataError(
            f"{path}: archives of this kind cannot be read",
            "Unpack it, and name the folder; or pack it as .zip or .tar.gz.",
        )
    try:
        found = _is_zip(path) or _is_tar(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    if not found and ARCHIVE.search(path.name):
        raise DataError(f"{path} is damaged or no archive (by its first and last bytes)", "Download it again.")
    return found


def _is_zip(path: Path) -> bool:
    """By its last bytes, unless its first are those of a tar, which may end with a zip."""
    with open(path, "rb") as file:
        return file.read(512)[257:262] != b"ustar" and zipfile.is_zipfile(path)


def _is_tar(path: Path) -> bool:
    try:
        with _reading(path), _open_tar(path):
            return True
    except DataError:
        return False


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns whatever damage causes into a DataError."""
    try:
        yield
    except NotImplementedError as error:
        raise DataError(
            f"{path} is packed in a way that cannot be read here ({error})",
            "Pack it again, as an ordinary .zip or .tar.gz.",
        ) from error
    except DAMAGE as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # bz2 has no error of its own, and an offset may be negative
            raise
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> DataError:
    return DataError(f"{path} is damaged ({first_line(error)})", "Download or pack it again.")


def unpack(path: Path) -> tuple[Path, list[str]]:
    """Unpack the archive into the cache, once, to a folder named by its SHA-256; returns that folder and notes.

    Hidden and operating-system files are left out; so are, with a note, links, devices, and what this file system
    cannot hold beside the rest: too long a name, a name that is taken.

    Raises:
        DataError: names that lead out of the folder, more than ``MAX_FILES`` files, more bytes than ``MAX_BYTES`` or
        the disk has room for, growth beyond ``MAX_RATIO``, damage, passwords and a full disk.
    """
    home = cache_dir() / FOLDERS
    try:
        with open(path, "rb") as file:
            target = home / hashlib.file_digest(file, "sha256").hexdigest()[:20]
        left_out = open_folder(target, partial(_extract, path))
    except OSError as error:
        full = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise DataError(
            f"{path} could not be unpacked to {home} ({full})", "Make room, or set HEADSTART_CACHE to another folder."
        ) from error
    return target, [_note(path, reason, count, first) for reason, (count, first) in left_out.items()]


def _note(path: Path, reason: str, count: int, first: list[str]) -> str:
    names = f"{', '.join(first)}{', …' if count > EXAMPLES else ''}"
    if reason == _GUESSED:
        return (
            f"{path.name} does not say in which encoding its names are; they are read as {names}. If that is wrong, "
            "pack it again with a program that writes UTF-8, or unpack it and name the folder"
        )
    return f"{plural(count, 'member')} of {path.name} left out ({reason}): {names}"


def unpack_to(path: Path, target: Path) -> None:
    """As ``unpack``, to a given folder, which is always complete."""
    with new_folder(target) as work:
        _extract(path, work)


def _extract(path: Path, folder: Path) -> dict[str, tuple[int, list[str]]]:
    """Unpack into an empty folder; returns what was left out: reason → (members, the names of the first)."""
    with _reading(path):
        return _Unpacking(path, folder).run()


class _Unpacking:
    """Writes the members of an archive into a folder."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.headers, self.written = Budget(path, folder), Budget(path, folder)  # both: headers may be wrong
        self.made: set[tuple[str, ...]] = {()}
        self.files: set[tuple[str, ...]] = set()
        self.left_out: dict[str, tuple[int, list[str]]] = {}

    def run(self) -> dict[str, tuple[int, list[str]]]:
        for number, member in enumerate(_members(self.path), 1):
            if number > MAX_FILES:
                raise DataError(f"{self.path} has more than {MAX_FILES:,} files; it was not unpacked")
            self.headers.spend(member.size)
            parts = safe_parts(member.name, self.path)
            if member.is_folder or not parts or any(is_hidden(part) for part in parts):
                continue
            reason = self._write(member, parts)
            if not reason:
                self.files.add(parts)
                reason = _GUESSED if member.guessed else ""
            if reason:
                count, first = self.left_out.get(reason, (0, []))
                self.left_out[reason] = (count + 1, [*first, quoted(member.name)][:EXAMPLES])
        return self.left_out

    def _write(self, member: Member, parts: tuple[str, ...]) -> str:
        """Write one file; why it was left out, or ""."""
        opener: Callable[[], Any] | None = member.open
        if member.same_as:
            target = tuple(part for part in member.same_as.split("/") if part not in ("", "."))
            opener = partial(open, self.folder.joinpath(*target), "rb") if target in self.files else None
        if opener is None:
            return "links and devices are not unpacked"
        if len(parts) > MAX_DEPTH:
            return f"more than {MAX_DEPTH} folders deep"
        if os.name == "nt" and any(map(_NOT_ON_WINDOWS.search, parts)):
            return "no names for files on Windows"
        try:
            for depth in range(1, len(parts)):
                self._make_folder(parts[:depth])
            out = open(self.folder.joinpath(*parts), "xb")  # noqa: SIM115 - errors of writing are others
        except OSError as error:
            if error.errno in _TAKEN:
                return "an earlier member has the name"
            if error.errno in _NO_NAME or (os.name == "nt" and error.errno == errno.ENOENT):  # over 260 characters
                return f"no names for files here: {error.strerror}"
            raise
        with out, opener() as source:
            while chunk := source.read(1 << 18):
                self.written.spend(len(chunk))
                out.write(chunk)
        return ""

    def _make_folder(self, parts: tuple[str, ...]) -> None:
        """Fails for a name that is taken, also by one that differs in case only, where the file system ignores case."""
        if parts not in self.made:
            self.folder.joinpath(*parts).mkdir()
            self.made.add(parts)


class Budget:
    """The bytes that an archive may unpack to."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.spent = path, 0
        free = shutil.disk_usage(folder).free
        self.limit = min(MAX_BYTES, SMALL + MAX_RATIO * path.stat().st_size)
        self.problem, self.hint = "too many for its size", "If you trust it, unpack it yourself and name the folder."
        if free * MAX_FILL < self.limit:
            self.limit = int(free * MAX_FILL)
            self.problem = f"and {free:,} are free on the disk"
            self.hint = "Make room, or set HEADSTART_CACHE to another folder."

    def spend(self, size: int) -> None:
        if size < 0:
            raise tarfile.ReadError("a file of negative size")
        self.spent += size
        if self.spent > self.limit:
            raise DataError(
                f"{self.path} would unpack to more than {self.limit:,} bytes, {self.problem}: refused", self.hint
            )


def _members(path: Path) -> Iterator[Member]:
    if not _is_zip(path):
        with _open_tar(path) as tar:
            for entry in tar:
                opener = (lambda entry=entry: cast(IO[bytes], tar.extractfile(entry))) if entry.isreg() else None
                yield Member(entry.name, entry.size, opener, entry.isdir(), entry.linkname if entry.islnk() else "")
            if cast(Bounded, tar.fileobj).last.strip(b"\0"):
                raise tarfile.ReadError("a damaged header")  # tarfile takes it for the end
        return
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            plain = not stat.S_IFMT(mode) or stat.S_ISREG(mode)
            if info.flag_bits & 1:
                raise DataError(f"{path} is locked with a password", "Unpack it yourself and name the folder.")
            if info.compress_type not in _METHODS:
                kind = _NAMES.get(info.compress_type, f"method {info.compress_type}")
                raise DataError(
                    f"{path} is compressed in a way that cannot be read here ({kind})",
                    "Unpack it and name the folder, or pack it again as an ordinary .zip or .tar.gz.",
                )
            opener = (lambda info=info: archive.open(info)) if plain else None
            name, guessed = _zip_name(info)
            yield Member(name, info.file_size, opener, name.endswith(("/", "\\")), guessed=guessed)


def _zip_name(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """The name as it was stored, and whether its encoding is a guess. Many programs write UTF-8 without saying so,
    which other encodings hardly ever look like; some add the name in UTF-8 as an extra field.
    """
    name = info.orig_filename  # ``filename`` ends at a NUL
    if info.flag_bits & 0x800 or name.isascii():
        return name, False
    raw = name.encode("cp437")
    with suppress(UnicodeError, struct.error):
        return _unicode_name(info.extra, raw) or raw.decode("utf-8"), False
    return name, True


def _unicode_name(extra: bytes, raw: bytes) -> str:
    """The name of Info-ZIP's Unicode Path extra field, if there is one for these bytes."""
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        if kind == 0x7075 and size > 5 and struct.unpack("<I", extra[5:9])[0] == zlib.crc32(raw):
            return extra[9 : 4 + size].decode("utf-8")
        extra = extra[4 + size :]
    return ""


@contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar, compressed or not, that is read in bounded steps."""
    with open(path, "rb") as file:
        head = file.read(6)
    plain: Callable[[Path], Any] = partial(open, mode="rb")
    opener = next((opener for magic, opener in _COMPRESSED.items() if head.startswith(magic)), plain)
    with opener(path) as stream, tarfile.open(fileobj=cast(IO[bytes], Bounded(stream)), mode="r:") as tar:
        yield tar


class Bounded:
    """A stream for tarfile, which reads a whole header at once, however long that claims to be."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.tell, self.seek, self._read = stream.tell, stream.seek, stream.read
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError("a header too long to be one")
        self.last = self._read(size)
        return self.last


def safe_parts(name: str, path: Path | str) -> tuple[str, ...]:
    """The folders and file of a member's name. Raises DataError where it leads out of the folder on any system."""
    parts = name.replace("\\", "/").split("/")
    absolute = name[:1] in ("/", "\\") or re.match(r"[A-Za-z]:", name)
    if absolute or ".." in parts or "\0" in name or any(re.fullmatch(r"[A-Za-z]:", part) for part in parts):
        raise DataError(
            f"{path} names a file outside its folder ({quoted(name)}), and is not read",
            "Do not trust it.",
        )
    return tuple(part for part in parts if part not in ("", "."))
