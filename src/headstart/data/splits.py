"""Split a dataset into train, validation and test.

A draw depends on the seed, the labels and the relative paths only, not on the file system's order or on other classes.
The photos of a group, and exact duplicates, stay in one split.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from headstart.core.text import listed, plural, quoted
from headstart.data.chosen import chosen
from headstart.data.few import with_few
from headstart.data.filenames import natural_key, shown
from headstart.data.folds import draw_folds
from headstart.data.label_sets import joined_labels
from headstart.data.sampling import draw
from headstart.data.schema import (
    DEFAULT_FRACTION,
    GUARD,
    SPLITS,
    BadFile,
    Fold,
    LeftOut,
    Manifest,
    Photo,
    Sample,
    Split,
    SplitDataset,
    SplitOptions,
)
from headstart.data.sources.columns import StoredPhotos
from headstart.data.sources.detect import check_labels
from headstart.data.stratify import assign, groups, places, places_of, units
from headstart.data.stratify_several import assign_several
from headstart.errors import DataError, option


@dataclass
class _Drawn:
    """Usable photos in natural order, the split of each (None: in no split) and notes for the user."""

    root: Path
    photos: Sequence[Photo]
    numbers: list[int]  # their places in the manifest
    digests: list[str]
    alike: list[int]
    given: list[Split | None]  # by the data
    splits: list[Split | None]
    groups: list[str | None]
    labels: list[tuple[str, ...]]  # of each photo
    several: bool  # whether a photo has any number of them
    notes: list[str] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)  # why a photo may be in no split

    def by_label(self, split: Split) -> dict[str, list[int]]:
        return places_of(labels if s == split else () for labels, s in zip(self.labels, self.splits, strict=True))

    def name(self, i: int) -> str:
        return shown(self.photos[i].path, self.root)

    def leave_out(self, reasons: dict[int, str]) -> None:
        for i, reason in reasons.items():
            self.splits[i], self.left_out[i] = None, reason

    def pool(self) -> list[int]:
        """The photos that missing splits are drawn from: those in train, or all where the data has no splits."""
        rest = (i for i in range(len(self.photos)) if i not in self.left_out)
        return [i for i in rest if self.splits[i] == "train" or self.given[i] is None]


def split_dataset(
    manifest: Manifest,
    digests: Sequence[str | None],
    bad: Sequence[BadFile],
    options: SplitOptions,
    alike: Sequence[int] | None = None,
    drop_near: bool = False,
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
        drop_near: of near-duplicates in several given splits, leave out those in the less guarded ones, as is always
            done with exact duplicates.

    Raises:
        DataError: classes with too few photos (all of them named), or no photo can be read.
    """
    drawn = _usable(manifest, digests, alike)
    given = [split for split in SPLITS if split in drawn.splits]
    _handle_copies(drawn, drop_near)
    small = _leave_small(drawn, options.min_per_class) if options.min_per_class else set()
    kept = [i for i, own in enumerate(drawn.labels) if drawn.several or own[0] not in small]
    check_labels((drawn.photos[i] for i in kept), manifest.name, drawn.several)
    classes = tuple(sorted({label for own in drawn.labels for label in own} - small, key=natural_key))
    _check_given(drawn, given)
    parts = _parts_to_cut(given, options, drawn.notes)
    folds: tuple[Fold, ...] = ()
    if options.folds:
        folds = _cut_folds(drawn, parts, options)
    elif len(parts) > 1:
        _cut(drawn, parts, options.seed)
    _shrink(drawn, options)
    _check_filled(drawn, classes)
    index = {label: i for i, label in enumerate(classes)}
    samples = _samples(drawn, index)
    found = SplitDataset(
        manifest.root, manifest.name, manifest.layout, classes, samples, options,
        bad=tuple(dict.fromkeys((*manifest.skipped, *bad))), notes=(*manifest.notes, *drawn.notes),
        left_out=tuple(
            LeftOut(drawn.photos[i].path, drawn.photos[i].label, drawn.given[i], drawn.digests[i], drawn.left_out[i])
            for i in sorted(drawn.left_out)
        ),
        folds=folds, several=drawn.several,
    )  # fmt: skip
    return replace(found, summary=_summary(found, len(kept), given, parts))


