"""Datasets known by name, such as ``cifar10``: in a folder of the user, in the cache, or downloaded."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headstart.core.download import download
from headstart.core.events import OnProgress
from headstart.core.files import new_folder
from headstart.core.paths import cache_dir
from headstart.data.filenames import clean_label
from headstart.data.schema import AS_FOUND, Manifest, ReadOptions
from headstart.data.sources import archive
from headstart.data.sources.base import TABLE_OF_LABELS, local
from headstart.data.sources.folder import FolderSource
from headstart.errors import DataError


@dataclass(frozen=True)
class NamedSet:
    """``md5``: checksums of the published editions; ``folders``: the set's names in ``HEADSTART_DATA``."""

    url: str
    md5: tuple[str, ...]
    folders: tuple[str, ...]


def _fastai(set_name: str, size: str, *md5: str) -> NamedSet:
    """Imagenette or Imagewoof at one size; MD5 sums as published by torchvision and catalyst."""
    folder = f"{set_name}2-{size}"
    usual = (set_name, f"{set_name}2") if size == "160" else ()
    return NamedSet(
        f"https://s3.amazonaws.com/fast-ai-imageclas/{folder}.tgz",
        md5,
        (f"{set_name}{size}", folder, f"{set_name}-{size}", *usual),
    )


def _cifar(classes: int, md5: str) -> NamedSet:
    """The binary edition: the Python edition is pickled, and a pickle can run code. MD5 sums as on its home page."""
    folder = f"cifar-{classes}"
    return NamedSet(f"https://www.cs.toronto.edu/~kriz/{folder}-binary.tar.gz", (md5,), (f"cifar{classes}", folder))


NAMED: dict[str, NamedSet] = {
    "cifar10": _cifar(10, "c32a1d4ab5d03f1284b67883e8d87530"),
    "cifar100": _cifar(100, "03b5dce01913d631647c71ecec9e9cb8"),
    "imagenette160": _fastai(
        "imagenette", "160", "e793b78cc4c9e9a4ccc0c1155377a412", "43b0d8047b7501984c47ae3c08110b62"
    ),
    "imagenette320": _fastai("imagenette", "320", "3df6f0d01a2c9592104656642f5e78a3"),
    "imagewoof160": _fastai("imagewoof", "160", "3d200a7be99704a0d7509be2a9fbfe15", "fcd23cc7dfce8837c95a8f9d63a128b7"),
    "imagewoof320": _fastai("imagewoof", "320", "0f46d997ec2264e97609196c95897a44", "af65be7963816efa949fa3c3b4947740"),
}
# The default is the small edition: 160 px are enough for transfer learning, at a fifteenth of the download.
_SHORT = {"imagenette": "imagenette160", "imagewoof": "imagewoof160"}
_WNIDS = {
    "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player",
    "n03000684": "chain saw", "n03028079": "church", "n03394916": "French horn",
    "n03417042": "garbage truck", "n03425413": "gas pump", "n03445777": "golf ball",
    "n03888257": "parachute", "n02086240": "Shih-Tzu", "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle", "n02089973": "English foxhound", "n02093754": "Border terrier",
    "n02096294": "Australian terrier", "n02099601": "golden retriever", "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed", "n02115641": "dingo",
}  # fmt: skip
# CIFAR: the file with the class names of each edition, and the label bytes of its records (the last is the fine label).
_LABEL_FILES = {"batches.meta.txt": 1, "fine_label_names.txt": 2}


def display_name(label: str) -> str:
    """The class name of a WordNet id of Imagenette or Imagewoof; every other label unchanged."""
    return _WNIDS.get(label, label)


def is_name(text: str) -> bool:
    return text.casefold() in NAMED or text.casefold() in _SHORT


class NamedSource:
    """A dataset known by name, or any folder of that name in ``HEADSTART_DATA``."""

    def accepts(self, data: str) -> bool:
        return not os.path.exists(local(data)) and (_own_folder(data) is not None or is_name(data))

    def manifest(self, data: str, progress: OnProgress | None = None, options: ReadOptions = AS_FOUND) -> Manifest:
        """From the user's folder of that name, else from the cache, else downloaded and verified."""
        if options.several:
            problem = f"several labels per photo are read from a table, and {data} has one class per photo"
            raise DataError(problem, TABLE_OF_LABELS, option="labels")
        own, name = _own_folder(data), _known(data)
        folder = own or cache_dir() / "data" / name
        if not folder.is_dir():
            known = NAMED[name]
            file = folder.parent / known.url.rpartition("/")[2]
            hint = (
                "Without a network: download and unpack it elsewhere, and set HEADSTART_DATA to the folder that has "
                f"{' or '.join(known.folders[:2])} in it."
            )
            download(known.url, file, md5=known.md5, progress=progress, hint=hint)
            unpack = _write_cifar if name.startswith("cifar") else archive.unpack_to
            unpack(file, folder)
            file.unlink()
        found = FolderSource().manifest(str(folder), options=options)
        notes = (*found.notes, f"{data} is taken from {own}") if own else found.notes
        return replace(found, name=name, layout=f"named set {name}: {found.layout}", notes=notes)


def _known(name: str) -> str:
    """The full name of a named set (given short, or in capitals); any other name unchanged."""
    folded = _SHORT.get(name.casefold(), name.casefold())
    return folded if folded in NAMED else name


def _own_folder(name: str) -> Path | None:
    """The folder of that name, or of another name of the set, in ``HEADSTART_DATA``."""
    own = os.environ.get("HEADSTART_DATA")
    if not own or os.path.basename(name) != name or name in ("", ".", ".."):
        return None
    known = NAMED.get(_known(name))
    places = (Path(own).expanduser().absolute() / alias for alias in (name, *(known.folders if known else ())))
    return next((place for place in places if place.is_dir()), None)


def _write_cifar(path: Path, to: Path) -> None:
    """Convert the .tar.gz of CIFAR's binary edition to class folders (``train/CLASS/00000.png``, ...) in ``to``, which
    is always complete. Raises DataError for a damaged archive.

    Format (its home page, "Binary version"): records of one label byte (CIFAR-100: a coarse, then a fine one) and 3,072
    bytes of pixels, the red, green and blue planes of 32 x 32 in row order.
    """
    from PIL import Image

    try:
        files: dict[str, bytes] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                content = tar.extractfile(member) if name.endswith((".bin", ".txt")) else None
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
    size = label_bytes + 3 * 32 * 32
    if not data or len(data) % size:
        raise ValueError(f"{name} has {len(data):,} bytes, no multiple of {size:,}")
    for record in np.frombuffer(data, np.uint8).reshape(-1, size):
        yield int(record[label_bytes - 1]), record[label_bytes:].reshape(3, 32, 32).transpose(1, 2, 0)
