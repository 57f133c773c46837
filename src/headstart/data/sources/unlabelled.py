"""Photos without labels, for prediction: what a caller gives, as images that can be read. Every command that takes such
photos asks here.

A folder gives the files that a training would take from it (``Folders``), or those of its shards; an archive or a
shard those within it; a table those that it lists, and ``-`` those whose paths standard input lists, each in that
order. The address of an object store gives its photos, or those of its shards, which are read in place.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from headstart.core.events import Events
from headstart.core.files import open_regular
from headstart.core.paths import place
from headstart.core.text import first_lines, listed, plural
from headstart.data.filenames import KIND_SUFFIXES, content_kind, is_companion, is_image_name, natural_key
from headstart.data.pictures import HINT, is_picture, picture, pictures
from headstart.data.schema import BadFile, ImageRef
from headstart.data.sources.addresses import SCHEMES, address_of, is_pattern, scheme_of
from headstart.data.sources.archive import is_archive, unpack
from headstart.data.sources.in_memory import content_of, image_column, is_dataset, is_frame, rows_of, text_of
from headstart.data.sources.stored import SHARDS, StoredSource
from headstart.data.sources.table import Reader, listed_paths
from headstart.data.sources.table_reading import SUFFIXES, Table
from headstart.data.sources.tree import Folders
from headstart.data.sources.video import FORMATS, frames
from headstart.errors import DataError, OptionError, option

STANDARD_INPUT = "-"
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+://|data:)", re.IGNORECASE)


@dataclass(frozen=True)
class Unlabelled:
    """A photo that a list or an archive names: ``written`` is its name there, ``path`` what is read. ``problem``: why
    it cannot be.
    """

    written: str
    path: Path
    problem: str = ""

    @property
    def name(self) -> str:
        return self.path.name

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:
        """The encoded image. Raises OSError where it cannot be read."""
        if self.problem:
            raise OSError(self.problem)
        return open_regular(self.path)


class Beside(Protocol):
    """What was found beside photos."""

    @property
    def skipped(self) -> Sequence[BadFile]: ...
    @property
    def notes(self) -> Sequence[str]: ...


@dataclass
class Found:
    """What a caller's photos are. ``photos``: an iterator where the caller's own gives pictures one after the other;
    ``skipped``: files beside them that are no photos; ``notes``: sentences for the user.
    """

    photos: list[ImageRef] | Iterator[ImageRef] = field(default_factory=list)
    skipped: list[BadFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_files(files: Any, argument: str = "files", every: float | None = None) -> Found:
    """The photos of names of files, folders (in natural order), globs, archives, tables and addresses, of pictures in
    memory (see ``headstart.data.pictures``), or of any iterable of these; ``-`` reads paths from standard input. What
    is given twice is there twice. Of a video that is named, a frame ``every`` so many seconds, where that is given.

    Raises:
        DataError: names without a match. OptionError: what is neither a name nor a picture.
        DownloadError: a store that does not answer.
    """
    if isinstance(files, str | os.PathLike):
        return _Finding(argument, every).run([files], alone=True)
    if (several := pictures(files, argument)) is not None:
        return Found(list(several))
    if is_frame(files) or is_dataset(files):
        return Found(_of_table(files, argument))
    if isinstance(files, Mapping) or not isinstance(files, Iterable):
        problem = f"{option(argument)} is of the type {type(files).__name__}: no photos."
        raise OptionError(problem, f"Give a path, a picture, or a list of these. {HINT}", option=argument)
    if isinstance(files, Iterator):
        first = next(files, None)
        if is_picture(first):  # frames of a camera, say, which need not end
            return Found(_next(one, n, argument) for n, one in enumerate(chain([first], files), 1))
        files = [] if first is None else chain([first], files)
    given = list(files)
    return _Finding(argument, every).run(given, alone=len(given) == 1)


def _next(one: Any, number: int, argument: str) -> ImageRef:
    """A picture, or a photo by its name, among pictures that come one after the other."""
    if isinstance(one, str | os.PathLike):
        return Path(place(one, argument))
    return picture(one, number, argument, copy=True)


def _of_table(files: Any, argument: str) -> list[ImageRef] | Iterator[ImageRef]:
    """The photos of a frame, by its column of pictures or of paths; of a data set, one after the other."""
    rows = rows_of(files, argument)
    assert rows is not None
    column = image_column(rows, None, argument)
    if column is None:
        cells = [list(map(text_of, row)) for row in rows.rows]
        table = Table(Path("the DataFrame"), rows.header, list(enumerate(cells, 1)), "DataFrame", sure=True)
        reader = Reader(table, labelled=False)
        names = [row[reader.columns.path] for row in cells]
        if names and not any(is_image_name(name) or os.path.exists(os.path.expanduser(name)) for name in names):
            problem = (
                f"the DataFrame has no column of photos: {rows.header[reader.columns.path]!r} holds {listed(names, 3)}"
            )
            raise DataError(problem, "Give paths or pictures in a column: path, file_name or image.")
        files_at = (Path(reader.places.find(os.path.expanduser(name)).path) for name in names)
        return [_line(name, file, n) for n, (name, file) in enumerate(zip(names, files_at, strict=True), 1)]
    at = rows.header.index(column)
    found = (_cell(row[at], number, argument) for number, row in enumerate(rows.rows, 1))
    return found if is_dataset(files) else list(found)


def _cell(cell: Any, number: int, argument: str) -> ImageRef:
    content = content_of(cell)
    if content is None or isinstance(content, str | os.PathLike):
        return _line("" if content is None else os.fspath(content), Path(content or "."), number)
    return picture(content, number, argument)


def _line(written: str, file: Path, number: int = 0) -> Unlabelled:
    """A photo that a table names, in row ``number`` of one in memory."""
    if number and not written.strip():
        return Unlabelled(f"row {number}", Path(f"row {number}"), "the row names no file")
    problem = "" if written else "the line names no file"
    if _ADDRESS.match(written) and not os.path.exists(file):
        problem = "an address, and photos are not fetched"
    return Unlabelled(written, file, problem)


def tell_skipped(found: Beside, events: Events) -> None:
    """The notes, and in one warning the files beside the photos that are none."""
    for note in found.notes:
        events.warning(note)
    if count := len(found.skipped):
        lines = [f"{address_of(bad.path) or bad.path}: {bad.reason}" for bad in found.skipped]
        events.warning(f"{plural(count, 'file')} left out, no photos:", first_lines(lines))


class _Finding:
    """Collects what is found, and the names without a match."""

    def __init__(self, argument: str, every: float | None = None) -> None:
        self.argument, self.every, self.found, self.missing = argument, every, Found(), list[str]()
        self.photos: list[ImageRef] = []

    def run(self, given: Iterable[Any], alone: bool) -> Found:
        for number, one in enumerate(given, 1):
            if isinstance(one, str | os.PathLike):
                self._name(place(one, self.argument), alone)
            else:
                self.photos.append(picture(one, number, self.argument))
        if addresses := [name for name in self.missing if _ADDRESS.match(name) and scheme_of(name) not in SCHEMES]:
            raise DataError(
                f"{listed(addresses)}: photos are not fetched.", "Download them first, then name the files."
            )
        if self.missing:
            raise DataError(f"No such photo: {listed(self.missing)}.", "Check the spelling.")
        self.found.photos = self.photos
        return self.found

    def _name(self, name: str, alone: bool) -> None:
        """One name; only where it is ``alone`` does it list others: a shell's glob also names the table of a folder."""
        path = Path(name)
        if os.path.isdir(path):  # unlike Path.is_dir, no error for a name that no file can have
            before = len(self.found.skipped)
            if self._folder(path):
                return
            if self._shards(name):
                del self.found.skipped[before:]  # "not an image" was said of the shards
            else:
                self.missing.append(f"{name} (a folder without photos)")
        elif name == STANDARD_INPUT and alone:
            lines = [(line, Path(os.path.expanduser(line))) for line in _standard_input()]
            self._listed(lines, "Standard input")
        elif os.path.exists(path):
            if not (path.suffix.lower() in SHARDS and self._shards(name)):
                self._file(path, alone)
        elif scheme_of(name) in SCHEMES:
            self._stored(name)
        elif not (is_pattern(name) and self._shards(name)):
            self._glob(name)

    def _shards(self, name: str) -> bool:
        """The photos of shards with labels here, which are read in place; whether it is such. Raises DataError."""
        if scheme_of(name) is not None or not StoredSource().accepts(name):
            return False
        self._stored(name)
        return True

    def _stored(self, name: str) -> None:
        """The photos of shards, or below an address. Raises DataError, DownloadError."""
        photos, skipped = StoredSource().photos(name)
        self.photos += photos
        self.found.skipped += skipped
        if not photos:
            self.missing.append(f"{name} (no photo there)")

    def _glob(self, pattern: str) -> None:
        """The photos that match, and those in matching folders: not the other files beside them."""
        before, matches = len(self.photos), sorted(glob.glob(pattern, recursive=True), key=natural_key)
        files = [Path(m) for m in matches if os.path.isfile(m)]
        for path in files:
            if is_image_name(path.name) or _is_photo(path) or (not is_companion(path.name) and is_archive(path)):
                self._file(path, alone=False)
            elif not is_companion(path.name):
                self.found.skipped.append(BadFile(path, "not an image"))
        for match in () if files and "**" in pattern else matches:  # ** names folders and all within them
            if os.path.isdir(match):
                self._folder(Path(match))
        if len(self.photos) == before:
            self.missing.append(f"{pattern} (no photo among what matches)" if matches else pattern)

    def _folder(self, path: Path, shown: Path | None = None) -> bool:
        """The photos in and below a folder, ``shown`` as below another one; whether there are any."""
        folders = Folders(path)
        # What cannot be read is no less asked for: whoever reads the photos says why each cannot be.
        inside = sorted((*map(Path, folders.photos(str(path))), *folders.lost), key=lambda p: natural_key(p.as_posix()))
        lost = set(folders.lost)
        self.found.notes += folders.notes
        skipped = [bad for bad in folders.skipped if bad.path not in lost]
        if shown is None:
            self.photos += inside
        else:
            self.photos += [Unlabelled(str(shown / p.relative_to(path)), p) for p in inside]
            skipped = [replace(bad, path=shown / bad.path.relative_to(path)) for bad in skipped]
        self.found.skipped += skipped
        return bool(inside)

    def _file(self, path: Path, alone: bool) -> None:
        if is_image_name(path.name) or not os.path.isfile(path):
            self.photos.append(path)
        elif self.every is not None and path.suffix.lower() in FORMATS:
            self.photos += frames(path, self.every)
        elif path.suffix.lower() in SUFFIXES:
            if alone:
                self._listed(listed_paths(path), str(path))
            else:
                words = "a table; to read the photos that it lists, name it alone"
                self.photos.append(Unlabelled(str(path), path, words))
        elif not _is_photo(path) and is_archive(path):
            folder, notes = unpack(path)
            self.found.notes += notes
            if not self._folder(folder, path):
                self.missing.append(f"{path} (an archive without photos)")
        else:
            self.photos.append(path)

    def _listed(self, lines: Iterable[tuple[str, Path]], where: str) -> None:
        """Photos by a list of what is written there and the file that it names. Each line has its prediction, under the
        name that is written there; a folder has those of its photos.
        """
        for written, file in lines:
            if written and os.path.isdir(file):
                self._folder(file)
                continue
            self.photos.append(_line(written, file))
        if not self.photos:
            raise DataError(f"{where} names no photos.")


def _is_photo(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return content_kind(file.read(64)) in KIND_SUFFIXES
    except OSError:
        return True  # whoever reads it says why it cannot be


def _standard_input() -> Iterator[str]:
    """Paths, one per line, or with NUL after each (``find -print0``)."""
    content = sys.stdin.buffer.read()
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    return (_decoded(line) for line in lines if line.strip())


def _decoded(line: bytes) -> str:
    """A path of the system; programs of Windows write it in the code page of the console, too."""
    if sys.platform == "win32":
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            return line.decode("oem", "replace")
    return os.fsdecode(line)
