"""Unlabelled photos for prediction: files, folders and globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from headstart.core.text import listed
from headstart.data.filenames import is_hidden, is_image_name, natural_key
from headstart.errors import DataError


def find_files(files: Iterable[str | Path]) -> list[Path]:
    """The photos of file names, folders (in natural order) and globs. Raises DataError for names without a match."""
    found: list[Path] = []
    missing: list[str] = []
    for name in map(str, files):
        path = Path(name)
        if os.path.isdir(path):  # unlike Path.is_dir, no error for a name that no file can have
            inside: list[Path] = []
            for here, folders, names in os.walk(path):
                folders[:] = [f for f in folders if not is_hidden(f)]
                inside += [Path(here, n) for n in names if is_image_name(n) and not is_hidden(n)]
            found += sorted(inside, key=lambda p: natural_key(p.as_posix()))
            if not inside:
                missing.append(f"{name} (a folder without photos)")
        elif os.path.exists(path):
            found.append(path)
        else:
            matches = sorted(glob.glob(name, recursive=True), key=natural_key)
            found += [Path(m) for m in matches if os.path.isfile(m)]
            if not matches:
                missing.append(name)
    if missing:
        raise DataError(f"No such photo: {listed(missing)}.", "Check the spelling.")
    return found
