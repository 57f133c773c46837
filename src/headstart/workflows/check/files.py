"""Checks of files: unreadable, tiny, very elongated, of one colour, converted; and properties that predict the class.

A network may learn such a spurious correlation (shortcut feature) instead of the content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from headstart.core.text import listed, plural, quoted
from headstart.data.filenames import shown
from headstart.data.readable import FEW, by_cause, most_lost
from headstart.workflows.check.base import Check, Context, Finding

TINY_SIDE = 32
"""Shorter side, px, below which a photo among larger ones shows hardly anything."""
LONG = 4.0
"""Aspect ratio from which a centre crop loses most of a photo."""
FLAT = 2.0
"""Standard deviation of gray levels (of 255) below which a photo shows nothing."""
TELLING = 0.2
"""Share of the photos whose class a property of the file predicts, from which there is a warning."""
PURE, COMMON = 0.95, 0.75
"""Share of one class among the photos with a value from which the value predicts that class; share of a class among
all photos above which such a prediction means nothing."""


def _unreadable(context: Context) -> Iterator[Finding]:
    photos = context.photos
    bad = [(shown(b.path, photos.manifest.root), b.reason) for b in (*photos.manifest.skipped, *photos.bad)]
    if problem := most_lost(photos.manifest, photos.bad):
        yield Finding("error", f"{problem.problem} {'; '.join(problem.lines)}", problem.hint, files=tuple(bad))
    elif bad:
        causes = by_cause((*photos.manifest.skipped, *photos.bad), photos.manifest.root) if len(bad) > FEW else []
        sentence = (
            f"{plural(len(bad), 'file')} cannot be used as a photo{': ' if causes else ''}{listed(causes, 3, '; ')}"
        )
        yield Finding(
            "warning", sentence, f"Training leaves {'it' if len(bad) == 1 else 'them'} out.", files=tuple(bad)
        )


def _sizes(context: Context) -> np.ndarray:
    """(shorter, longer) side of each usable photo [N, 2], px."""
    return np.sort(np.array(context.pixels.sizes).reshape(-1, 2), axis=1)


def _size(context: Context) -> Callable[[int], str]:
    return lambda i: "{} x {} px".format(*context.pixels.sizes[i])


def _tiny(context: Context) -> Iterator[Finding]:
    short = _sizes(context)[:, 0]
    usual = np.median(short) if len(short) else 0
    tiny = np.flatnonzero((short < TINY_SIDE) & (usual >= 2 * TINY_SIDE))
    if len(tiny):
        sentence = f"{plural(len(tiny), 'photo')} with a side below {TINY_SIDE} px among photos of {usual:.0f}"
        cases = context.cases(tiny, _size(context), lambda i: 1 / short[i])
        yield Finding("warning", sentence, "Are they thumbnails or icons?", cases)


def _shape(context: Context) -> Iterator[Finding]:
    short, long = _sizes(context).T
    odd = np.flatnonzero(long / short >= LONG)
    if len(odd):
        sentence = f"{plural(len(odd), 'photo')} at least {LONG:g} times as long as wide"
        cases = context.cases(odd, _size(context), lambda i: long[i] / short[i])
        yield Finding("note", sentence, "Only their centre is used.", cases)


def _blank(context: Context) -> Iterator[Finding]:
    thumbs = context.fingerprints.thumbs
    spread = thumbs.reshape(len(thumbs), -1).std(1) if len(thumbs) else np.zeros(0)
    flat = np.flatnonzero(spread < FLAT)
    if len(flat):
        cases = context.cases(flat, lambda i: "one colour", lambda i: -spread[i])
        yield Finding("warning", f"{plural(len(flat), 'photo')} of one colour", "", cases)


def _converted(context: Context) -> Iterator[Finding]:
    if context.photos.conversions:
        words = ", ".join(f"{count:,} {what}" for what, count in context.photos.conversions.items())
        yield Finding("note", f"converted while reading: {words}")


def _giveaway(context: Context) -> Iterator[Finding]:
    if len(context.classes) < 2:
        return
    gray = ["grayscale" in remarks for remarks in context.pixels.remarks]
    properties = {
        "file type": [photo.path.suffix.lower() for photo in context.usable],
        "size": [_size(context)(i) for i in range(len(context.usable))],
        "colour": ["gray" if is_gray else "colour" for is_gray in gray],
    }
    for name, values in properties.items():
        share, value, label = telling(values, context.labels)
        if share >= TELLING:
            sentence = f"spurious correlation: the {name} {value} nearly always means {quoted(context.classes[label])}"
            advice = (
                "The network may learn that instead of the content: save the photos of all classes in the same way."
            )
            yield Finding("warning", sentence, advice)


def telling(values: Sequence[str], labels: np.ndarray) -> tuple[float, str, int]:
    """(share of the photos whose value nearly always means one class, the most common of these values, its class).

    A class that most photos belong to is never predicted, and a value that fewer than ten photos have predicts nothing.
    """
    names, place = np.unique(np.array(list(values)), return_inverse=True)
    table = np.zeros((len(names), int(labels.max()) + 1), np.int64)
    np.add.at(table, (place, labels), 1)
    photos, meant = table.sum(1), table.argmax(1)
    usual = table.sum(0)[meant] / len(labels)
    pure = (photos >= 10) & (table.max(1) >= PURE * photos) & (usual <= COMMON)
    best = int(np.where(pure, photos, 0).argmax())
    return float(photos[pure].sum() / len(labels)), str(names[best]), int(meant[best])


UNREADABLE = Check("Files that cannot be used", _unreadable)
TINY = Check("Tiny photos", _tiny)
SHAPE = Check("Very elongated photos", _shape)
BLANK = Check("Photos of one colour", _blank, removes="all")
CONVERTED = Check("Converted while reading", _converted)
GIVEAWAY = Check("Spurious correlations", _giveaway, one_class=True)