def _samples(drawn: _Drawn, index: dict[str, int]) -> tuple[Sample, ...]:
    """The photos that are in a split, a split after the other."""
    found: dict[Split, list[Sample]] = {split: [] for split in SPLITS}
    for i, (split, digest) in enumerate(zip(drawn.splits, drawn.digests, strict=True)):
        if split is None:
            continue
        labels, place = [index[label] for label in drawn.labels[i]], str(drawn.photos[i].path)
        label, several = (-1, tuple(labels)) if drawn.several else (labels[0], None)
        found[split].append(Sample(place, drawn.numbers[i], label, split, digest, drawn.groups[i], several))
    return tuple(sample for own in found.values() for sample in own)


def _usable(manifest: Manifest, digests: Sequence[str | None], alike: Sequence[int] | None) -> _Drawn:
    """The photos that can be read."""
    kept = [i for i, digest in enumerate(digests) if digest is not None]
    if not isinstance(manifest.photos, StoredPhotos):  # which are in this order
        kept.sort(key=lambda i: natural_key(shown(manifest.photos[i].path, manifest.root)))
    photos = chosen(manifest.photos, kept)
    same: dict[tuple[str, ...], tuple[str, ...]] = {}  # one object for the same labels
    given, groups_of_photos, labels = [], [], []
    for photo in photos:
        own = manifest.labels_of(photo)
        given.append(photo.split)
        groups_of_photos.append(photo.group)
        labels.append(same.setdefault(own, own))
    numbers = kept if alike is None else [alike[i] for i in kept]
    drawn = _Drawn(
        manifest.root, photos, kept, [str(digests[i]) for i in kept], numbers, given, list(given), groups_of_photos,
        labels, manifest.several,
    )  # fmt: skip
    if not kept:
        raise DataError(f"none of the {len(manifest.photos)} photos in {manifest.name} can be read")
    return drawn


def _handle_copies(drawn: _Drawn, drop_near: bool) -> None:
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
    leaving: dict[int, int] = {}  # a photo, and its duplicate in the most guarded split
    for group in groups(units(drawn.digests, drawn.alike)) if drop_near else copies:
        guards = {i: GUARD[split] for i in group if (split := drawn.splits[i])}
        stays = [i for i, guard in guards.items() if guard == max(guards.values())]
        for i in guards.keys() - set(stays):
            leaving[i] = next((j for j in stays if drawn.digests[j] == drawn.digests[i]), stays[0])
    if leaving:
        drawn.notes.append(_shared_pictures(drawn, leaving))
    elif copies:
        extra = sum(len(group) - 1 for group in copies)
        drawn.notes.append(f"{plural(extra, 'exact duplicate')}; duplicates stay in one split")
    drawn.leave_out({i: f"a duplicate of {drawn.name(j)} ({drawn.splits[j]})" for i, j in sorted(leaving.items())})
    members = places(drawn.groups)
    torn_groups = [group for group, own in members.items() if len({drawn.splits[i] for i in own} - {None}) > 1]
    if torn_groups:
        drawn.notes.append(f"groups with photos in several given splits: {listed(torn_groups, 3)}")


def _shared_pictures(drawn: _Drawn, leaving: dict[int, int]) -> str:
    """What is left out, in one line; the values of ``leaving`` are the duplicates that stay."""
    near = sum(drawn.digests[i] != drawn.digests[j] for i, j in leaving.items())
    same = f"the same {'picture' if near else 'file'}" + (f" ({plural(near, 'near-duplicate')})" if near else "")
    named = [
        f"{drawn.name(i)} ({drawn.splits[i]}) = {drawn.name(j)} ({drawn.splits[j]})" for i, j in sorted(leaving.items())
    ]
    return f"left out because a later split holds {same}: {plural(len(leaving), 'photo')}, {listed(named, 2, '; ')}"


