"""Datasets known by name, such as ``cifar10``: a folder of the user's, of the cache, or fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.core.download import download
from headstart.core.events import OnProgress
from headstart.core.paths import cache_dir
from headstart.data.schema import Manifest
from headstart.data.sources import archive, cifar
from headstart.data.sources.base import local
from headstart.data.sources.folder import FolderSource

_FASTAI = "https://s3.amazonaws.com/fast-ai-imageclas"
_CIFAR = "https://www.cs.toronto.edu/~kriz"


@dataclass(frozen=True)
class NamedSet:
    """Where a set lives. ``md5``: its published editions; ``folders``: names it goes by in ``HEADSTART_DATA``."""

    url: str
    md5: tuple[str, ...]
    folders: tuple[str, ...]


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
    "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player",
    "n03000684": "chain saw", "n03028079": "church", "n03394916": "French horn",
    "n03417042": "garbage truck", "n03425413": "gas pump", "n03445777": "golf ball",
    "n03888257": "parachute", "n02086240": "Shih-Tzu", "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle", "n02089973": "English foxhound", "n02093754": "Border terrier",
    "n02096294": "Australian terrier", "n02099601": "golden retriever", "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed", "n02115641": "dingo",
}  # fmt: skip


def display_name(label: str) -> str:
    """A label in words: the name behind a WordNet id of Imagenette or Imagewoof, every other label as it is."""
    return _WNIDS.get(label, label)


def is_name(text: str) -> bool:
    return text.casefold() in NAMED or text.casefold() in _SHORT


class NamedSource:
    """A dataset known by name, or any folder of that name in ``HEADSTART_DATA``."""

    def accepts(self, data: str) -> bool:
        return not os.path.exists(local(data)) and (_own_folder(data) is not None or is_name(data))

    def manifest(self, data: str, progress: OnProgress | None = None) -> Manifest:
        """The user's folder of that name, else that of the cache, else fetched there and verified.

        Raises:
            DownloadError: it cannot be fetched. DataError: it holds no photos.
        """
        own, name = _own_folder(data), _known(data)
        folder = own or cache_dir() / "data" / name
        if not folder.is_dir():
            _fetch(name, folder, progress)
        found = FolderSource().manifest(str(folder))
        notes = (*found.notes, f"{data} is taken from {own}") if own else found.notes
        return replace(found, name=name, layout=f"named set {name}: {found.layout}", notes=notes)


def _known(name: str) -> str:
    """The set's own name where the name is known (short, or in capitals), else the name as it is."""
    folded = _SHORT.get(name.casefold(), name.casefold())
    return folded if folded in NAMED else name


def _own_folder(name: str) -> Path | None:
    """The folder of that name, or of another name that the set goes by, in ``HEADSTART_DATA``."""
    own = os.environ.get("HEADSTART_DATA")
    if not own or os.path.basename(name) != name or name in ("", ".", ".."):
        return None
    known = NAMED.get(_known(name))
    places = (Path(own).expanduser().absolute() / alias for alias in (name, *(known.folders if known else ())))
    return next((place for place in places if place.is_dir()), None)


def _fetch(name: str, to: Path, progress: OnProgress | None) -> None:
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
