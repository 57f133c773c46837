"""Data sets known by name. In: a name such as ``cifar10``. Out: a folder: the user's, the cache's, or a fetched one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from headstart.core.download import Progress, download
from headstart.core.paths import cache_dir
from headstart.data.sources import archive, cifar

_FASTAI = "https://s3.amazonaws.com/fast-ai-imageclas"
_CIFAR = "https://www.cs.toronto.edu/~kriz"


@dataclass(frozen=True)
class NamedSet:
    """Where a set lives. ``md5``: its published editions; ``folders``: names it goes by in ``HEADSTART_DATA``."""

    url: str
    md5: tuple[str, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A folder with a named set, and what is worth telling."""

    name: str
    path: Path
    notes: tuple[str, ...] = ()


def _fastai(set_name: str, size: str, *md5: str) -> NamedSet:
    """Imagenette or Imagewoof at one size; MD5 sums as torchvision and catalyst publish them."""
    folder = f"{set_name}2{f'-{size}' if size else ''}"
    aliases = (
        f"{set_name}{size}",
        folder,
        f"{set_name}-{size}",
        *((set_name, f"{set_name}2") if size == "160" else ()),
    )
    return NamedSet(f"{_FASTAI}/{folder}.tgz", md5, tuple(dict.fromkeys(aliases)))


NAMED: dict[str, NamedSet] = {
    # CIFAR in its binary edition: the Python edition is pickled, and reading a pickle can run code. MD5 sums as on its
    # home page.
    "cifar10": NamedSet(
        f"{_CIFAR}/cifar-10-binary.tar.gz", ("c32a1d4ab5d03f1284b67883e8d87530",), ("cifar10", "cifar-10")
    ),
    "cifar100": NamedSet(
        f"{_CIFAR}/cifar-100-binary.tar.gz", ("03b5dce01913d631647c71ecec9e9cb8",), ("cifar100", "cifar-100")
    ),
    "imagenette160": _fastai(
        "imagenette", "160", "e793b78cc4c9e9a4ccc0c1155377a412", "43b0d8047b7501984c47ae3c08110b62"
    ),
    "imagenette320": _fastai("imagenette", "320", "3df6f0d01a2c9592104656642f5e78a3"),
    "imagewoof160": _fastai("imagewoof", "160", "3d200a7be99704a0d7509be2a9fbfe15", "fcd23cc7dfce8837c95a8f9d63a128b7"),
    "imagewoof320": _fastai("imagewoof", "320", "0f46d997ec2264e97609196c95897a44", "af65be7963816efa949fa3c3b4947740"),
}
# Without a size the small edition is meant: 160 px serve transfer learning well, at a fifteenth of the download.
_SHORT = {"imagenette": "imagenette160", "imagewoof": "imagewoof160"}
_WNIDS = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "Border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}


def display_name(label: str) -> str:
    """A label in words: the name behind a WordNet id of Imagenette or Imagewoof, every other label as it is."""
    return _WNIDS.get(label, label)


def is_name(text: str) -> bool:
    return text.casefold() in NAMED or text.casefold() in _SHORT


def find(name: str, progress: Progress | None = None) -> Found | None:
    """The set's folder: any folder of that name in ``HEADSTART_DATA``, else ``cache_dir()/data``, else fetched there,
    verified.

    None where the name is neither known nor found. Raises ``DownloadError`` or ``DataError``.
    """
    if os.path.basename(name) != name or name in ("", ".", ".."):
        return None
    known = _SHORT.get(name.casefold(), name.casefold())
    aliases = (name, *NAMED[known].folders) if known in NAMED else (name,)
    own = os.environ.get("HEADSTART_DATA")
    if own:
        for alias in aliases:
            path = Path(own).expanduser().absolute() / alias
            if path.is_dir():
                return Found(known if known in NAMED else name, path, (f"{name} is taken from {path}",))
    if known not in NAMED:
        return None
    cached = cache_dir() / "data" / known
    if not cached.is_dir():
        _fetch(known, cached, progress)
    return Found(known, cached)


def _fetch(name: str, to: Path, progress: Progress | None) -> None:
    """Download and unpack; the folder is there only when it is whole, and the archive is deleted then."""
    known = NAMED[name]
    file = to.parent / known.url.rpartition("/")[2]
    hint = (
        f"Without a network: put the set's folder into a folder of your own, and set HEADSTART_DATA to that "
        f"(it looks for {' or '.join(known.folders[:2])} in it); or fetch {known.url} elsewhere and unpack it."
    )
    download(known.url, file, md5=known.md5, progress=progress, hint=hint)
    if name.startswith("cifar"):
        cifar.write_folders(file, to)
    else:
        archive.unpack_to(file, to)
    file.unlink()
