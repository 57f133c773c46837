"""Archives by their names, and a note on those that lie among photos: they are not opened."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Protocol

from headstart.core.text import listed

ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
FOREIGN = re.compile(r"\.(7z|rar|zst|tar\.zst|lz4|cab|dmg|iso)$", re.IGNORECASE)


class _Contents(Protocol):
    @property
    def others(self) -> tuple[str, ...]: ...


def note_on_archives(read: Mapping[str, _Contents]) -> list[str]:
    """A note on the archives in these folders, if there are any."""
    found = [name for inside in read.values() for name in inside.others if ARCHIVE.search(name) or FOREIGN.search(name)]
    if not found:
        return []
    shown = listed(list(map(os.path.basename, found)))
    return [f"archives inside are not opened: {shown}; unpack each into a folder of its own, or name one as the data"]
