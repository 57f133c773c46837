"""Data types for labelled image datasets: photos as found, and datasets with fixed classes and splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Literal, NamedTuple, Protocol

from headstart.core.files import open_regular
from headstart.data.label_sets import joined_labels, labels_in
from headstart.errors import OptionError, option

Split = Literal["train", "val", "test"]
Leakage = Literal["keep", "drop", "stop"]
"""What training does where splits of the data share pictures."""
SPLITS: tuple[Split, ...] = ("train", "val", "test")
ClassFolders = Literal["outer", "inner"]
Labels = Literal["single", "multi"]
"""How many labels a photo has: one, or any number."""
DEFAULT_FRACTION = 0.15
MAX_SEED = 2**31 - 1
GUARD: dict[str | None, int] = {None: 0, "train": 0, "val": 1, "test": 2}
"""Of duplicates in several splits the one in the most guarded split is kept: evaluation must not change."""


class ImageRef(Protocol):
    """An image that can be read. A ``Path`` is one; so is a ``Photo``, wherever its source stores the bytes."""

    @property
    def name(self) -> str:
        """The name of the file, with its suffix."""

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        """The encoded image. Raises OSError where it cannot be read."""


@dataclass(frozen=True)
class Photo:
    """One labelled photo as found: ``split`` and ``group`` are None where the data has none. ``label``: in data with
    several labels per photo, all of them (see ``label_sets``).

    ``path`` identifies it, below the root of its manifest. A source whose photos are not files overrides ``open``.
    """

    path: Path
    label: str
    split: Split | None = None
    group: str | None = None

    @property
    def name(self) -> str:
        return self.path.name

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:
        """The encoded image. Raises OSError where it cannot be read."""
        return open_regular(self.path)


@dataclass(frozen=True)
class BadFile:
    """A file that is listed as a photo, or is among photos, and cannot be used; ``reason`` is a short phrase,
    ``label`` the class that it would be a photo of, where it is known to be one: a RAW photo, a file that a table names
    and that is missing.
    """

    path: Path
    reason: str
    label: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The photos that a scan found, before anything is decoded or split.

    ``root``: folder that paths are shown relative to; ``name``: the name of the data; ``layout``: "class folders",
    "split folders (train, test)", "CSV", "file names (label.number.jpg)", "archive of class folders", "named set
    cifar10"; ``skipped``: files left out (not images by content, unreadable folders, ...); ``notes``: sentences for the
    user; ``source``: the name of the source that read it; ``several``: whether a photo has any number of labels.
    """

    root: Path
    name: str
    layout: str
    photos: Sequence[Photo]
    skipped: tuple[BadFile, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    several: bool = False

    def labels_of(self, photo: Photo) -> tuple[str, ...]:
        """The labels of one of its photos: one, unless there may be several."""
        return labels_in(photo.label, self.several)


@dataclass(frozen=True)
class ReadOptions:
    """What the user says about the data where its files leave it open.

    ``ignore``: names, paths below the data or globs of what is left out; ``class_folders``: whether classes are the
    "outer" or the "inner" of two levels of folders, where both could be. The columns are those of a table; ``"none"``
    for a split or group column means that no column is one. ``images``: the folder that a table's paths start from;
    ``suffix``: what its names lack (``.jpg``). ``labels``: "multi" where a photo has any number of labels.
    """

    ignore: tuple[str, ...] = ()
    class_folders: ClassFolders | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    images: str | None = None
    suffix: str | None = None
    labels: Labels | None = None

    @property
    def of_tables(self) -> list[str]:
        """The names of those that were given and that only a table can answer."""
        given = [name for name in TABLE_OPTIONS if getattr(self, name) is not None]
        return [*given, "labels"] if self.several else given

    @property
    def several(self) -> bool:
        """Whether a photo has any number of labels."""
        return self.labels == "multi"


AS_FOUND = ReadOptions()
TABLE_OPTIONS = ("path_column", "label_column", "split_column", "group_column", "images", "suffix")


@dataclass(frozen=True)
class SplitOptions:
    """How splits are drawn where the data has none; fractions are of all photos, in [0, 1).

    ``val`` and ``test`` are None where the user did not set them: then ``DEFAULT_FRACTION``, if that split is drawn.
    Raises OptionError, which names all values that are not allowed.
    """

    val: float | None = None
    test: float | None = None
    shots: int | None = None
    fraction: float | None = None
    seed: int = 0
    min_per_class: int | None = None
    folds: int | None = None

    def __post_init__(self) -> None:
        wrong = split_problems(
            self.val, self.test, self.shots, self.fraction, self.seed, self.min_per_class, self.folds
        )
        if wrong:
            raise wrong[0] if len(wrong) == 1 else OptionError("; ".join(error.problem for error in wrong))


def split_problems(
    val: float | None,
    test: float | None,
    shots: int | None,
    fraction: float | None,
    seed: int,
    min_per_class: int | None = None,
    folds: int | None = None,
) -> list[OptionError]:
    """One error for each invalid option of ``SplitOptions``."""
    parts = [part is not None and not 0 <= part < 1 for part in (val, test)]
    whole = not any(parts) and (val or 0) + (test or 0) >= 1
    both = shots is not None and fraction is not None
    fewer = [name for name, value in (("shots", shots), ("fraction", fraction)) if value is not None]
    rules = (
        ("val", val, parts[0], "must be at least 0 and below 1"),
        ("test", test, parts[1], "must be at least 0 and below 1"),
        ("val", val, whole, f"and {option('test', test)} leave nothing to train on"),
        ("val", val, val == 0, "leaves no validation set, which settings are chosen on"),
        ("shots", shots, shots is not None and shots < 1, "must be at least 1"),
        ("fraction", fraction, fraction is not None and not 0 < fraction <= 1, "must be above 0 and at most 1"),
        ("shots", None, both, f"and {option('fraction')} both limit the training set: give one"),
        ("min_per_class", min_per_class, min_per_class is not None and min_per_class < 1, "must be at least 1"),
        ("folds", folds, folds is not None and folds < 2, "must be at least 2"),
        (
            "folds",
            folds,
            folds is not None and bool(fewer),
            f"and {' and '.join(map(option, fewer))} do not go together: folds judge every photo",
        ),
        ("seed", seed, not 0 <= seed <= MAX_SEED, f"must be from 0 to {MAX_SEED}"),
    )
    return [OptionError(f"{option(name, value)} {rule}", option=name) for name, value, broken, rule in rules if broken]


FOLD = "fold"
"""In tables of a run, the last column where photos are in folds: the number of the fold, from 1."""


class Fold(NamedTuple):
    """A fold of the train split, by places in it: ``held_out`` is judged by a model that trained on ``train`` and chose
    on ``val``, the other photos.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    held_out: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A usable photo in its split: ``place`` is its path, ``number`` its place in the manifest; ``label`` indexes
    ``SplitDataset.classes``, ``digest`` is the blake2b-128 hex. Where a photo has any number of labels, ``labels`` has
    their indices, and ``label`` is -1.
    """

    place: str
    number: int = field(compare=False)
    label: int
    split: Split
    digest: str
    group: str | None = None
    labels: tuple[int, ...] | None = None

    @property
    def path(self) -> Path:
        """Where it is; made when it is asked for: a path takes some times the memory of its text."""
        return Path(self.place)


@dataclass(frozen=True)
class LeftOut:
    """A usable photo that is in no split, and why; ``split``: the one that the data gives it."""

    path: Path
    label: str
    split: Split | None
    digest: str
    reason: str


@dataclass(frozen=True)
class SplitDataset:
    """Samples, ONE class list (natural order) for all splits, and the options of the splits.

    A split may be empty (data with given train and val has no test). ``summary`` is one line for the user;
    ``left_out``: duplicates of photos in a more guarded split, and small classes; ``folds`` divide train, if asked for;
    ``several``: whether a photo has any number of labels, which ``classes`` then are.
    """

    root: Path
    name: str
    layout: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    options: SplitOptions
    summary: str = ""
    bad: tuple[BadFile, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    folds: tuple[Fold, ...] = ()
    several: bool = False

    def label_of(self, sample: Sample) -> str:
        """The name of its class; of several labels, all of them (see ``label_sets``)."""
        if sample.labels is None:
            return self.classes[sample.label]
        return joined_labels(self.classes[i] for i in sorted(sample.labels))

    def split(self, name: Split) -> tuple[Sample, ...]:
        """The samples of one split, in a fixed order."""
        return tuple(s for s in self.samples if s.split == name)

    def counts(self, name: Split) -> list[int]:
        """Photos per class of one split, in class order; a photo with several labels counts for each."""
        own = (s for s in self.samples if s.split == name)
        found = Counter(label for s in own for label in ((s.label,) if s.labels is None else s.labels))
        return [found.get(c, 0) for c in range(len(self.classes))]

    def numbered(self) -> list[tuple[Sample, int | None]]:
        """Each sample with the number of its fold, from 1, if it is in one."""
        number = {i: k for k, fold in enumerate(self.folds, 1) for i in fold.held_out}
        place = count()
        return [(s, number.get(next(place)) if s.split == "train" else None) for s in self.samples]

    @property
    def digest(self) -> str:
        """A hex digest of contents, labels, splits and folds: equal for equal data in any folder."""
        rows = sorted(
            f"{s.digest} {self.label_of(s)} {s.split}{f' {fold}' if fold else ''}\n" for s, fold in self.numbered()
        )
        return hashlib.blake2b("".join(rows).encode(), digest_size=16).hexdigest()
