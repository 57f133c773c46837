"""Unlabelled photos for prediction: files, folders and globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from headstart.core.text import listed
from headstart.data.filenames import natural_key
from headstart.data.sources.folder import Folders
from headstart.errors import DataError


def find_files(files: Iterable[str | Path]) -> list[Path]:
    """The photos of file names, folders (in natural order) and globs. Raises DataError for names without a match."""
    found: list[Path] = []
    missing: list[str] = []
    for name in map(str, files):
        path = Path(name)
        if os.path.isdir(path):  # unlike Path.is_dir, no error for a name that no file can have
            folders = Folders(path)
            inside = [Path(photo) for photo in folders.photos(name)]
            # What cannot be read is no less asked for: whoever reads the photos says why each cannot be.
            found += sorted((*inside, *folders.lost), key=lambda p: natural_key(p.as_posix()))
            if not (inside or folders.lost):
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