def _check_given(drawn: _Drawn, given: list[Split]) -> None:
    for split in given:
        if split not in drawn.splits:
            raise DataError(
                f"every photo of {split} is a duplicate of a photo in a later split, so none is left",
                f"Give {split} photos of its own.",
            )


def _leave_small(drawn: _Drawn, least: int) -> set[str]:
    """Leave out classes with fewer than ``least`` photos to train and choose on, where those of one group, and exact
    duplicates, count once. Raises DataError where fewer than two classes stay.
    """
    pool = drawn.pool()
    unit = units([drawn.groups[i] for i in pool], [drawn.digests[i] for i in pool])
    pairs = {(label, one) for i, one in zip(pool, unit, strict=True) for label in drawn.labels[i]}
    size = Counter(label for label, _ in pairs)
    every = Counter(label for labels in drawn.labels for label in labels)
    small = sorted(
        (label for label in every if size[label] < least), key=lambda label: (size[label], natural_key(label))
    )
    if not small:
        return set()
    asked = option("min_per_class", least)
    if len(every) - len(small) < 2:
        left = plural(len(every) - len(small), "class has", "classes have")
        raise DataError(f"{asked}: only {left} as many photos", "Ask for fewer.", option="min_per_class")
    named = [f"{quoted(label)} ({size[label]})" for label in small]
    if drawn.several:
        drawn.labels = [tuple(label for label in own if label not in set(small)) for own in drawn.labels]
        pairs_left = zip(drawn.photos, drawn.labels, strict=True)
        drawn.photos = [replace(photo, label=joined_labels(own)) for photo, own in pairs_left]
        words = f"{len(small):,} of {len(every):,} labels; photos stay, without them"
    else:
        gone = (i for i, (own,) in enumerate(drawn.labels) if own in set(small) and i not in drawn.left_out)
        drawn.leave_out(dict.fromkeys(gone, f"its class has fewer than {least} photos"))
        words = f"{len(small):,} of {len(every):,} classes, {plural(sum(every[c] for c in small), 'photo')}"
    drawn.notes.append(f"{asked} leaves out {words}: {listed(named)}")
    return set(small)


def _parts_to_cut(given: list[Split], options: SplitOptions, notes: list[str]) -> dict[Split, float]:
    """The splits to draw, with their fractions; train, which they are drawn from, comes first. Beside folds val is not
    one of them: each fold has its own.
    """
    wanted: dict[Split, float] = {}
    asked: tuple[tuple[Split, float | None], ...] = (("val", options.val), ("test", options.test))
    for split, fraction in asked:
        if split in given:
            if fraction is not None:
                notes.append(f"{option(split, fraction)} has no effect: the data brings its own {split} split")
        elif options.folds:
            wanted[split] = fraction if fraction and split == "test" else 0.0
        elif split == "val" or fraction is not None or "val" not in given:
            wanted[split] = DEFAULT_FRACTION if fraction is None else fraction
    if not wanted.get("test") and "test" not in given and not options.folds:
        notes.append(
            "no test split: settings were chosen on the validation set, so its accuracy is slightly optimistic"
        )
    wanted = {split: part for split, part in wanted.items() if part}
    return {"train": 1 - sum(wanted.values()), **wanted}


def _cut_folds(drawn: _Drawn, parts: dict[Split, float], options: SplitOptions) -> tuple[Fold, ...]:
    """Put every photo that is not for test into train, and divide train into folds."""
    pool = drawn.pool()
    labels = [drawn.labels[i][0] for i in pool]
    together = _together(drawn, pool)
    if len(parts) > 1:
        _cut(drawn, parts, options.seed, together)
    for i in pool:
        drawn.splits[i] = drawn.splits[i] or "train"
    kept = [place for place, i in enumerate(pool) if drawn.splits[i] == "train"]
    members = [pool[place] for place in kept]
    unit = units(
        [drawn.groups[i] for i in members],
        [drawn.digests[i] for i in members],
        [together[place] for place in kept],
    )
    val = DEFAULT_FRACTION if options.val is None else options.val
    return draw_folds([labels[place] for place in kept], unit, options.folds or 0, val, options.seed)


