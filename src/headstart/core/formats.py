"""Format numbers of files: readers take files of older headstarts, and say of newer ones that they are newer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.errors import RunError


def check_format(file: str | Path, facts: Mapping[str, Any], newest: int) -> None:
    """Compare a file's format number, which is 0 where it has none, with the newest that is known here.

    Raises:
        RunError: the file is newer.
    """
    if (number := facts.get("format", 0)) > newest:
        raise RunError(f"{file} has format {number}, newer than this headstart reads ({newest}).", "Update headstart.")
