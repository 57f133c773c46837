"""The size of the cache: rows and unpacked archives together are kept below ``HEADSTART_CACHE_GB``."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from headstart.core import cached_folders
from headstart.core.array_store import INDEX, limit_bytes
from headstart.core.files import STALE_SECONDS
from headstart.core.paths import cache_dir

FOLDERS = "archives"
_INDICES = (INDEX, ".npz")
"""Suffixes of indices: of this version, and of 0.1.0, whose shards nobody reads any more."""


def trim(keep: Iterable[Path] = (), cache: Path | None = None, limit: int | None = None) -> int:
    """Delete the least recently used shards and folders until all together fit the limit; returns the bytes freed.

    Stores in ``keep`` are spared, and folders that a process uses. A shard that another process has mapped stays
    readable there (POSIX) or cannot be removed (Windows).
    """
    cache = cache or cache_dir()
    limit = limit_bytes() if limit is None else limit
    spared = {folder.resolve() for folder in keep}
    found = [
        (used, size, partial(_remove_shard, files), files[0].parent.resolve() in spared)
        for used, size, files in _shards(cache / "rows")
    ]
    for folder in cached_folders.stored(cache / FOLDERS):
        found.append((folder.used, folder.size, partial(cached_folders.remove, folder.path), False))
    excess, freed = sum(size for _, size, _, _ in found) - limit, 0
    for _, size, remove, kept in sorted(found, key=lambda one: one[0]):
        if freed >= excess:
            break
        if not kept and remove():
            freed += size
    return freed


def _shards(rows: Path) -> Iterator[tuple[float, int, list[Path]]]:
    """(last use, bytes, files, the index first) of each shard; files without an index are deleted once they are old."""
    groups: dict[Path, list[Path]] = defaultdict(list)
    for path in rows.glob("*/*"):
        groups[path.parent / path.name.partition(".")[0]].append(path)
    for files in groups.values():
        files.sort(key=lambda path: path.suffix not in _INDICES)
        facts = [_stat(path) for path in files]
        if files[0].suffix in _INDICES:
            yield facts[0][0], sum(size for _, size in facts), files
        elif time.time() - max(used for used, _ in facts) > STALE_SECONDS:
            _remove_shard(files)


def _remove_shard(files: list[Path]) -> bool:
    """Delete a shard, its index first; False where that cannot be done.

    On Windows its values first: where they are mapped they stay, and need their index.
    """
    try:
        for path in reversed(files) if os.name == "nt" else files:
            path.unlink(missing_ok=True)  # another process may do the same
    except OSError:
        return False
    return True


def _stat(path: Path) -> tuple[float, int]:
    """(last use, size); zeros where another process has deleted it since it was listed."""
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime, found.st_size
    return 0.0, 0
