"""Addresses of object stores, and patterns that name several shards. Text alone: no store is asked."""

from __future__ import annotations

import os
import re
from itertools import product
from pathlib import Path

from headstart.data.sources.base import local
from headstart.errors import DataError

SCHEMES = {
    "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp", "hf": "huggingface_hub",
}  # fmt: skip
"""Schemes of addresses, and the package that reads each. None of these starts a program or follows another scheme."""
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_KEPT = re.compile(r"([a-z][a-z0-9]*):/(?!/)")
_BRACES = re.compile(r"\{([^{}]*)\}")
_PATTERN = re.compile(r"[{*?\[].*\.(tar|parquet|pq)$", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,12})\.\.(\d{1,12})")
MOST_NAMES = 100_000
"""Files that one pattern may name."""


def scheme_of(data: str) -> str | None:
    """The scheme of an address, in lower case; None for a path."""
    found = _SCHEME.match(data)
    return found[1].lower() if found else None


def address_of(path: Path) -> str | None:
    """The address that a path stands for, with both slashes, of which a ``Path`` keeps one; None for a file here."""
    text = path.as_posix()
    found = _KEPT.match(text)
    return text.replace(":/", "://", 1) if found and found[1] in SCHEMES else None


def is_pattern(data: str) -> bool:
    """Whether a path names several shards: ``photos-{000..099}.tar``, ``photos-*.parquet``."""
    return bool(_PATTERN.search(data)) and not os.path.exists(local(data))


def expanded(pattern: str) -> list[str]:
    """The names that braces stand for: ``{000..002}`` three numbers of that width, ``{a,b}`` two words. Raises
    DataError for more than ``MOST_NAMES``, or a range that counts down.
    """
    parts = [[text] if i % 2 == 0 else _words(text, pattern) for i, text in enumerate(_BRACES.split(pattern))]
    count = 1
    for words in parts:
        count *= len(words)
    if count > MOST_NAMES:
        raise DataError(f"{pattern} stands for more than {MOST_NAMES:,} names", "Name a folder, or use `*`.")
    return ["".join(words) for words in product(*parts)]


def _words(inside: str, pattern: str) -> list[str]:
    found = _RANGE.fullmatch(inside)
    if not found:
        return inside.split(",")
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < MOST_NAMES:
        raise DataError(f"{pattern}: {{{inside}}} is no range of at most {MOST_NAMES:,} numbers, counting up")
    return [f"{n:0{len(found[1])}d}" for n in range(first, last + 1)]
