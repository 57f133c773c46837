"""Checks of classes, and of the splits that the data brings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from headstart.core.text import listed
from headstart.data.filenames import natural_key
from headstart.data.schema import SPLITS
from headstart.workflows.check.base import Check, Context, Finding, Severity

ENOUGH = 20
"""Photos of a class below which val and test hold a handful."""
IMBALANCED, VERY_IMBALANCED = 3, 10
"""Photos of the largest class, by those of the smallest, from which classes are imbalanced."""


def _classes(context: Context) -> Iterator[Finding]:
    if context.problem:
        yield Finding("error", context.problem.problem, context.problem.hint)
        return
    lost = {photo.label for photo in context.photos.manifest.photos} - set(context.classes)
    for label in sorted(lost, key=natural_key):
        yield Finding("error", f"class {label!r} has no photo that can be read", "Mend or remove it.")


def _groups(context: Context) -> Iterator[Finding]:
    """Groups (a patient, a burst) that the data's own splits tear apart."""
    where: dict[str, set[str]] = defaultdict(set)
    for photo in context.usable:
        if photo.group and photo.split:
            where[photo.group].add(photo.split)
    torn = sorted((group for group, splits in where.items() if len(splits) > 1), key=natural_key)
    if torn and not context.problem:
        have = "group has" if len(torn) == 1 else "groups have"
        sentence = f"{len(torn):,} {have} photos in several splits: {listed(torn, 3)}"
        yield Finding("error", sentence, "The accuracy would be too high: give each group to one split.")


def _missing(context: Context) -> Iterator[Finding]:
    held: dict[str, set[str]] = defaultdict(set)
    for photo in context.usable:
        held[str(photo.split)].add(photo.label)
    for split in SPLITS[1:]:
        lacking = [label for label in context.classes if split in held and label not in held[split]]
        if lacking and not context.problem:
            sentence = f"{split} holds no photo of {listed(list(map(repr, lacking)))}"
            yield Finding("warning", sentence, "Its metrics say nothing about them.")


def _few(context: Context) -> Iterator[Finding]:
    counts = _to_learn_from(context)
    needed = 1 if any(photo.split for photo in context.usable) else 3
    order = sorted(counts, key=natural_key)
    none = [f"{label!r} has {counts[label]}" for label in order if counts[label] < needed]
    few = [f"{label!r} has {counts[label]}" for label in order if needed <= counts[label] < ENOUGH]
    if none:
        sentence = f"too few photos for train, val and test: {listed(none)}"
        yield Finding("error", sentence, "Add photos, leave the class out, or use `test=0`.")
    if few:
        sentence = f"fewer than {ENOUGH} photos to learn from: {listed(few)}"
        yield Finding("warning", sentence, "Metrics will be imprecise: `hs.forecast` estimates what more photos bring.")


def _uneven(context: Context) -> Iterator[Finding]:
    counts = _to_learn_from(context)
    if not counts:
        return
    (high, most), (low, least) = counts.most_common()[0], counts.most_common()[-1]
    if most >= IMBALANCED * least:
        sentence = f"class imbalance: {most:,} photos of {high!r}, {least:,} of {low!r}"
        severity: Severity = "warning" if most >= VERY_IMBALANCED * least else "note"
        yield Finding(severity, sentence, "Look at the macro averages and at each class's recall.")


def _to_learn_from(context: Context) -> Counter[str]:
    """Photos per class of train, or of all where no split is given; none where nothing could be trained."""
    return Counter(p.label for p in context.usable if p.split in (None, "train") and not context.problem)


CLASSES = Check("Classes", _classes)
GROUPS = Check("Groups in several splits", _groups)
MISSING = Check("Classes missing from a split", _missing)
FEW = Check("Too few photos", _few)
UNEVEN = Check("Class imbalance", _uneven)
