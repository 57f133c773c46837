"""Atomic writes: text, JSON, CSV, and whatever a library writes; CSV cells and file names that harm no reader."""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import os
import re
import shutil
import stat
import sys
import time
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import IO, Any, TextIO

from headstart.core.formats import DAMAGED, parsed
from headstart.core.locks import discard, try_lock
from headstart.core.temporary import delete_left, ending
from headstart.core.text import brief, json_text, printable
from headstart.errors import RunError

STALE_SECONDS = 24 * 3600
"""Age above which what nobody can lock is taken to be left by a killed process."""
AS_IT_IS = "headstart.as-it-is"
"""How text is encoded where programs read it: the bytes of a file name that are not UTF-8 stay what they are; any other
character that the encoding lacks is escaped."""
NAME_BYTES = 120
"""A file name that is made from other text is at most this long: encrypted file systems allow 143."""
_WORK = ".writing-"
_FORMULA, _GUARDED = re.compile(r"[=+\-@\t\r]"), re.compile(r"'[=+\-@\t\r']")
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE | re.DOTALL)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, which replaces it when the block ends, and is deleted where the block fails.

    It gets the mode of the umask, whatever the library that writes it does: safetensors writes through a temporary file
    that only its owner can read. What a killed process left of the same file is deleted. Raises RunError where the disk
    is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}{ending()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        delete_left(path.parent, f".{path.name}.")
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        _take_place(temporary, path)
    except OSError as error:
        raise RunError(
            f"{path} could not be written: {error.strerror or error}.",
            "Free some space, or choose another folder with `out`; nothing was half-written.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _take_place(temporary: Path, path: Path) -> None:
    """Windows replaces no file that another process has open: it is tried again for two seconds."""
    if sys.platform != "win32":
        temporary.replace(path)
        return
    for _ in range(20):
        with suppress(PermissionError):
            temporary.replace(path)
            return
        time.sleep(0.1)
    raise RunError(f"{path} is read-only, or open in another program.", "Close it there, and try again.")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, renamed to ``target`` when the block ends and deleted where it fails: a target is always
    complete. The first of two processes wins.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with work_folder(target.parent) as work:
        yield work
        try:
            work.rename(target)
        except OSError:
            if not target.is_dir():
                raise


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder in ``parent``, deleted when the block ends. What killed processes left there is deleted."""
    parent.mkdir(parents=True, exist_ok=True)
    delete_abandoned(parent)
    work = parent / f"{_WORK}{uuid.uuid4().hex}"
    lock = try_lock(work.with_name(f"{work.name}.lock"), timeout=1)
    try:
        work.mkdir()  # not mkdtemp, whose folders only their owner can read
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if lock is not None:
            discard(lock)


def delete_abandoned(folder: Path) -> None:
    """Delete the work folders in ``folder`` whose process has ended: it holds a lock while it lives."""
    for file in folder.glob(f"{_WORK}*.lock"):
        if (lock := try_lock(file)) is not None:
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            discard(lock)
    for work in folder.glob(f"{_WORK}*"):  # of a version without locks, or where files cannot be locked
        with suppress(OSError):
            locked = work.suffix == ".lock" or work.with_name(f"{work.name}.lock").exists()
            if not locked and time.time() - work.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(work, ignore_errors=True)


def open_regular(path: Path) -> IO[bytes]:
    """A regular file, to read. Opening a pipe would wait for its writer for ever. Raises OSError."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    file = open(path, "rb", opener=opener)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file")
    return file


LARGEST_JSON = 32 << 20
"""Bytes of a JSON file: a hundred times what the largest of headstart's has."""


def read_json(path: Path, hint: str = DAMAGED) -> Any:
    """The content of a JSON file that anybody may have written. ``hint``: what to do about one that is damaged.

    Raises:
        FileNotFoundError: there is none.
        RunError: it cannot be read, is too large, or is not JSON.
    """
    try:
        with open_regular(path) as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise RunError(f"{path} is larger than {LARGEST_JSON >> 20} MB.", hint)
        return parsed(content.decode("utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from None
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {brief(error)}.", hint) from None


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. Raises RunError."""
    write_text(path, json_text(value, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically. Raises RunError."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", AS_IT_IS))  # lines end in LF on each system


def _as_it_is(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    of_bytes = range(0xDC80, 0xDD00)  # where surrogateescape puts the bytes of a name
    encoded = (bytes([ord(c) - 0xDC00]) if ord(c) in of_bytes else c.encode("ascii", "backslashreplace") for c in bad)
    return b"".join(encoded), error.end


codecs.register_error(AS_IT_IS, _as_it_is)


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a CSV atomically: cells as ``Rows`` writes them. Raises RunError."""
    out = io.StringIO()
    writer = Rows(out)
    for row in (columns, *rows):
        writer.write(row)
    write_text(path, out.getvalue())


def read_rows(path: Path) -> list[list[str]]:
    """The rows that ``write_rows`` wrote, the columns first. Raises OSError, csv.Error."""
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [list(map(unguarded, row)) for row in csv.reader(file)]


def read_dicts(path: Path) -> list[dict[str, str]]:
    """The same rows by the names of their columns. Raises OSError, csv.Error, ValueError."""
    columns, *rows = read_rows(path)
    return [dict(zip(columns, row, strict=True)) for row in rows]


class Rows:
    """Writes rows of a CSV; lines end in LF."""

    def __init__(self, out: TextIO) -> None:
        self._csv: Any = csv.writer(_Lines(out))

    def write(self, row: Iterable[Any]) -> None:
        """Write one row. A text that a spreadsheet would take for a formula gets an apostrophe before it."""
        self._csv.writerow(map(guarded, row))


class _Lines:
    """For csv, which quotes a cell that holds CR or LF for certain only where its rows end in both."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def write(self, line: str) -> None:
        self.out.write(line.removesuffix("\r\n") + "\n")


def guarded(cell: Any) -> Any:
    """A cell as it is written: a text that begins like a formula (``=``, ``+``, ``-``, ``@``, tab, CR) after one more
    apostrophe, and so does one that already looks guarded. Numbers stay.
    """
    text = str(cell) if isinstance(cell, PurePath) else cell
    return f"'{text}" if isinstance(text, str) and (_FORMULA.match(text) or _GUARDED.match(text)) else text


def unguarded(cell: str) -> str:
    """What ``guarded`` was given."""
    return cell[1:] if _GUARDED.match(cell) else cell


def file_name(text: str, most: int = NAME_BYTES) -> str:
    """A name for a file or folder, made from any text: valid on every system, without control characters, separators or
    a leading dash or dot, of at most ``most`` bytes. Where that changes the text, a digest of it is appended, so that
    different texts have different names (of two that differ in case only, some file systems make one).
    """
    name = re.sub(r'[<>:"/\\|?*]+', "-", unicodedata.normalize("NFC", text))
    name = "".join(char if printable(char) == char else "-" for char in name).strip(" .-")
    name = f"_{name}" if not name or _RESERVED.fullmatch(name) else name
    if name == text and len(name.encode()) <= most and not re.search(r"-[0-9a-f]{8}$", name):
        return name
    return with_digest(name, text, most)


def with_digest(name: str, text: str, most: int = NAME_BYTES) -> str:
    """The name, cut where need be, with a digest of the text that it stands for."""
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return f"{name.encode()[: most - 9].decode(errors='ignore').rstrip(' .-')}-{digest}"
