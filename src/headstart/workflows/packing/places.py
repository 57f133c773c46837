"""Where shards go: a folder here, or one in an object store. A file is there whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from headstart.core.files import LARGEST_JSON, read_json, replacing, write_json
from headstart.core.formats import parsed
from headstart.data.sources.addresses import scheme_of
from headstart.data.sources.stores import file_system, store_errors
from headstart.errors import RunError

STATE = "pack.json"
DAMAGED_STATE = "Delete it, or choose another place."


class Target(Protocol):
    """A folder for shards."""

    shown: str

    def names(self) -> set[str]:
        """The files in it; none where it is not there."""

    def size(self, name: str) -> int | None:
        """The bytes of a file; None where it is not there."""

    def state(self) -> Any:
        """What ``save`` wrote; None where nothing did."""

    def save(self, state: Any) -> None:
        """Write the state. Raises RunError, DownloadError."""

    def writing(self, name: str) -> Any:
        """A context with a temporary file, which becomes the file of that name when it ends without an error."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, those that are there, in this order."""


def target_of(out: str) -> Target:
    """The place that ``out`` names. Raises DataError for a scheme that is not known, RunError for a file."""
    return Bucket(out.rstrip("/")) if scheme_of(out) else Folder(Path(out))


class Folder:
    """A folder here."""

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file.", "Name a new folder.")
        self.path, self.shown = path, str(path)

    def names(self) -> set[str]:
        return {name for name in os.listdir(self.path) if not name.startswith(".")} if self.path.is_dir() else set()

    def size(self, name: str) -> int | None:
        with suppress(OSError):
            return (self.path / name).stat().st_size
        return None

    def state(self) -> Any:
        with suppress(FileNotFoundError):
            return read_json(self.path / STATE, DAMAGED_STATE)
        return None

    def save(self, state: Any) -> None:
        write_json(self.path / STATE, state)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with replacing(self.path / name) as temporary:
            yield temporary

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)


class Bucket:
    """A folder in an object store, where a file that is put is there whole."""

    def __init__(self, address: str) -> None:
        self.shown, self.system = address, file_system(address)
        self.root = self.system._strip_protocol(address)

    def names(self) -> set[str]:
        self.system.invalidate_cache()
        with store_errors(self.shown):
            try:
                return {str(name).rpartition("/")[2] for name in self.system.ls(self.root, detail=False)}
            except FileNotFoundError:
                return set()

    def size(self, name: str) -> int | None:
        self.system.invalidate_cache()
        with store_errors(self.shown):
            try:
                return int(self.system.info(f"{self.root}/{name}")["size"])
            except FileNotFoundError:
                return None

    def state(self) -> Any:
        with store_errors(self.shown):
            try:
                text = self.system.cat_file(f"{self.root}/{STATE}", start=0, end=LARGEST_JSON)
            except FileNotFoundError:
                return None
        try:
            return parsed(text.decode())
        except ValueError:
            raise RunError(f"{self.shown}/{STATE} is damaged.", DAMAGED_STATE) from None

    def save(self, state: Any) -> None:
        with store_errors(self.shown):
            self.system.pipe_file(f"{self.root}/{STATE}", json.dumps(state, indent=1).encode())

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="headstart-") as work:
            temporary = Path(work) / name
            yield temporary
            with store_errors(self.shown):
                self.system.put_file(str(temporary), f"{self.root}/{name}")

    def delete(self, names: Iterable[str]) -> None:
        there = self.names()
        with store_errors(self.shown):
            for name in names:
                if name in there:
                    self.system.rm_file(f"{self.root}/{name}")
