"""How many files a process may have open."""

from __future__ import annotations

import sys
from contextlib import suppress

MANY = 4096
"""Shards of the cache, of which a large set has hundreds; macOS begins with 256 files."""


def raise_open_files(wanted: int = MANY) -> int:
    """Let this process open ``wanted`` files where the system allows it; how many it may open now."""
    if sys.platform == "win32":  # has no such limit
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft
