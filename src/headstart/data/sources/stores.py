"""Files on this machine and in object stores, listed and read in place. In: a folder, a pattern of names or an address.
Out: their names and sizes, and any part of one. No program is started and no credentials are handled: the libraries of
each store find them in their own environment and configuration.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import IO, Any, Protocol

from headstart.core.files import open_regular
from headstart.core.text import brief, listed
from headstart.data.filenames import is_hidden, natural_key
from headstart.data.sources.addresses import SCHEMES, expanded, scheme_of
from headstart.data.sources.base import local
from headstart.data.sources.streams import Blocks
from headstart.errors import DataError, DownloadError

BLOCK, BLOCKS = 4 << 20, 32
"""Bytes that are fetched from a store at once, and how many such blocks stay in memory."""
ATTEMPTS, BACKOFF_S = 3, 0.5
_STAMPS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated", "generation", "blob_id")


class Store(Protocol):
    """Where files are."""

    def read(self, path: str, start: int, size: int) -> bytes:
        """So many bytes of a file. Raises OSError, for a store elsewhere DownloadError."""

    def open(self, path: str, size: int) -> IO[bytes]:
        """A file of ``size`` bytes, to read and seek in."""

    def size(self, path: str) -> int | None:
        """The bytes of a file; None where it is not there, or not to be read. Raises DownloadError."""


@dataclass(frozen=True)
class StoredFile:
    """A file: its ``name`` below what was listed, with forward slashes; ``stamp`` changes when its content does."""

    name: str
    path: str
    size: int
    stamp: str

    @property
    def suffix(self) -> str:
        return os.path.splitext(self.name)[1].lower()

    @property
    def key(self) -> str:
        """A name for what is computed from it."""
        text = "\0".join((self.path, str(self.size), self.stamp))
        return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Listing:
    """The files that some data names, in natural order, without hidden ones; ``root``: what their names are below;
    ``single``: one file was named; ``whole``: a folder was, and these are all of its files.
    """

    root: Path
    files: tuple[StoredFile, ...]
    store: Store
    single: bool = False
    whole: bool = False

    @property
    def name(self) -> str:
        """What the data is called."""
        if self.single:
            return self.files[0].name.rpartition("/")[2].partition(".")[0]
        return self.root.name or "photos"

    def find(self, names: Sequence[str]) -> StoredFile | None:
        """The first file of such a name, in any folder; where a pattern or one file was named, beside these."""
        for file in self.files:
            if file.name.rpartition("/")[2].casefold() in names:
                return file
        folder = self.files[0].path[: -len(self.files[0].name)]
        for name in () if self.whole else names:
            if (size := self.store.size(folder + name)) is not None:
                return StoredFile(name, folder + name, size, "")
        return None


def list_files(data: str) -> Listing:
    """The files of a folder, a pattern or an address. Raises DataError where there are none, or a package is missing;
    DownloadError where a store does not answer.
    """
    return _remote(data) if scheme_of(data) else _here(local(data), data)


def _here(path: Path, data: str) -> Listing:
    if path.is_dir():
        found = [Path(here, name) for here, folders, names in _walk(path) for name in names]
        root = path
    else:
        names = [path] if path.is_file() else [Path(name) for one in expanded(str(path)) for name in _matches(one)]
        found, root = [name for name in names if name.is_file()], _common([str(name) for name in names] or [str(path)])
        if missing := [name for name in names if not name.exists()]:
            raise DataError(f"{data} names files that are not there: {listed([m.name for m in missing])}")
    files = []
    for one in found:
        facts = one.stat()
        name = one.relative_to(root).as_posix()
        files.append(StoredFile(name, str(one), facts.st_size, str(facts.st_mtime_ns)))
    return _listing(root, files, Here(), data, path.is_file(), path.is_dir())


def _walk(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for here, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield here, folders, names


def _matches(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern), key=natural_key) if re.search(r"[*?\[]", pattern) else [pattern]


def _common(paths: list[str]) -> Path:
    return Path(os.path.commonpath([os.path.dirname(path) for path in paths]))


def _listing(root: Path, files: list[StoredFile], store: Store, data: str, single: bool, whole: bool) -> Listing:
    shown = [f for f in files if not any(map(is_hidden, f.name.split("/")))]
    if not shown:
        raise DataError(f"{data}: no files there", "Check the spelling, and that you may list what is there.")
    return Listing(root, tuple(sorted(shown, key=lambda f: natural_key(f.name))), store, single, whole)


class Here:
    """Files on this machine."""

    def read(self, path: str, start: int, size: int) -> bytes:
        with open_regular(Path(path)) as file:
            file.seek(start)
            return file.read(size)

    def open(self, path: str, size: int) -> IO[bytes]:
        return open_regular(Path(path))

    def size(self, path: str) -> int | None:
        return os.path.getsize(path) if os.path.isfile(path) else None


def _remote(data: str) -> Listing:
    system, scheme = file_system(data), f"{scheme_of(data)}://"
    system.invalidate_cache()
    plain = data.rstrip("/")
    with store_errors(data):
        names = [system._strip_protocol(one) for one in expanded(plain)]
        several = len(names) > 1 or bool(re.search(r"[*?\[]", plain))
        if several:
            facts = _facts_of(system, names)
            root = _shared(list(facts) or names)
        else:
            facts, root = _facts_below(system, names[0])
    single = not several and set(facts) == {names[0]}
    root = root if not single else names[0].rpartition("/")[0]
    files = [_stored(name, root, fact) for name, fact in facts.items() if fact.get("type") == "file"]
    shown = root if root.startswith(scheme) else scheme + root.lstrip("/")
    return _listing(Path(shown), files, Elsewhere(system), data, single, not (single or several))


def _facts_below(system: Any, name: str) -> tuple[dict[str, Any], str]:
    """The files at or below one address, and what their names are below."""
    if system.protocol in ("http", ("http", "https")) and re.search(r"\.\w{2,8}$", name.rpartition("/")[2]):
        return {name: _retried(system, partial(system.info, name))}, name
    return system.find(name, detail=True), name


def _facts_of(system: Any, names: list[str]) -> dict[str, Any]:
    """What a store says of the files of a pattern. Raises DataError for one that is not there."""
    found: dict[str, Any] = {}
    for name in names:
        if re.search(r"[*?\[]", name):
            found |= system.glob(name, detail=True)
            continue
        try:
            found[name] = _retried(system, partial(system.info, name))
        except FileNotFoundError as error:
            if not _is_absent(error):
                raise
            raise DataError(f"{name} is not there", f"It is one of {len(names):,} names of a pattern.") from None
    return found


def _shared(names: list[str]) -> str:
    """The folder that all of these are below."""
    levels = zip(*(name.split("/")[:-1] for name in names), strict=False)
    return "/".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))


def _stored(path: str, root: str, facts: dict[str, Any]) -> StoredFile:
    stamp = "|".join(str(facts[name]) for name in _STAMPS if facts.get(name) is not None)
    name = path.removeprefix(root).lstrip("/") if path != root else path.rpartition("/")[2]
    return StoredFile(name, path, int(facts.get("size") or 0), stamp)


def file_system(data: str) -> Any:
    """fsspec's file system for an address. Raises DataError for a scheme that is not read, or a missing package."""
    scheme = scheme_of(data) or ""
    if "@" in data.partition("://")[2].partition("/")[0] and scheme != "hf":
        raise DataError(
            f"an address of {scheme}:// holds a user or password",
            "It would be written into every run; give credentials in the way of this store's own tools.",
        )
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES if name != "gcs")
        raise DataError(f"{data}: addresses of the kind {scheme}:// are not read", f"Those that are: {known}.")
    try:
        import fsspec

        return fsspec.filesystem(scheme)
    except ImportError as error:
        raise DataError(
            f"{data}: {scheme}:// needs the package {SCHEMES[scheme]}", 'pip install "headstart[remote]"'
        ) from error


