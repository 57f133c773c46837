"""What many photos were made into: a folder of Parquet files, its request, and counts read from it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.files import read_json, write_json
from headstart.core.text import duration, joined, listed, plural, printable
from headstart.errors import RunError
from headstart.workflows.shards.parts import Part

if TYPE_CHECKING:
    from pandas import DataFrame

REQUEST, FORMAT = "shards.json", 1


@dataclass(frozen=True)
class Shards:
    """A folder of Parquet files. ``counts``: photos by predicted label, of predictions; ``unread``: photos without a
    result, whose rows have a ``problem``; ``computed``: photos of this call, the others being there already.
    """

    path: Path
    photos: int
    parts: int
    unread: int
    computed: int
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """The Parquet files, in the order of the photos."""
        return tuple(sorted(self.path.glob("part-*.parquet")))

    def frame(self) -> DataFrame:
        """All rows as one pandas frame, in the order of the photos."""
        from pyarrow import parquet

        return parquet.ParquetDataset([str(file) for file in self.files]).read().to_pandas()

    @property
    def text(self) -> str:
        """The result as lines."""
        rate = f", {self.computed / self.seconds:.0f} photos/s" if self.computed and self.seconds else ""
        spent = f"{plural(self.computed, 'photo')} computed in {duration(self.seconds)}{rate}"
        told = [f"{label or '(no label)'}: {n:,}" for label, n in Counter(self.counts).most_common()]
        return joined([
            f"{plural(self.photos, 'photo')} in {plural(self.parts, 'Parquet file')}: {printable(self.path)}",
            *([f"{plural(self.unread, 'photo')} cannot be read: see the column problem"] if self.unread else []),
            *([listed(told, 30)] if told else []), spent,
        ])  # fmt: skip

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "out": str(self.path), "photos": self.photos, "parts": self.parts, "unreadable": self.unread,
            "computed": self.computed, "seconds": round(self.seconds, 2), "counts": dict(self.counts),
        }  # fmt: skip


def open_folder(path: Path, request: Mapping[str, Any], overwrite: bool) -> None:
    """Begin in a folder, or go on with the same work there. Raises RunError where it holds anything else."""
    others = os.path.lexists(path) and (not path.is_dir() or any(one.name[0] != "." for one in path.iterdir()))
    before = read_json(path / REQUEST, "Choose another folder.") if others and (path / REQUEST).is_file() else None
    if others and before is None:
        raise RunError(f"`out={path}` exists and holds something else.", "Choose another folder.", option="out")
    if before is not None and before != request:
        changed = [name for name in request if not isinstance(before, dict) or before.get(name) != request[name]]
        if not overwrite:
            problem = f"`out={path}` is of other work: {', '.join(changed)}."
            raise RunError(problem, "Use `overwrite=True`, or choose another folder.", option="out")
    if overwrite and others:
        for old in path.glob("part-*.parquet"):
            old.unlink()
    write_json(path / REQUEST, dict(request))


def missing(path: Path, parts: Sequence[Part]) -> list[Part]:
    """The parts that have no whole file yet."""
    return [part for part in parts if rows_of(path / part.file) != len(part.photos)]


def rows_of(file: Path) -> int | None:
    """How many rows a Parquet file has; None for no file, or a damaged one."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return int(parquet.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException):
        return None


def counted(path: Path, parts: Sequence[Part], labels: bool) -> tuple[int, dict[str, int]]:
    """(photos without a result, photos by label) of all files, read a file at a time."""
    from pyarrow import compute, parquet

    unread, counts = 0, Counter[str]()
    for part in parts:
        table = parquet.read_table(path / part.file, columns=["problem", *["label"] * labels])
        unread += len(table) - table.column("problem").null_count
        if labels:
            for one in compute.value_counts(table.column("label").drop_null()).to_pylist():
                counts[one["values"]] += one["counts"]
    return unread, dict(counts)
