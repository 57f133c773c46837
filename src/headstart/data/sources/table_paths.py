"""The files that the cells of a table name: as they are written, else completed by a suffix, else moved to this
machine. Whatever was not as written is counted, to be told.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from headstart.core.text import listed, plural, quoted
from headstart.data.filenames import is_hidden, is_image_name, split_of
from headstart.data.schema import ReadOptions, Split
from headstart.data.sources.table_reading import plain, sample
from headstart.errors import OptionError

NO_FILE = "no such file"
WEB = "an address on the web, not a file"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class Place(NamedTuple):
    """The file of a cell and how it was found: "" as written, "suffix" or "case" completed, "moved"; or a problem."""

    path: str
    way: str = ""
    problem: str = ""


class Places:
    """Finds the files that one column names.

    ``folder``: the table's own; ``above``: the data's, where that is another; ``split``: that of the
    whole table, which one of several photos may be in.
    """

    def __init__(
        self, folder: Path, options: ReadOptions, above: Path | None = None, split: Split | None = None
    ) -> None:
        if options.images is not None:
            images = Path(os.path.abspath(os.path.expanduser(options.images)))
            if not images.is_dir():
                raise OptionError(f"`images={options.images!r}` is no folder.", option="images")
            self.homes = [str(images)]
        else:
            # Where a link leads to the table's folder, the path is from here or from there.
            own = [str(folder), os.path.realpath(folder), *([str(above)] if above else [])]
            self.homes = list(dict.fromkeys(own))
        suffix = options.suffix or ""
        self.suffix = "." + suffix.lstrip(".") if suffix else ""
        self.split = split
        self.ways: Counter[str] = Counter()
        self._lists: dict[str, dict[str, list[str]]] = {}
        self._everywhere: dict[str, list[str]] | None = None
        self._prefix: list[str] | None = None  # folders that are left out of each path; None: all
        self._moved = False

    def learn(self, values: Sequence[str]) -> float:
        """Prepare for the values of a column, of which this share names files."""
        some = sample([v for v in values if v.strip()])
        if not some:
            return 0.0
        self._moved, self._prefix = False, None
        direct = sum(self.find(v).problem not in (NO_FILE, WEB) for v in some) / len(some)
        if direct >= 0.5 or all(_ADDRESS.match(v) for v in some):
            return direct
        # Of another machine: without the folders that all paths share; without any where no two names are the same.
        every = [_parts(v) for v in values if v.strip()]
        shared = _common([parts[:-1] for parts in every])
        distinct = len({parts[-1] for parts in every if parts}) == len({tuple(parts) for parts in every})
        best = direct
        for prefix in (shared, None) if distinct else (shared,):
            before, self._moved, self._prefix = (self._moved, self._prefix), True, prefix
            moved = sum(self.find(v).problem not in (NO_FILE, WEB) for v in some) / len(some)
            if moved <= best:
                self._moved, self._prefix = before
            best = max(best, moved)
        return best

    def find(self, written: str) -> Place:
        """The file of one cell."""
        if (
            written
            and not self.suffix
            and os.path.isfile(first := os.path.normpath(os.path.join(self.homes[0], written)))
        ):
            return Place(first)  # nearly always
        text = written.strip()
        if _ADDRESS.match(text):
            if not text.lower().startswith("file:"):
                return Place(written, problem=WEB)
            written = text = url2pathname(urlsplit(text).path)
        if not text:
            return Place(os.path.join(self.homes[0], written), problem=NO_FILE)
        ways = list(dict.fromkeys(w for way in (written, text, plain(text)) for w in (way, way.replace("\\", "/"))))
        ways += [unquote(ways[-1])] if "%" in text else []
        places = [os.path.normpath(os.path.join(home, way)) for home in self.homes for way in ways]
        if self.suffix:
            places = [place + self.suffix for place in places] + places
        if found := next(filter(os.path.isfile, places), None):
            return Place(found)
        for place in places:
            found_here = self._chosen(self._list(os.path.dirname(place)), os.path.basename(place))
            if found_here.path:
                way = "case" if _key(os.path.basename(place)) == _key(os.path.basename(found_here.path)) else "suffix"
                return found_here._replace(way="" if found_here.problem else way)
        missing = Place(os.path.normpath(os.path.join(self.homes[0], ways[-1])), problem=NO_FILE)
        return self._elsewhere(ways[-1], missing) if self._moved else missing

    def _elsewhere(self, text: str, missing: Place) -> Place:
        """The one file below the homes whose path ends as this one does, without the folders that all paths share."""
        if not _parts(text):
            return missing
        if self._everywhere is None:
            self._everywhere = defaultdict(list)
            for home in dict.fromkeys(map(os.path.realpath, self.homes)):
                for path in _photos_below(home, self.suffix):
                    for key in _keys(os.path.basename(path)):
                        if path not in self._everywhere[key]:
                            self._everywhere[key].append(path)
        *folders, name = _parts(text)
        tail = [] if self._prefix is None else [_key(part) for part in folders[len(self._prefix) :]]

        def ends_so(path: str) -> bool:
            return not tail or [_key(part) for part in path.split(os.sep)[-1 - len(tail) : -1]] == tail

        found = self._chosen(self._everywhere, name, ends_so)
        return missing if not found.path else found._replace(way="" if found.problem else "moved")

    def _chosen(self, known: dict[str, list[str]], name: str, fits: Callable[[str], bool] | None = None) -> Place:
        """The one file of a name, of a name without its suffix, of a number without its zeros."""
        for key in (_key(name + self.suffix) if self.suffix else "", _key(name), _stem(name), _number(name)):
            some = [path for path in known.get(key, ()) if fits is None or fits(path)] if key else []
            if len(some) > 1 and self.split:
                some = [p for p in some if self.split in map(split_of, p.split(os.sep)[:-1])] or some
            if len(some) > 1:
                above = os.path.commonpath([os.path.dirname(p) for p in some])
                names = listed([quoted(os.path.relpath(p, above)) for p in sorted(some)], 3)
                return Place(some[0], problem=f"{len(some)} files fit it ({names})")
            if some:
                return Place(some[0])
        return Place("")

    def _list(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._lists:
            known: dict[str, list[str]] = defaultdict(list)
            try:
                names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
            except (OSError, ValueError):
                names = []
            for name in names:
                for key in _keys(name) if _is_photo(name, self.suffix) else ():
                    known[key].append(os.path.join(folder, name))
            self._lists[folder] = known
        return self._lists[folder]

    def notes(self, table: str, root: Path) -> Iterator[str]:
        """How the photos were found that are not where the table says."""
        if self.ways["suffix"]:
            yield f"{plural(self.ways['suffix'], 'name')} in {table} completed by the suffix of the photo"
        if self.ways["case"]:
            yield f"{plural(self.ways['case'], 'path')} in {table} matched without regard to case"
        if self.ways["moved"]:
            shared = "/".join(self._prefix or ())
            of = f" of {quoted(shared)}" if shared else ""
            yield f"{plural(self.ways['moved'], 'photo')}{of} in {table} found in other folders below {root}"


def _common(paths: list[list[str]]) -> list[str]:
    """The folders that all paths begin with."""
    low, high = min(paths), max(paths)
    return low[: next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))]


def _photos_below(home: str, suffix: str) -> Iterator[str]:
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(home, followlinks=True):
        try:
            status = os.stat(folder)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (os.path.join(folder, name) for name in names if _is_photo(name, suffix))


def _is_photo(name: str, suffix: str) -> bool:
    return not is_hidden(name) and (is_image_name(name) or bool(suffix and name.lower().endswith(suffix.lower())))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _stem(name: str) -> str:
    return f"{_key(name)}/" if name else ""


def _number(name: str) -> str:
    return f"{int(name)}#" if name.isdecimal() and name.isascii() and len(name) < 30 else ""


def _keys(name: str) -> Iterable[str]:
    """What a file is found by: its name, that without the suffix, and its number without leading zeros."""
    stem = os.path.splitext(name)[0]
    return tuple(filter(None, (_key(name), _stem(stem), _number(stem))))


def _parts(text: str) -> list[str]:
    return [part for part in text.strip().replace("\\", "/").split("/") if part not in ("", ".")]
