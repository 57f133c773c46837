"""``splits.csv``: which photo is in which split, written and read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from headstart.core.files import read_rows, write_rows
from headstart.core.text import brief
from headstart.data.filenames import shown
from headstart.data.schema import FOLD, SPLITS, Split, SplitDataset
from headstart.errors import RunError


class SplitRow(NamedTuple):
    """One line of ``splits.csv``; ``path`` is relative to the dataset's root, with forward slashes."""

    path: str
    label: str
    split: Split
    digest: str
    group: str | None = None
    fold: int | None = None


COLUMNS = SplitRow._fields[:5]
LEFT_OUT = "left_out"
"""The column after these: why a photo is in no split. Older files do not have it."""


def write_splits(dataset: SplitDataset, path: Path) -> None:
    """Write the split of each photo, one line each, atomically; paths below the root are relative to it. Photos that
    are left out have no split, and a reason.
    """
    rows = [
        (shown(s.path, dataset.root), dataset.label_of(s), s.split, s.digest, s.group or "", "", fold or "")
        for s, fold in dataset.numbered()
    ]
    gone = [(shown(p.path, dataset.root), p.label, "", p.digest, "", p.reason, "") for p in dataset.left_out]
    columns = (*COLUMNS, LEFT_OUT, *([FOLD] if dataset.folds else []))
    write_rows(path, columns, [row[: len(columns)] for row in (*rows, *gone)])


def read_splits(path: Path) -> list[SplitRow]:
    """The photos in a split that ``write_splits`` wrote. Raises ``RunError`` for a file that is not such a table."""
    try:
        rows = read_rows(path)
    except (OSError, csv.Error) as error:
        raise RunError(f"{path} cannot be read ({brief(error)})") from error
    known = (COLUMNS, (*COLUMNS, LEFT_OUT), (*COLUMNS, LEFT_OUT, FOLD))
    if not rows or tuple(rows[0]) not in known:
        raise RunError(f"{path} is not a table of splits (its columns must be {', '.join(COLUMNS)})")
    found = []
    for line, row in enumerate(rows[1:], 2):
        fold = row[6] if len(row) > 6 else ""
        if (
            not len(COLUMNS) <= len(row) <= len(rows[0])
            or not (row[2] in SPLITS or (not row[2] and row[5:] > [""]))
            or not (fold == "" or (fold.isdecimal() and len(fold) < 10))
        ):
            raise RunError(f"{path}, line {line}: not a photo's path, label, split, digest and group")
        if row[2]:
            found.append(SplitRow(row[0], row[1], row[2], row[3], row[4] or None, int(fold) if fold else None))
    return found
