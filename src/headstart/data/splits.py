"""Which photo trains, which chooses, which judges. In: a ``Manifest`` and what reading its photos found. Out: an
``SplitDataset`` with its splits.

A draw depends on the seed, the labels and the relative paths only: not on the file system's order, nor on other
classes. Photos of one group, and exact copies, never straddle two splits.
"""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from headstart.data.filenames import natural_key, shown
from headstart.data.schema import (
    DEFAULT_FRACTION,
    SPLITS,
    BadFile,
    Manifest,
    Photo,
    Sample,
    Split,
    SplitDataset,
    SplitOptions,
)
from headstart.data.sources.detect import check_labels
from headstart.data.stratify import assign, shuffled, units
from headstart.errors import DataError, OptionError, RunError

_GUARD = {"train": 0, "val": 1, "test": 2}
FEWEST_LOOKS = 6
"""Different pictures of a class from which near copies can be kept together: two for each split."""
_COLUMNS = ("path", "label", "split", "digest", "group")


@dataclass
class _Drawn:
    """Usable photos in natural order, the split of each (None: in no split) and what is worth telling."""

    root: Path
    photos: list[Photo]
    digests: list[str]
    alike: list[int]
    splits: list[Split | None]
    notes: list[str] = field(default_factory=list)

    def of(self, split: Split, label: str | None = None) -> list[int]:
        """Indices of one split's photos, or of those of one class."""
        return [i for i, s in enumerate(self.splits) if s == split and label in (None, self.photos[i].label)]

    def by_label(self, split: Split) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for i in self.of(split):
            found[self.photos[i].label].append(i)
        return found

    def name(self, i: int) -> str:
        return shown(self.photos[i].path, self.root)


@dataclass(frozen=True)
class SplitRow:
    """One line of ``splits.csv``; ``path`` is relative to the image set's root, with forward slashes."""

    path: str
    label: str
    split: Split
    digest: str
    group: str | None = None


def split_dataset(
    manifest: Manifest,
    digests: Sequence[str | None],
    bad: Sequence[BadFile],
    options: SplitOptions,
    alike: Sequence[int] | None = None,
) -> SplitDataset:
    """Fix the class list and the splits of ``manifest``.

    ``digests[i]`` belongs to ``manifest.photos[i]``; None leaves that photo out (``bad`` says why). Splits that the data
    brings are kept. Val is cut from train where it lacks; test is cut where the data brings neither val nor test, or
    where ``options.test`` asks for it. ``options.shots``: so many photos per class for train, and at most so many for
    val; ``options.fraction``: that part of train. For one seed, fewer shots are a subset of more. ``alike[i]``:
    a number that near copies of photo i share with it; splits that are drawn keep them together.
    Raises ``OptionError``, and ``DataError`` for classes with too few photos (all of them named).
    """
    _check_options(options)
    draw = _usable(manifest, digests, alike)
    check_labels(draw.photos, manifest.name)
    classes = tuple(sorted({p.label for p in draw.photos}, key=natural_key))
    given = [split for split in SPLITS if split in draw.splits]
    _handle_copies(draw)
    parts = _parts_to_cut(given, options, draw.notes)
    if len(parts) > 1:
        _cut(draw, parts, options.seed)
    _shrink(draw, options)
    _check_filled(draw, classes)
    index = {label: i for i, label in enumerate(classes)}
    samples = tuple(_sample(draw, i, split, index) for split in SPLITS for i in draw.of(split))
    left_out = tuple(dict.fromkeys((*manifest.skipped, *bad)))
    notes = (*manifest.notes, *draw.notes)
    found = SplitDataset(
        manifest.root, manifest.name, manifest.layout, classes, samples, options, bad=left_out, notes=notes
    )
    return replace(found, summary=_summary(found, len(draw.photos), given, parts))


