"""The photos of a run, found again. In: a run folder. Out: where each photo of a split lies, with its class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.schema import Split
from headstart.data.sources.detect import scan
from headstart.data.splits import read_splits
from headstart.errors import DataError, RunError
from headstart.runs.folder import RunFolder


@dataclass(frozen=True)
class RunPhoto:
    """One photo of a run: ``shown`` is its path as the run's tables have it, relative to the data's root."""

    path: Path
    shown: str
    label: str
    split: Split
    digest: str
    group: str | None = None


def run_photos(run: Path, splits: Sequence[Split]) -> list[RunPhoto]:
    """The photos of some splits that are still where the run found them, in the order of splits.csv.

    Raises:
        RunError: no run there. DataError: its photos are gone, all of them.
    """
    if not (run / "splits.csv").exists():
        raise RunError(f"{run} does not say which photos it was trained on (no splits.csv).")
    rows = [row for row in read_splits(run / "splits.csv") if row.split in splits]
    data = RunFolder.open(run)[1].data
    root = scan(data, for_training=False).root
    found = [RunPhoto(root / row.path, row.path, row.label, row.split, row.digest, row.group) for row in rows]
    there = [photo for photo in found if photo.path.exists()]
    if found and not there:
        raise DataError(f"None of the {len(found)} photos that {run} names are in {data} any more.")
    return there


def evenly(photos: Sequence[RunPhoto], at_most: int) -> list[RunPhoto]:
    """At most so many of the photos, spread evenly: of all classes where photos are in the order of classes."""
    step = max(1.0, len(photos) / at_most)
    return [photos[int(i * step)] for i in range(min(at_most, len(photos)))]