@contextmanager
def store_errors(where: str) -> Iterator[None]:
    """Turns whatever a store raises into a DownloadError of one line; nothing of its requests is shown."""
    try:
        yield
    except (DataError, DownloadError):
        raise
    except Exception as error:  # noqa: BLE001 - each store has errors of its own
        raise DownloadError(f"{where} cannot be read: {_reason(error)}.", _hint(error)) from None


def _reason(error: Exception) -> str:
    if _is_absent(error):
        return "nothing is there"
    if isinstance(error, FileNotFoundError):
        return f"the server answered {getattr(error.__cause__, 'status', 'with an error')}"
    if isinstance(error, PermissionError):
        return "access is denied"
    return brief(f"{type(error).__name__}: {error}".rstrip(": ."), 200)


def _hint(error: Exception) -> str:
    if _is_absent(error):
        return "Check the address."
    if isinstance(error, PermissionError) or "redential" in f"{type(error).__name__} {error}":
        return "Give credentials in the way of this store's own tools (for S3: AWS_ACCESS_KEY_ID, AWS_PROFILE)."
    return "Try again: what was computed is kept, and used."


def _is_absent(error: Exception) -> bool:
    """Whether a store says that something is not there: to the file system of the web, any answer but 200 says so."""
    return isinstance(error, FileNotFoundError) and getattr(error.__cause__, "status", 404) == 404


