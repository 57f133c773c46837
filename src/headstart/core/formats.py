"""Format numbers of files: readers accept files of older versions, and refuse those of newer ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.errors import RunError


def check_format(file: str | Path, facts: Mapping[str, Any], newest: int) -> None:
    """Raise RunError where a file's format number (0 where it has none) is newer than this version reads."""
    if (number := facts.get("format", 0)) > newest:
        raise RunError(f"{file} has format {number}, newer than this headstart reads ({newest}).", "Update headstart.")
