"""Format numbers of files: readers accept files of older versions, and refuse those of newer ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.errors import RunError


def check_format(file: str | Path, facts: Mapping[str, Any], newest: int) -> None:
    """Compare a file's format number (0 where it has none) with the newest that this version reads.

    Raises:
        RunError: the file is newer.
    """
    if (number := facts.get("format", 0)) > newest:
        raise RunError(f"{file} has format {number}, newer than this headstart reads ({newest}).", "Update headstart.")
