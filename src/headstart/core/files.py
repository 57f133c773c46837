"""Atomic writes: text, JSON, CSV, and whatever a library writes."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from headstart.core.formats import DAMAGED, parsed
from headstart.core.locks import discard, try_lock
from headstart.core.text import first_line
from headstart.errors import RunError

STALE_SECONDS = 24 * 3600
"""Age above which what nobody can lock is taken to be left by a killed process."""
_WORK = ".writing-"
_SURROGATE = re.compile("[\ud800-\udfff]")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, which replaces it when the block ends, and is deleted where the block fails.

    It gets the mode of the umask, whatever the library that writes it does: safetensors writes through a temporary file
    that only its owner can read. Raises RunError where the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunError(
            f"{path} could not be written: {error.strerror or error}.",
            "Free some space, or choose another folder with `out`; nothing was half-written.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, renamed to ``target`` when the block ends and deleted where it fails: a target is always
    complete. The first of two processes wins. What killed processes left beside it is deleted.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    delete_abandoned(target.parent)
    work = target.parent / f"{_WORK}{uuid.uuid4().hex}"
    lock = try_lock(work.with_name(f"{work.name}.lock"), timeout=1)
    try:
        work.mkdir()  # not mkdtemp, whose folders only their owner can read
        yield work
        try:
            work.rename(target)
        except OSError:
            if not target.is_dir():
                raise
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


def read_json(path: Path) -> Any:
    """The content of a JSON file that anybody may have written.

    Raises:
        FileNotFoundError: there is none.
        RunError: it cannot be read, is too large, or is not JSON.
    """
    try:
        with open_regular(path) as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise RunError(f"{path} is larger than {LARGEST_JSON >> 20} MB.", DAMAGED)
        return parsed(content.decode("utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from None
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {first_line(error)}.", DAMAGED) from None


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. Raises RunError."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    # File names may hold bytes that are no UTF-8, and a JSON file may not: an escape is read back as the same name.
    write_text(path, _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically. Raises RunError."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")  # file names may be any bytes


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a CSV atomically. Raises RunError."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([columns, *rows])
    write_text(path, out.getvalue())
