"""Checks of single files: unreadable, tiny, very elongated, of one colour, converted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headstart.core.text import plural
from headstart.data.filenames import shown
from headstart.workflows.check.base import Check, Context, Finding

TINY_SIDE = 32
"""Shorter side, px, below which a photo among larger ones shows hardly anything."""
LONG = 4.0
"""Longer by shorter side from which a centre crop loses most of a photo."""
FLAT = 2.0
"""Standard deviation of gray levels (of 255) below which a photo shows nothing."""


def _unreadable(context: Context) -> Iterator[Finding]:
    photos = context.photos
    bad = [(shown(b.path, photos.manifest.root), b.reason) for b in (*photos.manifest.skipped, *photos.bad)]
    if bad:
        sentence = f"{plural(len(bad), 'file')} cannot be used as a photo"
        yield Finding("warning", sentence, "Training leaves them out.", files=tuple(bad))


def _sizes(context: Context) -> np.ndarray:
    """(shorter, longer) side of each usable photo [N, 2], px."""
    return np.sort(np.array(context.pixels.sizes).reshape(-1, 2), axis=1)


def _size(context: Context, i: int) -> str:
    return "{} x {} px".format(*context.pixels.sizes[i])


def _tiny(context: Context) -> Iterator[Finding]:
    short = _sizes(context)[:, 0]
    usual = np.median(short) if len(short) else 0
    tiny = np.flatnonzero((short < TINY_SIDE) & (usual >= 2 * TINY_SIDE))
    if len(tiny):
        sentence = f"{plural(len(tiny), 'photo')} with a side below {TINY_SIDE} px among photos of {usual:.0f}"
        cases = context.cases(tiny, lambda i: _size(context, i), lambda i: 1 / short[i])
        yield Finding("warning", sentence, "Are they thumbnails or icons?", cases)


def _shape(context: Context) -> Iterator[Finding]:
    short, long = _sizes(context).T
    odd = np.flatnonzero(long / short >= LONG)
    if len(odd):
        sentence = f"{plural(len(odd), 'photo')} at least {LONG:g} times as long as wide"
        cases = context.cases(odd, lambda i: _size(context, i), lambda i: long[i] / short[i])
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


UNREADABLE = Check("Files that cannot be used", _unreadable)
TINY = Check("Tiny photos", _tiny)
SHAPE = Check("Very elongated photos", _shape)
BLANK = Check("Photos of one colour", _blank, removes="all")
CONVERTED = Check("Converted while reading", _converted)
