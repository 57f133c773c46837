"""What files and counts tell, before any network is asked. In: photos as read. Out: findings about files, shapes,
classes and splits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.text import plural
from headstart.data.filenames import natural_key, shown
from headstart.data.schema import SPLITS, Manifest
from headstart.data.sources.detect import check_labels
from headstart.errors import DataError
from headstart.workflows.check.findings import Case, Finding, Severity

if TYPE_CHECKING:
    from headstart.data.loading import LoadedImages


TINY = 32
"""Shorter side, px, below which a photo among larger ones holds hardly anything."""
LONG = 4.0
"""Longer by shorter side from which a centre crop loses most of a photo."""
FLAT = 2.0
"""Standard deviation of gray levels (of 255) below which a photo shows nothing."""
FEW = 20
"""LoadedImages of a class below which val and test hold a handful."""
UNEVEN, VERY_UNEVEN = 3, 10
TELLING = 0.2
"""Share of the photos whose class a property of the file tells, from which it is worth a warning."""
PURE, COMMON = 0.95, 0.75
"""Share of one class among the photos with a value from which the value is said to mean that class; share of a class
among all photos above which that says nothing."""


def file_findings(photos: LoadedImages, thumbs: np.ndarray, members: np.ndarray) -> list[Finding]:
    """Findings about single files; ``thumbs`` [N, S, S] are those of the usable photos ``members`` [N]."""
    return [*_unreadable(photos), *_sizes(photos, members), *_blank(thumbs, members), *_converted(photos)]


def class_findings(photos: LoadedImages, members: np.ndarray) -> list[Finding]:
    """Findings about classes and the splits that the data brings."""
    manifest = photos.manifest
    usable = [manifest.photos[i] for i in members]
    try:
        check_labels(usable, manifest.name)
    except DataError as error:
        return [Finding("classes", "error", error.problem, error.hint)]
    return [
        *_groups(manifest, members),
        *_lost(manifest, members),
        *_missing(manifest, members),
        *_counts(manifest, members),
    ]


def _unreadable(photos: LoadedImages) -> list[Finding]:
    bad = [(shown(b.path, photos.manifest.root), b.reason) for b in (*photos.manifest.skipped, *photos.bad)]
    if not bad:
        return []
    sentence = f"{plural(len(bad), 'file')} cannot be used as a photo"
    return [Finding("unreadable", "warning", sentence, "train goes on without.", files=tuple(bad))]


def _sizes(photos: LoadedImages, members: np.ndarray) -> list[Finding]:
    sizes = np.array([photos.pixels.sizes[i] for i in members]).reshape(-1, 2)
    short, long = sizes.min(1), sizes.max(1)
    found = []
    tiny = np.flatnonzero((short < TINY) & (np.median(short) >= 2 * TINY))
    if len(tiny):
        sentence = f"{plural(len(tiny), 'photo')} with a side below {TINY} px among photos of {np.median(short):.0f}"
        cases = [Case((int(members[i]),), f"{sizes[i][0]} x {sizes[i][1]} px", 1 / short[i]) for i in tiny]
        found.append(Finding("tiny", "warning", sentence, "Are they thumbnails or icons?", _surest(cases)))
    odd = np.flatnonzero(long / short >= LONG)
    if len(odd):
        sentence = f"{plural(len(odd), 'photo')} {LONG:g} times as long as wide and more"
        cases = [Case((int(members[i]),), f"{sizes[i][0]} x {sizes[i][1]} px", long[i] / short[i]) for i in odd]
        found.append(Finding("shape", "note", sentence, "Only their centre is seen.", _surest(cases)))
    return found


def _blank(thumbs: np.ndarray, members: np.ndarray) -> list[Finding]:
    spread = thumbs.reshape(len(thumbs), -1).std(1) if len(thumbs) else np.zeros(0)
    flat = np.flatnonzero(spread < FLAT)
    if not len(flat):
        return []
    cases = [Case((int(members[i]),), "one colour", -float(spread[i])) for i in flat]
    return [Finding("blank", "warning", f"{plural(len(flat), 'photo')} of one colour", "", _surest(cases))]


def _converted(photos: LoadedImages) -> list[Finding]:
    if not photos.conversions:
        return []
    words = ", ".join(f"{count:,} {what}" for what, count in photos.conversions.items())
    return [Finding("converted", "note", f"read all the same: {words}")]


def _groups(manifest: Manifest, members: np.ndarray) -> list[Finding]:
    """Groups (a patient, a burst) that the data's own splits part."""
    where: dict[str, set[str]] = defaultdict(set)
    for i in members:
        photo = manifest.photos[i]
        if photo.group and photo.split:
            where[photo.group].add(photo.split)
    torn = sorted((group for group, splits in where.items() if len(splits) > 1), key=natural_key)
    if not torn:
        return []
    named = ", ".join(torn[:3]) + (f" and {len(torn) - 3} more" if len(torn) > 3 else "")
    sentence = f"{plural(len(torn), 'group has', 'groups have')} photos in several splits: {named}"
    return [Finding("groups", "error", sentence, "Accuracy would flatter: give each group to one split.")]


