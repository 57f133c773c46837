"""Write a cleaned CSV, and a second CSV of the removed photos with reasons."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.core.files import write_rows
from headstart.core.text import listed
from headstart.data.duplicates.pairs import groups_of
from headstart.data.filenames import natural_key, shown
from headstart.data.loading import LoadedImages
from headstart.data.schema import GUARD, Manifest, Photo
from headstart.data.sources.detect import check_labels
from headstart.errors import DataError
from headstart.workflows.check.base import CHECKS, Finding


def left_out_path(path: Path) -> Path:
    """Where the photos that are not in the cleaned list are named."""
    return path.with_name(f"{path.stem}-left-out{path.suffix}")


def write_cleaned(photos: LoadedImages, findings: Sequence[Finding], path: Path) -> tuple[int, str]:
    """Write the photos without problems to ``path``, and the removed ones with reasons to ``<name>-left-out.csv``.

    Returns:
        how many were left out, and why what is left cannot be trained on ("" where it can).

    Raises:
        RunError: a file cannot be written.
    """
    reasons = left_out(photos, findings)
    manifest = photos.manifest
    brings = any(photo.split for photo in manifest.photos)
    grouped = any(photo.group for photo in manifest.photos)
    kept, gone = [], []
    for i, photo in enumerate(manifest.photos):
        place = _relative(photo.path, path)
        if i in reasons:
            gone.append((place, photo.label, photo.split or "", reasons[i]))
        else:
            kept.append((place, photo.label, *[photo.split or ""] * brings, *[photo.group or ""] * grouped))
    write_rows(path, ("path", "label", *["split"] * brings, *["group"] * grouped), kept)
    write_rows(left_out_path(path), ("path", "label", "split", "reason"), gone)
    return len(reasons), _what_is_lost([photo for i, photo in enumerate(manifest.photos) if i not in reasons], manifest)


def _what_is_lost(kept: Sequence[Photo], manifest: Manifest) -> str:
    lost = sorted({photo.label for photo in manifest.photos} - {photo.label for photo in kept}, key=natural_key)
    if lost:
        return f"no photo of {listed(list(map(repr, lost)))} is left"
    try:
        check_labels(kept, "it")
    except DataError as error:
        return error.problem
    return ""


def left_out(photos: LoadedImages, findings: Sequence[Finding]) -> dict[int, str]:
    """Which photos of the manifest go, and why.

    Of duplicates one stays, in the most guarded split: none of a photo of test stays in train. Of duplicates with
    different labels none stays. Likely label errors and outliers go: whoever knows better puts them back.
    """
    reasons = {i: str(problem) for i, problem in enumerate(photos.pixels.problems) if problem}
    pairs: list[tuple[int, ...]] = []
    for finding in findings:
        removes = CHECKS.get(finding.kind).removes
        for case in finding.cases:
            if removes == "all":
                reasons |= dict.fromkeys(case.photos, case.words)
            elif removes == "duplicates":
                pairs.append(case.photos)
    for group in groups_of(len(photos.manifest.photos), np.array(pairs, dtype=np.int64).reshape(-1, 2)):
        reasons |= _spare([i for i in group if i not in reasons], photos.manifest)
    return reasons


def _spare(copies: Sequence[int], manifest: Manifest) -> dict[int, str]:
    """Of duplicates those to leave out, with reasons."""
    if len({manifest.photos[i].label for i in copies}) > 1:
        return dict.fromkeys(copies, "its duplicate has a different label")
    kept = max(copies, key=lambda i: (GUARD[manifest.photos[i].split], -i), default=None)
    return {
        i: f"a duplicate of {shown(manifest.photos[kept].path, manifest.root)}"
        for i in copies
        if i != kept and kept is not None
    }


def _relative(photo: Path, table: Path) -> str:
    """How the table names the photo: from its own folder where that is possible."""
    try:
        return Path(os.path.relpath(photo, table.resolve().parent)).as_posix()
    except ValueError:  # another drive
        return str(photo)
