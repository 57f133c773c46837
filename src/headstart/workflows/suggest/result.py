"""What ``suggest`` returns: the photos to label next, as rows, lines and a CSV."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.files import write_rows
from headstart.core.text import count, joined, plural
from headstart.data.schema import ImageRef
from headstart.reporting.notebook import frame, html, photo_tile

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("path", "label", "confidence", "why", "group", "copies")
"""Of the CSV. ``path`` and ``label`` are what ``train`` reads: corrected, the file is a table of labelled photos."""


@dataclass(frozen=True)
class Suggestion:
    """A photo to label. ``label``: the class that it probably has, and its probability, ``confidence``; ``why``:
    "uncertain", or "new kind" where it stands out more by its distance to every labelled photo, or "look-alike" of the
    suggestion before it; ``group``: equal for a suggestion and its look-alikes; ``copies``: the names of its
    duplicates, which need no label of their own.
    """

    name: str
    label: str
    confidence: float
    why: str
    group: int
    copies: tuple[str, ...] = ()
    photo: ImageRef | None = field(default=None, repr=False, compare=False)

    @property
    def row(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "path": self.name, "label": self.label, "confidence": round(self.confidence, 6), "why": self.why,
            "group": self.group, "copies": list(self.copies),
        }  # fmt: skip


@dataclass(frozen=True)
class Suggestions:
    """``rows``: what to label, the most useful first; ``method``: how they were chosen; ``labelled`` and ``pool``: the
    number of labelled photos, and of those to choose from, duplicates counted once; ``already``: photos of the pool
    that are duplicates of labelled ones; ``bad``: photos that could not be read, with reasons; ``out``: the file that
    was written.
    """

    rows: tuple[Suggestion, ...]
    method: str
    network: str
    labelled: int
    pool: int
    already: tuple[str, ...] = ()
    bad: Mapping[str, str] = field(default_factory=dict)
    out: Path | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def frame(self) -> DataFrame:
        """A row per suggestion as a pandas frame."""
        return frame(one.row for one in self.rows)

    @property
    def text(self) -> str:
        """The result as lines."""
        wide = max(len(one.label) for one in self.rows)
        lines = [
            f"{one.group:4}  {one.label:{wide}}  {one.confidence:.2f}  {one.why:10}  {one.name}" for one in self.rows
        ]
        head = f"{'group':>5} {'label':{wide + 1}} sure  why         photo"
        where = [] if self.out is None else [f"written: {self.out}"]
        groups = len({one.group for one in self.rows})
        pool, labelled = plural(self.pool, "unlabelled photo"), plural(self.labelled, "labelled photo")
        what = f"{count(groups)} of {pool}, from {labelled}"
        already = [f"{plural(len(self.already), 'photo')} of the pool: labelled already"] if self.already else []
        return joined([head, *lines, what, *already, f"by {self.method}, features of {self.network}", *where])

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "method": self.method, "network": self.network, "labelled": self.labelled, "pool": self.pool,
            "suggestions": [one.row for one in self.rows], "already_labelled": list(self.already),
            "bad": dict(self.bad), "out": None if self.out is None else str(self.out),
        }  # fmt: skip

    def write(self, path: Path) -> None:
        """Write the rows as a CSV, in which paths start from its own folder or are absolute. Raises RunError."""
        here = path.resolve().parent == Path.cwd().resolve()
        rows = (
            (
                one.name if here else _absolute(one.name),
                one.label,
                f"{one.confidence:.4f}",
                one.why,
                one.group,
                len(one.copies),
            )
            for one in self.rows
        )
        write_rows(path, COLUMNS, list(rows))

    def _repr_html_(self) -> str:
        tiles = (
            photo_tile(one.photo, f"{html(one.label)} {one.confidence:.2f}<br>{html(one.why)}")
            for one in self.rows if one.photo is not None
        )  # fmt: skip
        return f"<div>{''.join(tiles)}</div>"


def _absolute(name: str) -> str:
    """The absolute path of a file; a name that is none, such as that of a picture in memory, as it is."""
    return os.path.abspath(name) if os.path.exists(name) else name