def _lost(manifest: Manifest, members: np.ndarray) -> list[Finding]:
    kept = {manifest.photos[i].label for i in members}
    lost = sorted({photo.label for photo in manifest.photos} - kept, key=natural_key)
    return [
        Finding("classes", "error", f"class {label!r} has no photo that can be read", "Mend or remove it.")
        for label in lost
    ]


def _missing(manifest: Manifest, members: np.ndarray) -> list[Finding]:
    held: dict[str, set[str]] = defaultdict(set)
    for i in members:
        held[str(manifest.photos[i].split)].add(manifest.photos[i].label)
    every = set().union(*held.values())
    found = []
    for split in SPLITS[1:]:
        lacking = sorted(every - held[split], key=natural_key) if split in held else []
        if lacking:
            named = ", ".join(map(repr, lacking[:5])) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
            found.append(
                Finding("missing", "warning", f"{split} holds no photo of {named}", "It says nothing of them.")
            )
    return found


def _counts(manifest: Manifest, members: np.ndarray) -> list[Finding]:
    brings = any(manifest.photos[i].split for i in members)
    counts = Counter(manifest.photos[i].label for i in members if manifest.photos[i].split in (None, "train"))
    needed, found = 1 if brings else 3, []
    none = sorted((label for label, n in counts.items() if n < needed), key=natural_key)
    few = sorted((label for label, n in counts.items() if needed <= n < FEW), key=natural_key)
    if none:
        words = f"too few photos for train, val and test: {_with_counts(none, counts)}"
        found.append(Finding("few", "error", words, "Add photos, leave the class out, or --test 0."))
    if few:
        words = f"fewer than {FEW} photos to learn from: {_with_counts(few, counts)}"
        found.append(
            Finding("few", "warning", words, "Figures will be rough: headstart forecast tells what more give.")
        )
    most, least = max(counts.values()), min(counts.values())
    if most >= UNEVEN * least:
        words = f"classes are uneven: {_extremes(counts)}"
        severity: Severity = "warning" if most >= VERY_UNEVEN * least else "note"
        found.append(Finding("uneven", severity, words, "Look at the macro averages and at each class's recall."))
    return found


def _with_counts(labels: list[str], counts: Counter[str]) -> str:
    named = ", ".join(f"{label!r} has {counts[label]}" for label in labels[:5])
    return named + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")


def _extremes(counts: Counter[str]) -> str:
    (high, most), *_, (low, least) = counts.most_common()
    return f"{most:,} photos of {high!r}, {least:,} of {low!r}"


def spurious_correlations(
    photos: LoadedImages, members: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> list[Finding]:
    """Properties of the files that tell the class: the network may learn them in place of what is shown."""
    pixels, manifest = photos.pixels, photos.manifest
    properties: dict[str, Callable[[int], str]] = {
        "file type": lambda i: manifest.photos[i].path.suffix.lower(),
        "size": lambda i: "{} x {} px".format(*pixels.sizes[i]),
        "colour": lambda i: "gray" if "grayscale" in pixels.remarks[i] else "colour",
    }
    found = []
    for name, read in properties.items():
        values = [read(int(i)) for i in members]
        share, value, label = _telling(values, labels)
        if share >= TELLING:
            words = f"the {name} of the files tells classes apart: {value} means {classes[label]!r} nearly always"
            advice = "The network may learn that instead of what photos show: save all classes alike."
            found.append(Finding("giveaway", "warning", words, advice))
    return found


def _telling(values: Sequence[str], labels: np.ndarray) -> tuple[float, str, int]:
    """(share of the photos whose value nearly always means one class, the value of these that most have, its class).

    Of a class that most photos belong to no value can tell anything; nor can one that fewer than ten photos have.
    """
    names, place = np.unique(np.array(list(values)), return_inverse=True)
    table = np.zeros((len(names), int(labels.max()) + 1), np.int64)
    np.add.at(table, (place, labels), 1)
    photos, meant = table.sum(1), table.argmax(1)
    usual = table.sum(0)[meant] / len(labels)
    pure = (photos >= 10) & (table.max(1) >= PURE * photos) & (usual <= COMMON)
    best = int(np.where(pure, photos, 0).argmax())
    return float(photos[pure].sum() / len(labels)), str(names[best]), int(meant[best])


def _surest(cases: list[Case]) -> tuple[Case, ...]:
    return tuple(sorted(cases, key=lambda case: -case.score))
