"""Checks of classes, and of the dataset's own splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from headstart.core.text import listed, plural, quoted
from headstart.data.filenames import natural_key
from headstart.data.schema import SPLITS
from headstart.workflows.check.base import Check, Context, Finding, Severity

ENOUGH = 20
"""Photos of a class below which val and test hold only a few."""
IMBALANCED, VERY_IMBALANCED = 3, 10
"""Ratio of the largest to the smallest class."""


def _classes(context: Context) -> Iterator[Finding]:
    if context.problem:
        yield Finding("error", context.problem.problem, context.problem.hint)


def _groups(context: Context) -> Iterator[Finding]:
    """Groups (a patient, a burst) that the dataset's own splits separate."""
    splits: dict[str, set[str]] = defaultdict(set)
    for photo in context.usable:
        if photo.group and photo.split:
            splits[photo.group].add(photo.split)
    torn = sorted((group for group, held in splits.items() if len(held) > 1), key=natural_key)
    if torn and not context.problem:
        sentence = f"{plural(len(torn), 'group has', 'groups have')} photos in several splits: {listed(torn, 3)}"
        yield Finding("error", sentence, "The accuracy would be too high: give each group to one split.")


def _missing(context: Context) -> Iterator[Finding]:
    held = {(photo.split, photo.label) for photo in context.usable}
    for split in SPLITS[1:]:
        lacking = [quoted(label) for label in context.classes if (split, label) not in held]
        if lacking and len(lacking) < len(context.classes) and not context.problem:
            yield Finding(
                "warning", f"{split} holds no photo of {listed(lacking)}", "Its metrics say nothing about them."
            )


def _few(context: Context) -> Iterator[Finding]:
    counts = _training_photos(context)
    needed = 1 if any(photo.split for photo in context.usable) else 3
    order = sorted(counts, key=natural_key)
    none = [f"{quoted(label)} has {counts[label]}" for label in order if counts[label] < needed]
    few = [f"{quoted(label)} has {counts[label]}" for label in order if needed <= counts[label] < ENOUGH]
    if none:
        sentence = f"too few photos for train, val and test: {listed(none)}"
        yield Finding("error", sentence, "Add photos, leave the class out, or use `test=0`.")
    if few:
        sentence = f"fewer than {ENOUGH} photos to learn from: {listed(few)}"
        yield Finding("warning", sentence, "Metrics will be imprecise: `hs.forecast` estimates what more photos bring.")


def _uneven(context: Context) -> Iterator[Finding]:
    if counts := _training_photos(context).most_common():
        (high, most), (low, least) = counts[0], counts[-1]
        if most >= IMBALANCED * least:
            sentence = f"class imbalance: {most:,} photos of {quoted(high)}, {least:,} of {quoted(low)}"
            severity: Severity = "warning" if most >= VERY_IMBALANCED * least else "note"
            yield Finding(severity, sentence, "Look at the macro averages and at each class's recall.")


def _training_photos(context: Context) -> Counter[str]:
    """Photos per class of train, or of all where no split is given; none where training is impossible."""
    return Counter(p.label for p in context.usable if p.split in (None, "train") and not context.problem)


CLASSES = Check("Classes", _classes)
GROUPS = Check("Groups in several splits", _groups)
MISSING = Check("Classes missing from a split", _missing)
FEW = Check("Too few photos", _few)
UNEVEN = Check("Class imbalance", _uneven)