def write_splits(dataset: SplitDataset, path: Path) -> None:
    """Write which photo was where, one line each, atomically; paths relative to the root where they lie below it."""
    part = path.with_name(path.name + ".part")
    with open(part, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for s in dataset.samples:
            name = shown(s.path, dataset.root)
            writer.writerow((name, dataset.classes[s.label], s.split, s.digest, s.group or ""))
    os.replace(part, path)


def read_splits(path: Path) -> list[SplitRow]:
    """The lines that ``write_splits`` wrote. Raises ``RunError`` for a file that is not such a table."""
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.reader(file))
    except (OSError, csv.Error) as error:
        raise RunError(f"{path} cannot be read ({error})") from error
    if not rows or tuple(rows[0]) != _COLUMNS:
        raise RunError(f"{path} is not a table of splits (its columns must be {', '.join(_COLUMNS)})")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(_COLUMNS) or row[2] not in SPLITS:
            raise RunError(f"{path}, line {line}: not a photo's path, label, split, digest and group")
    return [SplitRow(row[0], row[1], cast(Split, row[2]), row[3], row[4] or None) for row in rows[1:]]


def _check_options(options: SplitOptions) -> None:
    for name, value in (("val", options.val), ("test", options.test)):
        if value is not None and not 0 <= value < 1:
            raise OptionError(
                f"--{name} {value:g}: a fraction of the photos, from 0 to below 1, is needed", "0.15 is usual."
            )
    if (options.val or 0) + (options.test or 0) >= 1:
        raise OptionError(f"--val {options.val:g} and --test {options.test:g} leave no photo to train on")
    if options.shots is not None and options.shots < 1:
        raise OptionError(f"--shots {options.shots}: at least one photo per class is needed")
    if options.fraction is not None and not 0 < options.fraction <= 1:
        raise OptionError(f"--fraction {options.fraction:g}: a part of train, above 0 and up to 1, is needed")
    if options.shots is not None and options.fraction is not None:
        raise OptionError("--shots and --fraction both say how much of train to use", "Give one of them.")
    if options.seed < 0:
        raise OptionError(f"--seed {options.seed}: a seed is a whole number from 0")


def _usable(manifest: Manifest, digests: Sequence[str | None], alike: Sequence[int] | None = None) -> _Drawn:
    """The photos that could be read; a class that has none left is named and left out."""
    numbers = range(len(manifest.photos)) if alike is None else alike
    kept = [(p, d, n) for p, d, n in zip(manifest.photos, digests, numbers, strict=True) if d is not None]
    kept.sort(key=lambda item: natural_key(shown(item[0].path, manifest.root)))
    photos = [p for p, _, _ in kept]
    draw = _Drawn(manifest.root, photos, [d for _, d, _ in kept], [n for *_, n in kept], [p.split for p in photos])
    if not photos:
        raise DataError(f"none of the {len(manifest.photos)} photos in {manifest.name} can be read")
    lost = Counter(p.label for p in manifest.photos)
    for p in photos:
        lost.pop(p.label, None)
    for label in sorted(lost, key=natural_key):
        draw.notes.append(f"class {label!r} is left out: none of its {lost[label]} files can be read")
    return draw


def _handle_copies(draw: _Drawn) -> None:
    """Name copies with contradicting labels; of copies in several given splits keep the one that judges."""
    twins: dict[str, list[int]] = defaultdict(list)
    for i, digest in enumerate(draw.digests):
        twins[digest].append(i)
    copies = [group for group in twins.values() if len(group) > 1]
    torn = [group for group in copies if len({draw.photos[i].label for i in group}) > 1]
    if torn:
        named = "; ".join(" = ".join(f"{draw.name(i)} ({draw.photos[i].label})" for i in g[:3]) for g in torn[:5])
        draw.notes.append(
            f"{len(torn)} photos carry different labels in different copies: {named}{_more(len(torn), 5)}"
        )
    leaving = [i for group in copies for i in _less_guarded(draw, group)]
    if leaving:
        named = ", ".join(f"{draw.name(i)} ({draw.splits[i]})" for i in leaving[:3]) + _more(len(leaving), 3)
        draw.notes.append(
            f"left out to keep the result honest, for a later split holds the same file: {_photos(len(leaving))}, "
            f"{named}"
        )
    elif copies:
        extra = sum(len(group) - 1 for group in copies)
        draw.notes.append(f"{_photos(extra)} in exact copies of others; copies stay in one split")
    for i in leaving:
        draw.splits[i] = None
    _note_torn_groups(draw)


