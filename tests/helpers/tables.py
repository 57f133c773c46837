"""Photos of two classes, and tables of them as other programs write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from headstart.data.schema import Manifest
from helpers.archives import PNG


class Row(NamedTuple):
    """``name`` is that of the photo's file, without suffix; ``number`` counts the photos of a class."""

    name: str
    label: str
    number: int


ROWS = [Row(f"{label[0]}{i:03x}", label, i) for label in ("cat", "dog") for i in range(12)]


def photos(folder: Path, name: Callable[[Row], str] = lambda row: f"{row.name}.png") -> Path:
    """A photo for each row, called as ``name`` says, in a folder; returns the folder."""
    for row in ROWS:
        path = folder / name(row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return folder


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def table(path: Path, header: str, cells: Callable[[Row], Iterable[object]], rows: Iterable[Row] = ROWS) -> Path:
    """A table with a line per row; no header where that is empty."""
    lines = [",".join(map(str, cells(row))) for row in rows]
    return text(path, "\n".join([*([header] if header else []), *lines]) + "\n")


def counts(found: Manifest) -> dict[object, int]:
    """Photos by label, or by (label, split) where the data has splits."""
    with_splits = any(photo.split for photo in found.photos)
    return dict(Counter((photo.label, photo.split) if with_splits else photo.label for photo in found.photos))


BOTH = {"cat": 12, "dog": 12}
