"""Convert the .tar.gz of CIFAR's binary edition to class folders: ``train/CLASS/00000.png``, ...

Format (its home page, "Binary version"): records of one label byte (CIFAR-100: a coarse, then a fine one) and 3,072
bytes of pixels, the red, green and blue planes of 32 x 32 in row order.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headstart.core.files import new_folder
from headstart.data.filenames import clean_label
from headstart.errors import DataError

SIDE = 32
# The file with the class names of each edition, and the label bytes of its records; the (fine) label is the last.
_LABEL_FILES = {"batches.meta.txt": 1, "fine_label_names.txt": 2}


def write_folders(path: Path, to: Path) -> None:
    """Write the photos of ``path`` to the folder ``to``, which is always complete. Raises DataError for a damaged
    archive.
    """
    from PIL import Image

    try:
        files: dict[str, bytes] = {}
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                content = archive.extractfile(member) if name.endswith((".bin", ".txt")) else None
                if content is not None:
                    files[name] = content.read()
        label_file = next((name for name in _LABEL_FILES if name in files), None)
        if label_file is None:
            raise ValueError("it has no list of class names")
        classes = [clean_label(line) for line in files[label_file].decode().splitlines() if line.strip()]
        numbers = {"train": 0, "test": 0}
        with new_folder(to) as work:
            for name, data in sorted(files.items()):
                if not name.endswith(".bin"):
                    continue
                split = "test" if name.startswith("test") else "train"
                for label, pixels in _records(data, _LABEL_FILES[label_file], name):
                    png = work / split / classes[label] / f"{numbers[split]:05d}.png"
                    png.parent.mkdir(parents=True, exist_ok=True)
                    # Level 1: stronger compression of 32 x 32 px takes three times as long and hardly saves space.
                    Image.fromarray(np.ascontiguousarray(pixels)).save(png, compress_level=1)
                    numbers[split] += 1
    except (tarfile.TarError, zlib.error, EOFError, ValueError, IndexError) as error:
        raise DataError(
            f"{path} is damaged ({error})", "Delete it and run the same command: it is downloaded again."
        ) from error


def _records(data: bytes, label_bytes: int, name: str) -> Iterator[tuple[int, np.ndarray]]:
    """(label, uint8 [32, 32, 3]) of every record."""
    size = label_bytes + 3 * SIDE * SIDE
    if not data or len(data) % size:
        raise ValueError(f"{name} has {len(data):,} bytes, no multiple of {size:,}")
    for record in np.frombuffer(data, np.uint8).reshape(-1, size):
        yield int(record[label_bytes - 1]), record[label_bytes:].reshape(3, SIDE, SIDE).transpose(1, 2, 0)
