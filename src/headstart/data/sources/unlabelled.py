"""Photos without labels, for prediction: files, folders and globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from headstart.core.text import listed
from headstart.data.filenames import is_hidden, is_image_name, natural_key
from headstart.errors import DataError


def find_files(files: Iterable[str | Path]) -> list[Path]:
    """The photos that names, folders and globs mean, in the order given, each folder's in natural order.

    Raises:
        DataError: a name that matches nothing.
    """
    found: list[Path] = []
    missing: list[str] = []
    for name in map(str, files):
        path = Path(name)
        if os.path.isdir(path):  # unlike Path.is_dir, no error for a name that no file can have
            inside = _photos_below(path)
            found += inside
            if not inside:
                missing.append(f"{name} (a folder without photos)")
        elif os.path.exists(path):
            found.append(path)
        else:
            matches = sorted((Path(m) for m in glob.glob(name, recursive=True)), key=lambda p: natural_key(str(p)))
            found += [m for m in matches if m.is_file()]
            if not matches:
                missing.append(name)
    if missing:
        raise DataError(f"No such photo: {listed(missing)}.", "Check the spelling.")
    return found


def _photos_below(folder: Path) -> list[Path]:
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not is_hidden(f)]
        found += [Path(here, n) for n in names if is_image_name(n) and not is_hidden(n)]
    return sorted(found, key=lambda p: natural_key(p.as_posix()))
