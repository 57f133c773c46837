"""Checks of classes, and of the dataset's own splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from headstart.core.text import listed, plural, quoted
from headstart.data.filenames import natural_key
from headstart.data.schema import SPLITS
from headstart.data.stratify import units
from headstart.evaluation import metrics
from headstart.workflows.check.base import Case, Check, Context, Finding, Severity

ENOUGH = 20
"""Photos of a class below which val and test hold only a few."""
VERY_IMBALANCED = 10
"""Ratio of the largest to the smallest class from which imbalance is a warning."""


def _classes(context: Context) -> Iterator[Finding]:
    if context.problem:
        trained = {c for photo in context.usable if photo.split == "train" for c in context.labels_of(photo)}
        lacking = set(context.classes) - trained if trained else set()
        cases = _cases(context, lacking, "train has no photo of its class")
        yield Finding("error", context.problem.problem, context.problem.hint, cases)


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
    held = {(photo.split, label) for photo in context.usable for label in context.labels_of(photo)}
    for split in SPLITS[1:]:
        lacking = [quoted(label) for label in context.classes if (split, label) not in held]
        if lacking and len(lacking) < len(context.classes) and not context.problem:
            yield Finding(
                "warning", f"{split} holds no photo of {listed(lacking)}", "Its metrics say nothing about them."
            )


def _few(context: Context) -> Iterator[Finding]:
    counts, apart = _training_photos(context), _pictures_to_divide(context)
    splits = _splits_to_fill(context)
    order = sorted(counts, key=lambda label: (counts[label], natural_key(label)))
    lacking = {label for label in order if apart[label] < len(splits)}
    few = [f"{quoted(label)} has {counts[label]}" for label in order if label not in lacking and counts[label] < ENOUGH]
    if lacking:
        named = [f"{quoted(label)} has {counts[label]}" for label in order if label in lacking]
        where = ", ".join(splits[:-1]) + " and " * (len(splits) > 1) + splits[-1]
        # A label of several that is left out leaves its photos where they are.
        cases = () if context.several else _cases(context, lacking, "its class has too few photos")
        ways = "Add photos, use `test=0`, or" if "test" in splits else "Add photos, or"
        leave = f"{ways} train without such classes, as the cleaned list does ({plural(len(cases), 'photo')}):"
        if context.several:
            leave = f"{ways} train without such labels:"
        sentence = f"too few photos for {where}: {listed(named)} ({len(lacking):,} of {len(order):,} classes)"
        yield Finding("error", sentence, f"{leave} `min_per_class={len(splits)}`.", cases)
    if few:
        sentence = f"fewer than {ENOUGH} photos to learn from: {listed(few)}"
        more = "" if context.several else ": `hs.forecast` estimates what more photos bring"
        yield Finding("warning", sentence, f"Metrics will be imprecise{more}.")


def _uneven(context: Context) -> Iterator[Finding]:
    if counts := _training_photos(context).most_common():
        (high, most), (low, least) = counts[0], counts[-1]
        if most >= metrics.UNEVEN * least:
            sentence = f"class imbalance: {most:,} photos of {quoted(high)}, {least:,} of {quoted(low)}"
            severity: Severity = "warning" if most >= VERY_IMBALANCED * least else "note"
            advice = (
                "Training weights the classes (`balance='auto'`): look at balanced accuracy and at each class's recall."
            )
            if context.several:
                advice = "Each label gets a threshold of its own: look at each label's figures, and at macro F1."
            yield Finding(severity, sentence, advice)


def _cases(context: Context, labels: set[str], words: str) -> tuple[Case, ...]:
    """All photos of some classes."""
    members = zip(context.members.tolist(), context.usable, strict=True)
    return tuple(Case((i,), words) for i, photo in members if labels.intersection(context.labels_of(photo)))


def _splits_to_fill(context: Context) -> list[str]:
    """The splits that training would draw from the photos to train on, which need a photo of each class."""
    given = {photo.split for photo in context.usable}
    return ["train", *(["val"] if "val" not in given else []), *(["test"] if not given & {"val", "test"} else [])]


def _pictures_to_divide(context: Context) -> Counter[str]:
    """As ``_training_photos``, where the photos of one group, and exact duplicates, count once."""
    members = [i for i, photo in enumerate(context.usable) if photo.split in (None, "train") and not context.problem]
    groups, digests = (
        [values[i] for i in members] for values in ([p.group for p in context.usable], context.pixels.digests)
    )
    pairs = zip(members, units(groups, digests), strict=True)
    return Counter(c for c, _ in {(c, one) for i, one in pairs for c in context.labels_of(context.usable[i])})


def _training_photos(context: Context) -> Counter[str]:
    """Photos per class of train, or of all where no split is given; none where training is impossible."""
    some = (photo for photo in context.usable if photo.split in (None, "train") and not context.problem)
    return Counter(label for photo in some for label in context.labels_of(photo))


CLASSES = Check("Classes", _classes, removes="all")
GROUPS = Check("Groups in several splits", _groups)
MISSING = Check("Classes missing from a split", _missing)
FEW = Check("Too few photos", _few, removes="all")
UNEVEN = Check("Class imbalance", _uneven)
