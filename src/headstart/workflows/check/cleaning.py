"""The cleaned list. In: photos and findings. Out: a CSV of what is left, and one of what was left out and why."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.files import write_text
from headstart.data.duplicates.pairs import groups_of
from headstart.data.filenames import natural_key, shown
from headstart.data.schema import Manifest, Photo
from headstart.data.sources.detect import check_labels
from headstart.errors import DataError
from headstart.workflows.check.duplicates import COPIES
from headstart.workflows.check.findings import Finding

if TYPE_CHECKING:
    from headstart.data.loading import LoadedImages


_GUARD = {None: 0, "train": 0, "val": 1, "test": 2}


def left_out_path(path: Path) -> Path:
    """Where the photos that are not in the cleaned list are named."""
    return path.with_name(f"{path.stem}-left-out{path.suffix}")


def write_cleaned(photos: LoadedImages, findings: Sequence[Finding], path: Path) -> tuple[int, str]:
    """Write the photos that are in nobody's way to ``path``, the others with their reasons to ``<name>-left-out.csv``.

    Returns:
        how many were left out, and why what is left cannot be trained on ("" where it can). Nothing is moved or
        deleted. Raises RunError.
    """
    reasons = left_out(photos, findings)
    manifest = photos.manifest
    brings = any(photo.split for photo in manifest.photos)
    grouped = any(photo.group for photo in manifest.photos)
    header = ("path", "label", *["split"] * brings, *["group"] * grouped)
    kept, gone = [header], [("path", "label", "split", "reason")]
    for i, photo in enumerate(manifest.photos):
        place = _relative(photo.path, path)
        if i in reasons:
            gone.append((place, photo.label, photo.split or "", reasons[i]))
        else:
            kept.append((place, photo.label, *[photo.split or ""] * brings, *[photo.group or ""] * grouped))
    write_text(path, _as_csv(kept))
    write_text(left_out_path(path), _as_csv(gone))
    return len(reasons), _what_is_lost([photo for i, photo in enumerate(manifest.photos) if i not in reasons], manifest)


def _what_is_lost(kept: Sequence[Photo], manifest: Manifest) -> str:
    lost = sorted({photo.label for photo in manifest.photos} - {photo.label for photo in kept}, key=natural_key)
    if lost:
        return f"no photo of {', '.join(map(repr, lost[:5]))} is left"
    try:
        check_labels(kept, "it")
    except DataError as error:
        return error.problem
    return ""


def left_out(photos: LoadedImages, findings: Sequence[Finding]) -> dict[int, str]:
    """Which photos of the manifest go, and why.

    Of copies one stays, the most guarded: a photo of test leaves none of them in train. Of copies under two labels none
    stays. Labels that are probably wrong and photos like no class go: whoever knows better puts them back.
    """
    reasons = {i: str(problem) for i, problem in enumerate(photos.pixels.problems) if problem}
    for finding in findings:
        if finding.kind in {"label", "stranger", "blank"}:
            reasons |= {case.photos[0]: case.words for case in finding.cases}
    pairs = [case.photos for finding in findings if finding.kind in COPIES for case in finding.cases]
    for group in groups_of(len(photos.manifest.photos), np.array(pairs, dtype=np.int64).reshape(-1, 2)):
        reasons |= _spare([i for i in group if i not in reasons], photos.manifest)
    return reasons


def _spare(copies: Sequence[int], manifest: Manifest) -> dict[int, str]:
    """Of copies those to leave out, with reasons."""
    if len({manifest.photos[i].label for i in copies}) > 1:
        return dict.fromkeys(copies, "the same picture stands under two labels")
    kept = max(copies, key=lambda i: (_GUARD[manifest.photos[i].split], -i), default=None)
    return {
        i: f"a copy of {shown(manifest.photos[kept].path, manifest.root)}"
        for i in copies
        if i != kept and kept is not None
    }


def _relative(photo: Path, table: Path) -> str:
    """How the table names the photo: from its own folder where that is possible."""
    try:
        return Path(os.path.relpath(photo, table.resolve().parent)).as_posix()
    except ValueError:  # another drive
        return str(photo)


def _as_csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