def _less_guarded(draw: _Drawn, group: list[int]) -> list[int]:
    """The copies in a less guarded split than another copy: train gives way to val, and both to test."""
    guards = {i: _GUARD[split] for i in group if (split := draw.splits[i])}
    return [i for i, guard in guards.items() if guard < max(guards.values())]


def _note_torn_groups(draw: _Drawn) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for photo, split in zip(draw.photos, draw.splits, strict=True):
        if photo.group and split:
            splits[photo.group].add(split)
    torn = [group for group, where in splits.items() if len(where) > 1]
    if torn:
        named = ", ".join(torn[:3]) + _more(len(torn), 3)
        draw.notes.append(f"groups with photos in several of the splits that the data brings: {named}")


def _parts_to_cut(given: list[Split], options: SplitOptions, notes: list[str]) -> dict[Split, float]:
    """The splits to draw, with their fractions; train, which they are cut from, comes first."""
    wanted: dict[Split, float] = {}
    asked: tuple[tuple[Split, float | None], ...] = (("val", options.val), ("test", options.test))
    for split, fraction in asked:
        if split in given:
            if fraction is not None:
                notes.append(f"--{split} {fraction:g} has no effect: the data brings its own {split} split")
        elif split == "val" or fraction is not None or "val" not in given:
            wanted[split] = DEFAULT_FRACTION if fraction is None else fraction
    if wanted.get("val") == 0:
        raise OptionError("--val 0: without val there is nothing to choose settings on", "0.15 is usual.")
    if not wanted.get("test") and "test" not in given:
        notes.append(
            "no test split: the accuracy on val is of photos that settings were chosen on, and so flatters a little"
        )
    wanted = {split: part for split, part in wanted.items() if part}
    return {"train": 1 - sum(wanted.values()), **wanted}


def _cut(draw: _Drawn, parts: dict[Split, float], seed: int) -> None:
    """Draw the parts from the photos in train (all photos, where the data brings no splits)."""
    pool = [i for i, photo in enumerate(draw.photos) if draw.splits[i] == "train" or photo.split is None]
    labels = [draw.photos[i].label for i in pool]
    unit = units([draw.photos[i].group for i in pool], [draw.digests[i] for i in pool], _together(draw, pool))
    _refuse_few(labels, unit, list(parts))
    names = list(parts)
    for i, part in zip(pool, assign(labels, unit, list(parts.values()), seed), strict=True):
        draw.splits[i] = names[part]
    for split in names:
        lacking = sorted(set(labels) - draw.by_label(split).keys(), key=natural_key)
        if lacking:
            raise DataError(
                f"no photo of {_quoted(lacking)} can be given to {split}: its groups (or copies) cannot be parted",
                "Add photos of other groups, or bring your own splits.",
            )


def too_alike(copies: Sequence[int]) -> bool:
    """Whether a class cannot be parted with near copies kept together; ``copies``: how many photos each of its
    different pictures has.
    """
    return len(copies) < FEWEST_LOOKS or max(copies) > sum(copies) / 2


def _together(draw: _Drawn, pool: list[int]) -> list[int | None]:
    """What near copies among ``pool`` share; nothing where most of a class is one picture (frames of a film), or it has
    too few different ones to be parted.
    """
    looks: dict[str, Counter[int]] = defaultdict(Counter)
    for i in pool:
        looks[draw.photos[i].label][draw.alike[i]] += 1
    one_look = sorted(
        (label for label, n in looks.items() if len(n) < n.total() and too_alike(list(n.values()))), key=natural_key
    )
    extra = len(pool) - len({draw.alike[i] for i in pool})
    if one_look:
        draw.notes.append(
            f"most photos of {_quoted(one_look)} are near copies of each other, and stand in several splits: the"
            " accuracy will flatter"
        )
        return [None] * len(pool)
    if extra:
        draw.notes.append(f"{_photos(extra)} nearly the same as others; near copies stay in one split")
    return [draw.alike[i] for i in pool]


