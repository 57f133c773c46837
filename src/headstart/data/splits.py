"""Split a dataset into train, validation and test.

A draw depends on the seed, the labels and the relative paths only, not on the file system's order or on other classes.
The photos of a group, and exact duplicates, stay in one split.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, cast

from headstart.core.files import read_rows, write_rows
from headstart.core.text import brief, listed, plural, quoted
from headstart.data.filenames import natural_key, shown
from headstart.data.sampling import draw
from headstart.data.schema import (
    DEFAULT_FRACTION,
    GUARD,
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
from headstart.data.stratify import assign, groups, places, units
from headstart.errors import DataError, RunError, option


@dataclass
class _Drawn:
    """Usable photos in natural order, the split of each (None: in no split) and notes for the user."""

    root: Path
    photos: list[Photo]
    digests: list[str]
    alike: list[int]
    splits: list[Split | None]
    notes: list[str] = field(default_factory=list)

    def by_label(self, split: Split) -> dict[str, list[int]]:
        return places(p.label if s == split else None for p, s in zip(self.photos, self.splits, strict=True))

    def name(self, i: int) -> str:
        return shown(self.photos[i].path, self.root)


class SplitRow(NamedTuple):
    """One line of ``splits.csv``; ``path`` is relative to the dataset's root, with forward slashes."""

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

    Given splits are kept. A missing val is drawn from train; test is drawn where neither val nor test is given, or
    where ``options.test`` asks for it. With the same seed, fewer shots are a subset of more.

    Args:
        manifest: the photos as found.
        digests: of their bytes, one per photo; None leaves that photo out.
        bad: why photos are left out.
        options: how splits are drawn; ``shots`` limits each class of train and val, ``fraction`` train alone.
        alike: a number per photo that its near-duplicates share; drawn splits keep them together.

    Raises:
        DataError: classes with too few photos (all of them named), or no photo can be read.
    """
    drawn = _usable(manifest, digests, alike)
    check_labels(drawn.photos, manifest.name)
    classes = tuple(sorted({p.label for p in drawn.photos}, key=natural_key))
    given = [split for split in SPLITS if split in drawn.splits]
    _handle_copies(drawn)
    parts = _parts_to_cut(given, options, drawn.notes)
    if len(parts) > 1:
        _cut(drawn, parts, options.seed)
    _shrink(drawn, options)
    _check_filled(drawn, classes)
    index = {label: i for i, label in enumerate(classes)}
    samples = tuple(
        Sample(photo.path, index[photo.label], split, digest, photo.group)
        for split in SPLITS
        for photo, digest, drawn_split in zip(drawn.photos, drawn.digests, drawn.splits, strict=True)
        if drawn_split == split
    )
    found = SplitDataset(
        manifest.root, manifest.name, manifest.layout, classes, samples, options,
        bad=tuple(dict.fromkeys((*manifest.skipped, *bad))), notes=(*manifest.notes, *drawn.notes),
    )  # fmt: skip
    return replace(found, summary=_summary(found, len(drawn.photos), given, parts))


def write_splits(dataset: SplitDataset, path: Path) -> None:
    """Write the split of each photo, one line each, atomically; paths below the root are relative to it."""
    rows = [
        (shown(s.path, dataset.root), dataset.classes[s.label], s.split, s.digest, s.group or "")
        for s in dataset.samples
    ]
    write_rows(path, SplitRow._fields, rows)


def read_splits(path: Path) -> list[SplitRow]:
    """The lines that ``write_splits`` wrote. Raises ``RunError`` for a file that is not such a table."""
    columns = SplitRow._fields
    try:
        rows = read_rows(path)
    except (OSError, csv.Error) as error:
        raise RunError(f"{path} cannot be read ({brief(error)})") from error
    if not rows or tuple(rows[0]) != columns:
        raise RunError(f"{path} is not a table of splits (its columns must be {', '.join(columns)})")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(columns) or row[2] not in SPLITS:
            raise RunError(f"{path}, line {line}: not a photo's path, label, split, digest and group")
    return [SplitRow(row[0], row[1], cast(Split, row[2]), row[3], row[4] or None) for row in rows[1:]]


def _usable(manifest: Manifest, digests: Sequence[str | None], alike: Sequence[int] | None) -> _Drawn:
    """The photos that can be read."""
    numbers = range(len(manifest.photos)) if alike is None else alike
    kept = [(p, d, n) for p, d, n in zip(manifest.photos, digests, numbers, strict=True) if d is not None]
    kept.sort(key=lambda item: natural_key(shown(item[0].path, manifest.root)))
    photos = [p for p, _, _ in kept]
    drawn = _Drawn(manifest.root, photos, [d for _, d, _ in kept], [n for *_, n in kept], [p.split for p in photos])
    if not photos:
        raise DataError(f"none of the {len(manifest.photos)} photos in {manifest.name} can be read")
    return drawn


def _handle_copies(drawn: _Drawn) -> None:
    """Name duplicates with different labels, and groups in several given splits. Of duplicates in several given splits
    keep those in the most guarded one: train gives way to val, and both to test.
    """
    copies = groups(drawn.digests)
    torn = [group for group in copies if len({drawn.photos[i].label for i in group}) > 1]
    if torn:
        named = [" = ".join(f"{drawn.name(i)} ({drawn.photos[i].label})" for i in group[:3]) for group in torn]
        drawn.notes.append(
            f"{plural(len(torn), 'photo')} whose duplicates have other labels: {listed(named, separator='; ')}"
        )
    leaving = []
    for group in copies:
        guards = {i: GUARD[split] for i in group if (split := drawn.splits[i])}
        leaving += [i for i, guard in guards.items() if guard < max(guards.values())]
    if leaving:
        named = [f"{drawn.name(i)} ({drawn.splits[i]})" for i in leaving]
        drawn.notes.append(
            f"left out because a later split holds the same file: {plural(len(leaving), 'photo')}, {listed(named, 3)}"
        )
    elif copies:
        extra = sum(len(group) - 1 for group in copies)
        drawn.notes.append(f"{plural(extra, 'exact duplicate')}; duplicates stay in one split")
    for i in leaving:
        drawn.splits[i] = None
    members = places(photo.group for photo in drawn.photos)
    torn_groups = [group for group, own in members.items() if len({drawn.splits[i] for i in own} - {None}) > 1]
    if torn_groups:
        drawn.notes.append(f"groups with photos in several given splits: {listed(torn_groups, 3)}")


def _parts_to_cut(given: list[Split], options: SplitOptions, notes: list[str]) -> dict[Split, float]:
    """The splits to draw, with their fractions; train, which they are drawn from, comes first."""
    wanted: dict[Split, float] = {}
    asked: tuple[tuple[Split, float | None], ...] = (("val", options.val), ("test", options.test))
    for split, fraction in asked:
        if split in given:
            if fraction is not None:
                notes.append(f"{option(split, fraction)} has no effect: the data brings its own {split} split")
        elif split == "val" or fraction is not None or "val" not in given:
            wanted[split] = DEFAULT_FRACTION if fraction is None else fraction
    if not wanted.get("test") and "test" not in given:
        notes.append(
            "no test split: settings were chosen on the validation set, so its accuracy is slightly optimistic"
        )
    wanted = {split: part for split, part in wanted.items() if part}
    return {"train": 1 - sum(wanted.values()), **wanted}


def _cut(drawn: _Drawn, parts: dict[Split, float], seed: int) -> None:
    """Draw the parts from the photos in train (all photos, where no splits are given)."""
    pool = [i for i, photo in enumerate(drawn.photos) if drawn.splits[i] == "train" or photo.split is None]
    labels = [drawn.photos[i].label for i in pool]
    unit = units([drawn.photos[i].group for i in pool], [drawn.digests[i] for i in pool], _together(drawn, pool))
    names = list(parts)
    _refuse_few(labels, unit, names)
    for i, part in zip(pool, assign(labels, unit, list(parts.values()), seed), strict=True):
        drawn.splits[i] = names[part]
    for split in names:
        lacking = sorted(set(labels) - drawn.by_label(split).keys(), key=natural_key)
        if lacking:
            raise DataError(
                f"no photo of {_quoted(lacking)} can be put into {split}: its groups (or duplicates) cannot be divided",
                "Add photos of other groups, or give your own splits.",
            )


def too_alike(copies: Sequence[int]) -> bool:
    """Whether near-duplicates of a class cannot be kept together; ``copies``: photos of each of its pictures."""
    return len(copies) < 6 or max(copies) > sum(copies) / 2  # 6: two for each split


def _together(drawn: _Drawn, pool: list[int]) -> list[int | None]:
    """A key per photo of ``pool`` that its near-duplicates share; none where most of a class is one picture (frames of
    a film), or a class has too few different pictures to be divided.
    """
    looks: dict[str, Counter[int]] = defaultdict(Counter)
    for i in pool:
        looks[drawn.photos[i].label][drawn.alike[i]] += 1
    one_look = [label for label, n in looks.items() if len(n) < n.total() and too_alike(list(n.values()))]
    if one_look:
        drawn.notes.append(
            f"most photos of {_quoted(sorted(one_look, key=natural_key))} are near-duplicates of each other, in several"
            " splits: the accuracy is optimistic"
        )
        return [None] * len(pool)
    if extra := len(pool) - len({drawn.alike[i] for i in pool}):
        drawn.notes.append(f"{plural(extra, 'near-duplicate')}; near-duplicates stay in one split")
    return [drawn.alike[i] for i in pool]


def _refuse_few(labels: list[str], unit: list[int], splits: list[Split]) -> None:
    """Each class must have a photo (or group) for each split."""
    few = []
    for label, members in places(labels).items():
        apart = len({unit[i] for i in members})
        if apart < len(splits):
            undivided = f" in {plural(apart, 'group')} that cannot be divided" if apart < len(members) else ""
            few.append(f"{quoted(label)} has {plural(len(members), 'photo')}{undivided}")
    if few:
        raise DataError(
            f"too few photos to divide into {', '.join(splits)}: {listed(few, separator='; ')}",
            f"Each class needs {len(splits)} at least: add photos, leave the class out, or use `test=0`.",
        )


def _shrink(drawn: _Drawn, options: SplitOptions) -> None:
    """Keep ``shots`` per class of train and val, or a fraction of each class of train."""
    if options.shots is None and options.fraction is None:
        return
    train = drawn.by_label("train").items()
    if few := [f"{quoted(label)} has {len(own)}" for label, own in train if len(own) < (options.shots or 0)]:
        raise DataError(
            f"{option('shots', options.shots)}: too few photos in train: {listed(few, separator='; ')}",
            "Ask for fewer, or add photos.",
        )
    for split in ("train", "val") if options.shots is not None else ("train",):
        members = drawn.by_label(split)
        keep = {label: options.shots or max(1, round((options.fraction or 1) * len(m))) for label, m in members.items()}
        kept = draw(members, keep, options.seed, f"{split} ")
        drawn.splits = [None if s == split and i not in kept else s for i, s in enumerate(drawn.splits)]


def _check_filled(drawn: _Drawn, classes: tuple[str, ...]) -> None:
    """Train must have every class; a given val or test that lacks some is named."""
    for split in SPLITS:
        held = drawn.by_label(split)
        lacking = [label for label in classes if label not in held]
        if lacking and split == "train":
            raise DataError(f"train has no photo of {_quoted(lacking)}", "Every class must have photos in train.")
        if lacking and held:
            drawn.notes.append(f"{split} has no photo of {_quoted(lacking)}: it cannot evaluate them")


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
    return listed(list(map(repr, labels)))
