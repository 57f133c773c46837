"""The words for data. In: what scanning finds. Out: ``Manifest`` (photos as found) and ``SplitDataset`` (classes and splits
fixed).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
DEFAULT_FRACTION = 0.15


@dataclass(frozen=True)
class Photo:
    """One labelled file as it was found: ``split`` and ``group`` are None where the data does not say."""

    path: Path
    label: str
    split: Split | None = None
    group: str | None = None


@dataclass(frozen=True)
class BadFile:
    """A file that was named as a photo, or stood among photos, and cannot be used; ``reason`` is for people."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Manifest:
    """What a scan found, before anything is decoded or split.

    ``root``: folder that paths are shown relative to; ``name``: what to call the data; ``layout``: how it was
    recognised, in words ("class folders", "split folders (train, test)", "CSV", "file names (label.number.jpg)",
    "archive of class folders", "named set cifar10"); ``skipped``: files left out already (not images by content,
    unreadable folders, ...); ``notes``: sentences worth telling.
    """

    root: Path
    name: str
    layout: str
    photos: tuple[Photo, ...]
    skipped: tuple[BadFile, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitOptions:
    """How splits are drawn where the data does not bring them; fractions are of all photos, in [0, 1).

    ``val`` and ``test`` are None where the user did not ask: ``DEFAULT_FRACTION`` then, if that split is drawn at all.
    """

    val: float | None = None
    test: float | None = None
    shots: int | None = None
    fraction: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """One usable photo in its split. ``label`` indexes ``SplitDataset.classes``; ``digest`` is the blake2b-128 hex of the
    file's bytes.
    """

    path: Path
    label: int
    split: Split
    digest: str
    group: str | None = None


@dataclass(frozen=True)
class SplitDataset:
    """Samples, ONE class list (natural order) for all splits, and how the splits came to be.

    A split may be empty (data that brings train and val only has no test). ``summary`` is the one line said back to the
    user.
    """

    root: Path
    name: str
    layout: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    options: SplitOptions
    summary: str = ""
    bad: tuple[BadFile, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def split(self, name: Split) -> tuple[Sample, ...]:
        """The samples of one split, in a fixed order."""
        return tuple(s for s in self.samples if s.split == name)

    def counts(self, name: Split) -> list[int]:
        """Photos per class of one split, in class order."""
        found = Counter(s.label for s in self.samples if s.split == name)
        return [found.get(c, 0) for c in range(len(self.classes))]

    @property
    def digest(self) -> str:
        """A hex digest of contents, labels and splits: equal for equal data wherever the folder lies."""
        h = hashlib.blake2b(digest_size=16)
        for row in sorted(f"{s.digest} {self.classes[s.label]} {s.split}" for s in self.samples):
            h.update(row.encode() + b"\n")
        return h.hexdigest()