def _refuse_few(labels: list[str], unit: list[int], splits: list[Split]) -> None:
    """Each class must have a photo (or group) for each split."""
    apart: dict[str, set[int]] = defaultdict(set)
    for label, u in zip(labels, unit, strict=True):
        apart[label].add(u)
    photos = Counter(labels)
    few = [label for label in sorted(apart, key=natural_key) if len(apart[label]) < len(splits)]
    if few:
        named = "; ".join(f"{label!r} has {_counted(photos[label], len(apart[label]))}" for label in few[:5])
        raise DataError(
            f"too few photos to part into {', '.join(splits)}: {named}{_more(len(few), 5)}",
            f"Each class needs {len(splits)} at least: add photos, leave the class out, or --test 0 (no test split).",
        )


def _counted(photos: int, apart: int) -> str:
    said = _photos(photos)
    return said if apart == photos else f"{said} in {apart} group{'s' * (apart != 1)} that cannot be parted"


def _shrink(draw: _Drawn, options: SplitOptions) -> None:
    """Keep K per class of train and val, or a fraction of each class of train: the first ones of one shuffled order."""
    if options.shots is None and options.fraction is None:
        return
    train = draw.by_label("train")
    if options.shots is not None:
        few = [label for label in sorted(train, key=natural_key) if len(train[label]) < options.shots]
        if few:
            named = "; ".join(f"{label!r} has {len(train[label])}" for label in few[:5]) + _more(len(few), 5)
            raise DataError(
                f"--shots {options.shots}: too few photos in train: {named}", "Ask for fewer, or add photos."
            )
    for split in ("train", "val") if options.shots is not None else ("train",):
        for label, photos in draw.by_label(split).items():
            keep = options.shots or max(1, round((options.fraction or 1) * len(photos)))
            for i in shuffled(photos, options.seed, f"{split} {label}")[keep:]:
                draw.splits[i] = None


def _check_filled(draw: _Drawn, classes: tuple[str, ...]) -> None:
    """Train must hold every class; a given val or test that lacks some is told of."""
    for split in SPLITS:
        held = draw.by_label(split)
        lacking = [label for label in classes if label not in held]
        if lacking and split == "train":
            raise DataError(f"train holds no photo of {_quoted(lacking)}", "Every class must have photos in train.")
        if lacking and held:
            draw.notes.append(f"{split} holds no photo of {_quoted(lacking)}: it says nothing about them")


def _sample(draw: _Drawn, i: int, split: Split, index: dict[str, int]) -> Sample:
    photo = draw.photos[i]
    return Sample(photo.path, index[photo.label], split, draw.digests[i], photo.group)


def _summary(found: SplitDataset, photos: int, given: list[Split], parts: dict[Split, float]) -> str:
    """``3 classes, 3000 photos, no splits: 70/15/15 stratified, seed 0 (train 2100, val 450, test 450)``."""
    o = found.options
    how = f"stratified, seed {o.seed}"
    if not given or given == ["train"]:
        shares = "/".join(f"{100 * part:.4g}" for part in parts.values())
        said = f"{'only train' if given else 'no splits'}: {shares} {how}"
    else:
        cut = [f"{split} is {100 * part:.4g} % of train" for split, part in parts.items() if split != "train"]
        said = f"{' and '.join(given) if len(given) == 2 else ', '.join(given)} given" + (
            f": {', '.join(cut)}, {how}" if cut else ""
        )
    less = f"{o.shots} per class, " if o.shots else f"{100 * o.fraction:.4g} % of train, " if o.fraction else ""
    counts = ", ".join(f"{split} {n}" for split in SPLITS if (n := len(found.split(split))))
    return f"{len(found.classes)} classes, {photos} photos, {said} ({less}{counts})"


def _quoted(labels: list[str]) -> str:
    return ", ".join(map(repr, labels[:5])) + _more(len(labels), 5)


def _photos(count: int) -> str:
    return f"{count} photo{'s' * (count != 1)}"


def _more(count: int, shown_count: int) -> str:
    return f" and {count - shown_count} more" if count > shown_count else ""
