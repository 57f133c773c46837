"""Find the photos of a run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from headstart.data.filenames import shown
from headstart.data.schema import Photo, Split
from headstart.data.sources.addresses import scheme_of
from headstart.data.sources.detect import scan
from headstart.data.split_table import read_splits
from headstart.errors import DataError, RunError
from headstart.runs.folder import RunFolder


@dataclass(frozen=True)
class RunPhoto:
    """A photo of a run: ``photo`` as found now, the rest from splits.csv; ``shown``: its path below the data's root."""

    photo: Photo
    shown: str
    label: str
    split: Split
    digest: str
    group: str | None = None

    @property
    def path(self) -> Path:
        return self.photo.path

    @property
    def name(self) -> str:
        return self.photo.name

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        """The encoded image, as a ``Photo`` gives it."""
        return self.photo.open(mode)


def run_photos(run: Path, splits: Sequence[Split]) -> list[RunPhoto]:
    """The photos of some splits that still exist, in the order of splits.csv.

    Raises:
        RunError: no run there. DataError: all of its photos are gone, or at an address: the run may be anybody's.
    """
    if not (run / "splits.csv").exists():
        raise RunError(f"{run} has no splits.csv, which names the photos it was trained on.")
    rows = [row for row in read_splits(run / "splits.csv") if row.split in splits]
    options = RunFolder.open(run)[1]
    data = options.data
    if scheme_of(data) is not None:
        raise DataError(f"The photos of {run} are at {data}, and a run fetches nothing.", "Name the photos themselves.")
    manifest = scan(data, for_training=False, options=options.read_options)
    known = {shown(photo.path, manifest.root): photo for photo in manifest.photos}
    there = []
    for row in rows:
        photo = known.get(row.path) or Photo(manifest.root / row.path, row.label)
        inside = ".." not in photo.path.parts and photo.path.is_relative_to(manifest.root)  # the table may be anybody's
        if row.path in known or (inside and photo.path.exists()):
            there.append(RunPhoto(photo, row.path, row.label, row.split, row.digest, row.group))
    if rows and not there:
        raise DataError(f"None of the {len(rows)} photos of {run} are still in {data}.")
    return there


def evenly(photos: Sequence[RunPhoto], at_most: int) -> list[RunPhoto]:
    """``at_most`` of the photos, spread evenly: of all classes if the photos are in the order of classes."""
    step = max(1.0, len(photos) / at_most)
    return [photos[int(i * step)] for i in range(min(at_most, len(photos)))]
