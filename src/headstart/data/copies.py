"""Copies of photos in folders by class. In: photos one by one, each with its class. Out: files; none is overwritten."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from headstart.core.files import file_name, replacing, with_digest
from headstart.data.schema import ImageRef
from headstart.errors import RunError

UNKNOWN = "_unknown"
"""The folder of photos unlike the training photos; longer where a class has that name."""
_LONGEST = 150
"""Bytes of a file name, so that a number and the end of a temporary name fit in the 255 that file systems allow."""
_BLOCK = 1 << 16


class Copies:
    """Copies photos to ``folder/CLASS``. A name that is taken gets a number (``a-2.jpg``); a photo that is there with
    the same content is not copied again, so that an interrupted command can be repeated.

    ``copied``: photos per folder; ``there``: how many were there already.
    """

    def __init__(self, folder: Path, classes: Iterable[str]) -> None:
        self.folder, self.copied, self.there = folder, Counter[str](), 0
        self.names = _apart({label: file_name(label) for label in classes})
        taken = {name.casefold() for name in self.names.values()}
        self.unknown = UNKNOWN
        while self.unknown.casefold() in taken:
            self.unknown = f"_{self.unknown}"
        if folder.exists() and not folder.is_dir():
            problem = f"`sort_into={str(folder)!r}` is a file."
            raise RunError(problem, "Choose another name.", option="sort_into")

    def add(self, photo: ImageRef, label: str | None) -> Path:
        """Copy one photo to the folder of its class, or of the unknown. Raises RunError, OSError."""
        name = self.unknown if label is None else self.names[label]
        target, there = self._place(self.folder / name, _short(photo.name), photo)
        if there:
            self.there += 1
        else:
            self._copy(photo, target)
            self.copied[name] += 1
        return target

    def _place(self, folder: Path, name: str, photo: ImageRef) -> tuple[Path, bool]:
        """A free name, which is taken from here on, or that of the same photo; whether it is the photo's."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stem, suffix = Path(name).stem, Path(name).suffix
            number = 1
            while True:
                target = folder / (name if number == 1 else f"{stem}-{number}{suffix}")
                try:
                    target.open("xb").close()
                    return target, False
                except FileExistsError:
                    if target.is_file() and _same(photo, target):
                        return target, True
                number += 1
        except OSError as error:
            problem = f"{error.filename or folder} cannot be written: {error.strerror or error}."
            raise RunError(problem, "Free some space, or choose another folder with `sort_into`.") from error

    def _copy(self, photo: ImageRef, target: Path) -> None:
        try:
            with photo.open("rb") as source, replacing(target) as temporary, temporary.open("wb") as out:
                shutil.copyfileobj(source, out, _BLOCK)
        except BaseException:
            with suppress(OSError):  # the name was only reserved
                if not target.stat().st_size:
                    target.unlink()
            raise


def _apart(names: Mapping[str, str]) -> dict[str, str]:
    """Names that differ in more than case: Windows and macOS make one folder of Cat and cat."""
    alike = Counter(name.casefold() for name in names.values())
    return {label: name if alike[name.casefold()] == 1 else with_digest(name, label) for label, name in names.items()}


def _short(name: str) -> str:
    """The name of a photo, cut where a number would make it too long for a file system."""
    if len(name.encode(errors="surrogateescape")) <= _LONGEST:
        return name
    suffix = Path(name).suffix[:10]
    return file_name(Path(name).stem) + suffix


def _same(photo: ImageRef, file: Path) -> bool:
    with photo.open("rb") as one, file.open("rb") as other:
        while block := one.read(_BLOCK):
            if block != other.read(len(block)):
                return False
        return not other.read(1)
