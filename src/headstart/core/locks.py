"""Locks that the operating system releases when their holder ends, however it ends: none is ever stale."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock


def try_lock(path: Path, timeout: float = 0) -> BaseFileLock | None:
    """The lock of this file, which is made where it is not there.

    None where somebody holds it for longer than ``timeout`` seconds, or no file can be made or locked there.
    """
    from filelock import FileLock

    for _ in range(3):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=timeout)
        except (OSError, NotImplementedError):  # filelock's Timeout is an OSError
            return None
        if path.exists():
            return lock
        lock.release()  # its former holder deleted the file after it was opened here: this locks nothing
    return None


def discard(lock: BaseFileLock) -> None:
    """Release a lock and delete its file."""
    path = lock.lock_file
    with suppress(OSError):
        os.unlink(path)  # first: once released, somebody else may hold it
    lock.release()
    if os.name == "nt":  # an open file cannot be deleted there
        with suppress(OSError):
            os.unlink(path)
