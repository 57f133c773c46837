"""Folders in the cache that are made once, such as unpacked archives: complete or absent, and not deleted while used.

A process that uses one holds a lock on a file beside it until it ends.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from headstart.core.files import delete_abandoned, new_folder
from headstart.core.locks import discard, try_lock
from headstart.errors import RunError

if TYPE_CHECKING:
    from filelock import BaseFileLock

RECORD = ".headstart.json"
"""In each folder: the numbers of files and bytes, and what its maker wants to know again."""
_used: dict[Path, BaseFileLock] = {}


class Stored(NamedTuple):
    """A folder, its size, and the time of its last use."""

    path: Path
    size: int
    used: float


def open_folder(target: Path, fill: Callable[[Path], Any]) -> Any:
    """What ``fill(folder)`` returned (JSON) when it filled the folder ``target``: now, or in an earlier process.

    It is filled again where files of it are missing. This process uses it until it ends. Raises what ``fill`` raises,
    and OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.parent):
        _use(target)
        if (record := _read(target)) is not None:
            with suppress(OSError):
                os.utime(target / RECORD)  # the time of last use decides what is deleted
            return record["facts"]
        if target.exists() and not _discard(target):
            raise RunError(f"{target} is damaged and could not be deleted.", "Delete it, or mend its permissions.")
    try:
        with new_folder(target) as work:
            facts = fill(work)
            files, size = _measure(work)
            (work / RECORD).write_text(json.dumps({"files": files, "bytes": size, "facts": facts}), encoding="utf-8")
    except BaseException:
        _release(target)
        raise
    return facts


def stored(home: Path) -> Iterator[Stored]:
    """The folders in ``home``; what killed processes left there is deleted first."""
    delete_abandoned(home)
    for file in home.glob(".*.use"):
        if (lock := try_lock(file)) is not None:
            discard(lock)
    for path in home.glob("[!.]*"):
        if path.is_dir():
            record = _record(path)
            with suppress(OSError):
                used = (path / RECORD if record else path).stat().st_mtime
                yield Stored(path, record["bytes"] if record else _measure(path)[1], used)


def remove(path: Path) -> bool:
    """Delete one of ``stored`` unless a process uses it."""
    with _alone(path.parent) as alone:
        if not alone or path in _used:
            return False
        for file in path.parent.glob(f".{path.name}.*.use"):
            if (lock := try_lock(file)) is None:
                return False
            discard(lock)
        return _discard(path)


@contextmanager
def _alone(home: Path) -> Iterator[bool]:
    """Nobody else begins to use, or deletes, a folder meanwhile; False where that cannot be had (a cache that may only
    be read)."""
    lock = try_lock(home / ".folders.lock", timeout=10) if os.access(home, os.W_OK) else None
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def _use(target: Path) -> None:
    if target in _used or not os.access(target.parent, os.W_OK):
        return
    lock = try_lock(target.with_name(f".{target.name}.{uuid.uuid4().hex}.use"), timeout=1)
    if lock is not None:
        _used[target] = lock


def _release(*targets: Path) -> None:
    for target in targets or tuple(_used):
        if (lock := _used.pop(target, None)) is not None:
            discard(lock)


atexit.register(_release)


def _discard(path: Path) -> bool:
    """Delete a folder, renamed first so that nobody sees half of it; False where that cannot be done."""
    trash = path.with_name(f".writing-{uuid.uuid4().hex}")
    lock = try_lock(trash.with_name(f"{trash.name}.lock"), timeout=1)
    try:
        path.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
    except OSError:
        return False
    finally:
        if lock is not None:
            discard(lock)
    return True


def _record(folder: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if isinstance(record, dict) and isinstance(record.get("bytes"), int) and "facts" in record:
            return record
    return None


def _read(folder: Path) -> dict[str, Any] | None:
    """The record of a folder, None where it or files are missing."""
    record = _record(folder)
    return record if record and record.get("files") == _measure(folder, sizes=False)[0] else None


def _measure(folder: Path, sizes: bool = True) -> tuple[int, int]:
    """The number of files, without the record, and their bytes."""
    files = size = 0
    for here, _, names in os.walk(folder):
        files += len(names)
        for name in names if sizes else ():
            with suppress(OSError):
                size += os.lstat(os.path.join(here, name)).st_size
    return files - os.path.exists(folder / RECORD), size