def _cut(drawn: _Drawn, parts: dict[Split, float], seed: int, together: list[int | None] | None = None) -> None:
    """Draw the parts from the photos in train (all photos, where no splits are given). ``together`` as of
    ``_together``, where that is known.
    """
    pool = drawn.pool()
    labels = [drawn.labels[i] for i in pool]
    together = _together(drawn, pool) if together is None else together
    unit = units([drawn.groups[i] for i in pool], [drawn.digests[i] for i in pool], together)
    names, shares = list(parts), list(parts.values())
    of_class = places_of(labels)
    _refuse_few(of_class, unit, names)
    if drawn.several:
        drawn_parts = assign_several(labels, unit, shares, seed)
    else:
        drawn_parts = assign([label for (label,) in labels], unit, shares, seed)
    for i, part in zip(pool, drawn_parts, strict=True):
        drawn.splits[i] = names[part]
    for split in names:
        lacking = sorted(of_class.keys() - drawn.by_label(split).keys(), key=natural_key)
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
        for label in drawn.labels[i]:
            looks[label][drawn.alike[i]] += 1
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


def _refuse_few(of_class: dict[str, list[int]], unit: list[int], splits: list[Split]) -> None:
    """Each class must have a photo (or group) for each split."""
    if few := with_few(of_class, unit, len(splits)):
        ways = ["add photos", *(["use `test=0`"] if "test" in splits else [])]
        raise few.error(f"too few photos to divide into {', '.join(splits)},", ways)


def _shrink(drawn: _Drawn, options: SplitOptions) -> None:
    """Keep ``shots`` per class of train and val, or a fraction of each class of train."""
    if options.shots is None and options.fraction is None:
        return
    train = drawn.by_label("train").items()
    if few := [f"{quoted(label)} has {len(own)}" for label, own in train if len(own) < (options.shots or 0)]:
        raise DataError(
            f"{option('shots', options.shots)}: too few photos in train: {listed(few, separator='; ')}",
            "Ask for fewer, add photos, or leave small classes out with `min_per_class` (of train, val and test).",
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
            hint = "Every class must have photos in train: add some, or leave such classes out with `min_per_class=1`."
            raise DataError(f"train has no photo of {_quoted(lacking)}", hint, option="min_per_class")
        if lacking and held:
            drawn.notes.append(f"{split} has no photo of {_quoted(lacking)}: it cannot evaluate them")


def _summary(found: SplitDataset, photos: int, given: list[Split], parts: dict[Split, float]) -> str:
    """``3 classes, 3000 photos, no splits: 70/15/15 stratified, seed 0 (train 2100, val 450, test 450)``."""
    o = found.options
    how = f"stratified, seed {o.seed}"
    if o.folds:
        cut = [f"test is {100 * part:.4g} %" for split, part in parts.items() if split == "test"]
        said = f"{' and '.join(given) if given else 'no splits'}: {', '.join([*cut, f'{o.folds} folds'])} {how}"
    elif not given or given == ["train"]:
        shares = "/".join(f"{100 * part:.4g}" for part in parts.values())
        said = f"{'only train' if given else 'no splits'}: {shares} {how}"
    else:
        cut = [f"{split} is {100 * part:.4g} % of train" for split, part in parts.items() if split != "train"]
        said = f"{' and '.join(given) if len(given) == 2 else ', '.join(given)} given" + (
            f": {', '.join(cut)}, {how}" if cut else ""
        )
    less = f"{o.shots} per class, " if o.shots else f"{100 * o.fraction:.4g} % of train, " if o.fraction else ""
    counts = ", ".join(f"{split} {n}" for split in SPLITS if (n := len(found.split(split))))
    return f"{len(found.classes)} {'labels' if found.several else 'classes'}, {photos} photos, {said} ({less}{counts})"


def _quoted(labels: list[str]) -> str:
    return listed(list(map(repr, labels)))