def _retried(system: Any, call: Callable[[], Any]) -> Any:
    """What a call gives; of a web server, whose file system does not try again by itself, after up to ``ATTEMPTS``."""
    web = "http" in (system.protocol if isinstance(system.protocol, tuple | list) else (system.protocol,))
    for attempt in range(1, ATTEMPTS if web else 1):
        try:
            return call()
        except PermissionError:
            raise
        except FileNotFoundError as error:  # what any answer becomes
            if _is_absent(error):
                raise
            time.sleep(BACKOFF_S * 3 ** (attempt - 1))
        except Exception:  # noqa: BLE001 - each store has errors of its own; the last attempt tells
            time.sleep(BACKOFF_S * 3 ** (attempt - 1))
    return call()


@dataclass
class Elsewhere:
    """Files in an object store, read in blocks, of which the last ones used are kept: photos of a shard follow one
    another. Threads that want the same block wait for one request.
    """

    system: Any
    _blocks: OrderedDict[tuple[str, int], Future[bytes]] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:  # another process has blocks of its own
        return Elsewhere, (self.system,)

    def read(self, path: str, start: int, size: int) -> bytes:
        """Raises DownloadError."""
        first, last = start // BLOCK, max(start, start + size - 1) // BLOCK
        if last - first > 2:
            return self._fetch(path, start, start + size)
        joined = b"".join(self._block(path, number) for number in range(first, last + 1))
        found = joined[start - first * BLOCK :][:size]
        if len(found) < size:
            raise DownloadError(f"{path} ended after {first * BLOCK + len(joined):,} bytes.", "Has it changed?")
        return found

    def whole(self, path: str) -> bytes:
        """A file as it is. Raises DownloadError."""
        return self._asked(path, {})

    def size(self, path: str) -> int | None:
        with store_errors(path):
            try:
                return int(_retried(self.system, partial(self.system.info, path)).get("size") or 0)
            except (FileNotFoundError, PermissionError) as error:  # without the right to list, S3 says the latter
                if getattr(error.__cause__, "status", 404) not in (403, 404):
                    raise
                return None

    def open(self, path: str, size: int) -> IO[bytes]:
        return io.BufferedReader(Blocks(partial(self.read, path), size), 1 << 16)

    def _block(self, path: str, number: int) -> bytes:
        key = (path, number)
        with self._lock:
            waiting = self._blocks.get(key)
            mine = waiting is None
            if waiting is None:
                waiting = self._blocks[key] = Future()
                while len(self._blocks) > BLOCKS:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(key)
        if mine:
            try:
                waiting.set_result(self._fetch(path, number * BLOCK, (number + 1) * BLOCK))
            except BaseException as error:  # noqa: BLE001 - whoever waits for the block gets it
                with self._lock:
                    self._blocks.pop(key, None)
                waiting.set_exception(error)
        return waiting.result()

    def _fetch(self, path: str, start: int, end: int) -> bytes:
        found = self._asked(path, {"start": start, "end": end})
        if len(found) > end - start:
            raise DownloadError(
                f"The server of {path} does not send parts of files.", "Download it, and name the file."
            )
        return found

    def _asked(self, path: str, part: dict[str, int]) -> bytes:
        with store_errors(path):
            return bytes(_retried(self.system, partial(self.system.cat_file, path, **part)))
