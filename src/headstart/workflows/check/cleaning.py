"""Write a cleaned CSV, and a second CSV of the removed photos with reasons."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.core.files import write_rows
from headstart.core.text import listed, quoted
from headstart.data.duplicates.pairs import groups_of
from headstart.data.filenames import natural_key, shown
from headstart.data.loading import LoadedImages
from headstart.data.schema import GUARD
from headstart.data.sources.detect import check_labels
from headstart.errors import DataError
from headstart.workflows.check.base import CHECKS, Finding

LEAVE_CLASSES_OUT = ("classes", "few")
"""Checks that remove whole classes on purpose."""


def left_out_path(path: Path) -> Path:
    """The CSV of the removed photos."""
    return path.with_name(f"{path.stem}-left-out{path.suffix}")


def write_cleaned(photos: LoadedImages, findings: Sequence[Finding], path: Path) -> tuple[int, str]:
    """Write the photos without problems to ``path``, and the removed ones with reasons to ``<name>-left-out.csv``.

    Returns:
        how many were removed, and why the rest cannot be trained on ("" where it can).

    Raises:
        RunError: a file cannot be written.
    """
    every = photos.manifest.photos
    reasons = _reasons(photos, findings)
    extra = [name for name in ("split", "group") if any(getattr(photo, name) for photo in every)]
    kept, gone = [], []
    for i, photo in enumerate(every):
        try:
            place = Path(os.path.relpath(photo.path, path.resolve().parent)).as_posix()
        except ValueError:  # another drive
            place = str(photo.path)
        if i in reasons:
            gone.append((place, photo.label, photo.split or "", reasons[i]))
        else:
            kept.append((place, photo.label, *(getattr(photo, name) or "" for name in extra)))
    write_rows(path, ("path", "label", *extra), kept)
    write_rows(left_out_path(path), ("path", "label", "split", "reason"), gone)
    rest = [photo for i, photo in enumerate(every) if i not in reasons]
    whole = (case for finding in findings if finding.kind in LEAVE_CLASSES_OUT for case in finding.cases)
    labels_of = photos.manifest.labels_of
    small, had, have = (
        {label for photo in some for label in labels_of(photo)}
        for some in ([every[i] for case in whole for i in case.photos], every, rest)
    )
    if lost := had - have - small:
        return len(reasons), f"no photo of {listed(list(map(quoted, sorted(lost, key=natural_key))))} is left"
    try:
        check_labels(rest, "it", photos.manifest.several)
    except DataError as error:
        return len(reasons), error.problem
    return len(reasons), ""


def _reasons(photos: LoadedImages, findings: Sequence[Finding]) -> dict[int, str]:
    """Which photos of the manifest are removed, and why.

    Of duplicates one stays, in the most guarded split: no duplicate of a test photo stays in train. Of duplicates with
    different labels none stays. Likely label errors and outliers are removed: users put back those that are good.
    """
    manifest = photos.manifest
    reasons = {i: str(problem) for i, problem in enumerate(photos.pixels.problems) if problem}
    pairs: list[tuple[int, ...]] = []
    for finding in findings:
        removes = CHECKS.get(finding.kind).removes
        for case in finding.cases:
            if removes == "all":
                reasons |= dict.fromkeys(case.photos, case.words)
            elif removes == "duplicates":
                pairs.append(case.photos)
    for group in groups_of(len(manifest.photos), np.array(pairs, dtype=np.int64).reshape(-1, 2)):
        same = [i for i in group if i not in reasons]
        if len({manifest.photos[i].label for i in same}) > 1:
            reasons |= dict.fromkeys(same, "its duplicate has a different label")
        elif same:
            kept = max(same, key=lambda i: (GUARD[manifest.photos[i].split], -i))
            words = f"a duplicate of {shown(manifest.photos[kept].path, manifest.root)}"
            reasons |= {i: words for i in same if i != kept}
    return reasons
