"""WebDataset shards: tar files in which the files of one photo have one name and lie beside each other: ``0001.jpg``
with ``0001.cls``, ``0001.json`` or ``0001.txt``. They are read in place: a shard's headers are read once, and where
each photo is stays in the cache.

The format: the documentation of the package webdataset 1.0 ("The WebDataset Format"): what follows the first dot of a
name is the kind of the file.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import IO, Any, cast

from headstart.core.formats import parsed
from headstart.core.text import first_line
from headstart.data.filenames import clean_label, is_hidden, is_image_name, split_of
from headstart.data.label_sets import SEPARATOR
from headstart.data.schema import ReadOptions, Split
from headstart.data.sources.archive import DAMAGE, MAX_FILES, Bounded, safe_parts
from headstart.data.sources.columns import Row
from headstart.data.sources.stores import Store, StoredFile
from headstart.errors import DataError

MAX_SIDECAR = 1 << 20
"""Bytes of the label file of one photo."""
LABEL_KEYS = ("label", "class", "class_name", "category", "cls")
"""Keys of a ``.json`` that hold a label, in the order in which they are looked for."""
_SIDECARS = ("json", "cls", "txt")


@dataclass
class _Sample:
    """The files of one name: images by what follows the first dot, and label files by their kind."""

    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    sidecars: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class TarReader:
    """Reads photos of one tar by their place in it."""

    store: Store
    path: str

    def read(self, at: int, size: int) -> bytes:
        found = self.store.read(self.path, at, size)
        if len(found) < size:
            raise DataError(f"{self.path} is shorter than it was: it has changed since it was listed")
        return found


def is_labelled(file: IO[bytes], path: str) -> bool:
    """Whether a tar begins with a photo and its label file, and so is a shard rather than a packed folder."""
    try:
        names: dict[str, set[str]] = {}
        for member, _ in zip(_members(file, path), range(64), strict=False):
            key, kind = split_key(member.name)
            known = names.setdefault(key, set())
            known.add("image" if is_image_name(member.name) else kind)
            if "image" in known and known & {*_SIDECARS}:
                return True
    except (DataError, OSError):
        pass
    return False


def split_key(name: str) -> tuple[str, str]:
    """(key, kind) of a file: ``cats/1.seg.png`` is ``cats/1`` and ``seg.png``."""
    folder, slash, base = name.rpartition("/")
    stem, _, kind = base.partition(".")
    return f"{folder}{slash}{stem}", kind.lower()


def index(file: StoredFile, store: Store, options: ReadOptions) -> list[Row]:
    """Every photo of a shard. Raises DataError for a damaged or hostile one."""
    with store.open(file.path, file.size) as stream:
        samples: dict[str, _Sample] = {}
        for number, member in enumerate(_members(stream, file.path), 1):
            if number > MAX_FILES:
                raise DataError(f"{file.path} has more than {MAX_FILES:,} files")
            _collect(samples, member, stream, file)
    rows = [row for key, sample in samples.items() for row in _photos(key, sample, file, options)]
    if len({row.name for row in rows}) < len(rows):  # a ``path`` of another meaning
        options = replace(options, path_column="none")
        rows = [row for key, sample in samples.items() for row in _photos(key, sample, file, options)]
    return rows


def _members(stream: IO[bytes], path: str) -> Iterator[tarfile.TarInfo]:
    """The plain files of a tar that is not compressed, hidden ones left out; names are made safe."""
    try:
        bounded = Bounded(stream)
        with tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else it keeps an object for each
                parts = safe_parts(member.name, path)
                if member.isreg() and not member.issparse() and parts and not any(map(is_hidden, parts)):
                    member.name = "/".join(parts)
                    yield member
            if bounded.last.strip(b"\0"):
                raise tarfile.ReadError("a damaged header")  # tarfile takes it for the end
    except DAMAGE as error:
        raise DataError(
            f"{path} is no tar that can be read in place ({first_line(error)})",
            "Shards are plain .tar files, not compressed.",
        ) from error


def _collect(samples: dict[str, _Sample], member: tarfile.TarInfo, stream: IO[bytes], file: StoredFile) -> None:
    key, kind = split_key(member.name)
    place = (member.offset_data, member.size)
    if member.size < 0 or sum(place) > file.size:
        raise DataError(f"{file.path} is damaged: {member.name} reaches beyond its end", "Download or pack it again.")
    if is_image_name(member.name):
        sample = samples.setdefault(key, _Sample())
        name = member.name[len(key) :]
        if name in sample.images:
            raise DataError(f"{file.path} holds {member.name} twice", "Pack it again: each photo under its own name.")
        sample.images[name] = place
    elif kind in _SIDECARS:
        if member.size > MAX_SIDECAR:
            raise DataError(f"{file.path}: {member.name} has {member.size:,} bytes, too many for a label")
        stream.seek(member.offset_data)
        samples.setdefault(key, _Sample()).sidecars[kind] = stream.read(member.size)


def _photos(key: str, sample: _Sample, file: StoredFile, options: ReadOptions) -> Iterator[Row]:
    if not sample.sidecars:  # photos in folders: a dot in a name has no meaning
        for kind, (at, size) in sample.images.items():
            yield _in_folder(key + kind, at, size)
        return
    if not sample.images:
        return
    plain = [kind for kind in sample.images if kind.count(".") == 1]
    if len(plain) != 1:
        raise DataError(
            f"{file.path}: {key} has {len(sample.images)} pictures and one label", "Which is the photo is not clear."
        )
    at, size = sample.images[plain[0]]
    facts = _json(sample.sidecars.get("json"), f"{file.path}: {key}.json")
    label, kind = _label(sample, facts, options)
    path = facts.get(options.path_column or "path")
    name = "/".join(safe_parts(path, file.path)) if isinstance(path, str) and path else key + plain[0]
    split = _text(facts.get(options.split_column or "split"))
    group = _text(facts.get(options.group_column or "group"))
    no_split, no_group = options.split_column == "none", options.group_column == "none"
    yield Row(
        name, label, None if no_split or not split else split_of(split), None if no_group else group, at, size, kind
    )


def _in_folder(name: str, at: int, size: int) -> Row:
    """A photo without a label file: its folder is its class, and the one above may be a split."""
    folders = name.split("/")[:-1]
    label = clean_label(folders[-1]) if folders else None
    split: Split | None = split_of(folders[-2]) if len(folders) > 1 else None
    return Row(name, label, split, None, at, size, "folder" if label else "")


def _json(data: bytes | None, where: str) -> dict[str, Any]:
    if data is None:
        return {}
    try:
        value = parsed(data.decode("utf-8"))
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error})", "Pack it again.") from None
    return value if isinstance(value, dict) else {}


def _label(sample: _Sample, facts: dict[str, Any], options: ReadOptions) -> tuple[str | None, str]:
    asked = options.label_column
    for key in (asked,) if asked else LABEL_KEYS:
        if (label := _text(facts.get(key), options.several)) is not None:
            return label, "json"
    for kind in ("cls", "txt") if asked is None else (asked.lstrip("."),):
        text = sample.sidecars.get(kind, b"").decode("utf-8", "backslashreplace").strip()
        if text and kind in sample.sidecars:
            return clean_label(text), kind
    return None, ""


def _text(value: Any, several: bool = False) -> str | None:
    """A label, split or group of a ``.json``: a text or whole number; with ``several``, a list of these."""
    if several and isinstance(value, list):
        return SEPARATOR.join(filter(None, map(_text, value)))
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return clean_label(text) if text.strip() else ("" if several else None)
