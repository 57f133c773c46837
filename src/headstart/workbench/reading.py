"""The content of a photo's file, within bounds."""

from __future__ import annotations

from pathlib import Path

from headstart.core.files import open_regular
from headstart.errors import DataError


def read_photo(path: Path, most_mb: float) -> bytes:
    """The content of a photo's file. Raises DataError where it cannot be read, or is larger than ``most_mb``."""
    try:
        with open_regular(path) as file:
            content = file.read(int(most_mb * 1e6) + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    if len(content) > most_mb * 1e6:
        raise DataError(f"{path} is larger than {most_mb:g} MB.")
    return content
