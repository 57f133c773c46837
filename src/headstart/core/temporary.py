"""Names of temporary files that tell whose they are, so that what killed processes left can be deleted."""

from __future__ import annotations

import os
import platform
import re
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

_OWNED = re.compile(r"\.([0-9a-f]{8})-([0-9]{1,9})\.tmp")


def ending() -> str:
    """The end of a temporary file's name: this machine and this process."""
    return f".{_machine()}-{os.getpid()}.tmp"


def delete_left(folder: Path, name: str = "") -> None:
    """Delete temporary files in ``folder``, whose names begin with ``name``, of processes of this machine that have
    ended.
    """
    with suppress(OSError):
        for entry in os.scandir(folder):
            owner = _OWNED.search(entry.name) if entry.name.startswith(name) else None
            if owner and owner[1] == _machine() and entry.name.endswith(owner[0]) and not _runs(int(owner[2])):
                with suppress(OSError):
                    os.unlink(entry.path)


@cache
def _machine() -> str:
    """A container has a name, and processes, of its own."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _runs(process: int) -> bool:
    if os.name == "nt":  # there, a signal of 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
