"""What cannot be read, by cause and by class, and when that is too much to train on (docs/decisions/0037)."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from headstart.core.text import listed, plural, quoted
from headstart.data.filenames import natural_key, shown
from headstart.data.schema import BadFile, Manifest
from headstart.errors import DataError

FEW = 3
"""Files of one cause that are named one by one; of more there is one line."""
_KIND = re.compile(r"(\w+ photo)( \([^)]*\))?: (.+)")


def by_cause(bad: Sequence[BadFile], root: Path) -> list[str]:
    """A line for each cause, the most frequent first: ``24 RAW photos (.nef): export them as JPEG (cats/1.nef, …)``.
    Few files of a cause have a line each.
    """
    causes: dict[str, list[BadFile]] = defaultdict(list)
    for one in bad:
        causes[re.sub(r"line \d+ of |\d[\d.,]*", "#", one.reason)].append(one)
    lines = []
    for some in sorted(causes.values(), key=lambda some: -len(some)):
        if len(some) <= FEW:
            lines += [f"{shown(one.path, root)}: {one.reason}" for one in some]
            continue
        first, kind = some[0], _KIND.fullmatch(some[0].reason)
        if kind:
            words = f"{plural(len(some), kind[1])}{kind[2] or ''}: {re.sub(r'(?<= )it(?= )', 'them', kind[3])}"
        else:
            words = f"{plural(len(some), 'file')}: {first.reason}"
        lines.append(f"{words} ({shown(first.path, root)}, …)")
    return lines


def lost_classes(manifest: Manifest, bad: Sequence[BadFile] = ()) -> dict[str, tuple[int, int]]:
    """Classes that keep fewer than half of their photos: label → (how many cannot be read, of how many). ``bad``:
    photos of the manifest that cannot be decoded.
    """
    paths = {one.path for one in bad}
    lost = Counter(c for photo in manifest.photos if photo.path in paths for c in manifest.labels_of(photo))
    lost.update(one.label for one in manifest.skipped if one.label)
    whole = Counter(c for photo in manifest.photos for c in manifest.labels_of(photo))
    whole.update(one.label for one in manifest.skipped if one.label)
    return {label: (n, whole[label]) for label, n in sorted(lost.items(), key=_natural) if 2 * n > whole[label]}


def _natural(item: tuple[str, int]) -> tuple[str, str]:
    return natural_key(item[0])


def most_lost(manifest: Manifest, bad: Sequence[BadFile] = ()) -> DataError | None:
    """Why too little of some class can be read to train on, if so."""
    lost = lost_classes(manifest, bad)
    if not lost:
        return None
    some = [f"{n} of {of} of {quoted(label)}" for label, (n, of) in lost.items()]
    causes = by_cause([*bad, *(one for one in manifest.skipped if one.label)], manifest.root)
    return DataError(
        f"Most photos of {plural(len(lost), 'class', 'classes')} cannot be read ({listed(some)}):",
        "Mend, convert or put them back; `hs.check(DATA, fix='clean.csv')` writes a list without them.",
        lines=causes,
    )


def refuse_lost(manifest: Manifest, bad: Sequence[BadFile] = ()) -> None:
    """Raise DataError where a class keeps fewer than half of its photos."""
    if problem := most_lost(manifest, bad):
        raise problem
