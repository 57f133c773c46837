"""Atomic writes: text, JSON, CSV, and whatever a library writes."""

from __future__ import annotations

import csv
import io
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from headstart.core.text import json_text
from headstart.errors import RunError


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
    complete. The first of two processes wins.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.parent / f".writing-{uuid.uuid4().hex}"
    work.mkdir()  # not mkdtemp, whose folders only their owner can read
    try:
        yield work
        try:
            work.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. Raises RunError."""
    write_text(path, json_text(value, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically. Raises RunError."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")  # file names may be any bytes


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a CSV atomically. Raises RunError."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([columns, *rows])
    write_text(path, out.getvalue())
