"""Convert the .tar.gz of CIFAR's binary edition to class folders: ``train/CLASS/00000.png``, ...

Format (its home page, "Binary version"): records of one label byte (CIFAR-100: a coarse, then a fine one) and 3,072
bytes of pixels, the red, green and blue planes of 32 x 32 in row order.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headstart.data.filenames import clean_label
from headstart.errors import DataError

SIDE = 32
_PIXELS = 3 * SIDE * SIDE
_LABEL_FILES = {"batches.meta.txt": 1, "fine_label_names.txt": 2}


def write_folders(path: Path, to: Path) -> None:
    """Write the photos of ``path`` below ``to``, there only when whole; ``DataError`` for a damaged archive."""
    work = to.parent / f".writing-{uuid.uuid4().hex}"
    work.mkdir()  # not mkdtemp, whose folders only their owner can read
    try:
        classes, label_bytes, batches = _read(path)
        numbers = dict.fromkeys(("train", "test"), 0)
        for name, data in batches:
            split = "test" if name.startswith("test") else "train"
            for label, pixels in _records(data, label_bytes, name):
                _write_png(pixels, work / split / classes[label] / f"{numbers[split]:05d}.png")
                numbers[split] += 1
        os.rename(work, to)
    except (tarfile.TarError, zlib.error, EOFError, ValueError, IndexError) as error:
        raise DataError(
            f"{path} is damaged ({error})", "Delete it and run the same command: it is fetched again."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read(path: Path) -> tuple[list[str], int, list[tuple[str, bytes]]]:
    """Class names, label bytes per record (the fine label is the last), and (name, bytes) of every batch, in order."""
    files: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            content = archive.extractfile(member) if name.endswith((".bin", ".txt")) else None
            if content is not None:
                files[name] = content.read()
    for label_file, label_bytes in _LABEL_FILES.items():
        if label_file in files:
            classes = [clean_label(line) for line in files[label_file].decode().splitlines() if line.strip()]
            return classes, label_bytes, sorted((n, data) for n, data in files.items() if n.endswith(".bin"))
    raise ValueError("no list of class names in it")


def _records(data: bytes, label_bytes: int, name: str) -> Iterator[tuple[int, np.ndarray]]:
    """(label, uint8 [32, 32, 3]) of every record."""
    size = label_bytes + _PIXELS
    if not data or len(data) % size:
        raise ValueError(f"{name} holds {len(data):,} bytes, no multiple of {size:,}")
    for record in np.frombuffer(data, np.uint8).reshape(-1, size):
        yield int(record[label_bytes - 1]), record[label_bytes:].reshape(3, SIDE, SIDE).transpose(1, 2, 0)


def _write_png(pixels: np.ndarray, path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    # Level 1: a stronger compression of 32 x 32 px takes three times as long and saves next to nothing.
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, compress_level=1)
