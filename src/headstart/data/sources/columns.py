"""Photos in shards as columns: a few arrays for all of them, and an object for one only while it is looked at.

A million photos as objects take a gigabyte; as columns, about 100 bytes each.
"""

from __future__ import annotations

import copy
import errno
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal, Protocol, overload

import numpy as np

from headstart.data.bounds import MAX_BYTES
from headstart.data.chosen import chosen
from headstart.data.filenames import natural_key
from headstart.data.schema import SPLITS, Photo, Split

KINDS = ("", "json", "cls", "txt", "folder", "column")
"""What a label may be from: nothing, the files beside a photo in a WebDataset, its folder, a column."""


class Reader(Protocol):
    """Reads the photos of one shard."""

    def read(self, at: int, size: int) -> bytes:
        """The encoded image that is there. Raises OSError, DataError, DownloadError."""


@dataclass(frozen=True)
class StoredPhoto(Photo):
    """A photo that is read in place: ``size`` bytes ``at`` a place of a shard that its reader knows; the size is -1
    where only reading tells it. ``where``: how messages name it.
    """

    reader: Reader | None = field(default=None, repr=False, compare=False)
    at: int = 0
    size: int = -1
    where: str = ""

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:
        """The encoded image. Raises OSError where it is larger than any photo, or cannot be read."""
        assert self.reader is not None
        if self.size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"too large: a file of {self.size / 1e9:.1f} GB")
        return io.BytesIO(self.reader.read(self.at, self.size))


@dataclass(frozen=True)
class Row:
    """One photo of a shard, by its name below the data; ``kind``: what its label is from, one of ``KINDS``."""

    name: str
    label: str | None
    split: Split | None = None
    group: str | None = None
    at: int = 0
    size: int = -1
    kind: str = ""


@dataclass(frozen=True)
class Columns:
    """Facts of N photos of a shard: ``names``: their bytes one after the other, which end at ``ends`` [N]; ``labels``,
    ``splits``, ``groups``, ``kinds`` [N]: places in the tuples ``label_names``, ``SPLITS``, ``group_names`` and
    ``KINDS``, -1 for none; ``at``, ``sizes`` [N] as of a ``StoredPhoto``.
    """

    names: np.ndarray
    ends: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    groups: np.ndarray
    at: np.ndarray
    sizes: np.ndarray
    kinds: np.ndarray
    label_names: tuple[str, ...]
    group_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, i: int) -> str:
        """The name of one photo, with forward slashes."""
        start = int(self.ends[i - 1]) if i else 0
        return self.names[start : int(self.ends[i])].tobytes().decode(errors="surrogateescape")

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Columns:
        """From rows, one after the other."""
        names, ends, end = bytearray(), [], 0
        labels, groups = _Codes(), _Codes()
        facts: list[list[int]] = [[], [], [], [], [], []]
        for row in rows:
            encoded = row.name.encode(errors="surrogateescape")
            names += encoded
            end += len(encoded)
            ends.append(end)
            split = SPLITS.index(row.split) if row.split else -1
            values = (labels.code(row.label), split, groups.code(row.group), row.at, row.size, KINDS.index(row.kind))
            for column, value in zip(facts, values, strict=True):
                column.append(value)
        arrays = {
            column: np.array(values, kind) for (column, kind), values in zip(_OF_PHOTOS.items(), facts, strict=True)
        }
        return cls(
            np.frombuffer(bytes(names), np.uint8), np.array(ends, np.int64),
            label_names=tuple(labels.names), group_names=tuple(groups.names), **arrays,
        )  # fmt: skip

    def take(self, members: np.ndarray) -> Columns:
        """Some of the photos, by their places."""
        names = [self.name(int(i)).encode(errors="surrogateescape") for i in members]
        return self.renamed(names, members)

    def renamed(self, names: Sequence[bytes], members: np.ndarray | None = None) -> Columns:
        """With other names; of some photos only, where their places are given."""
        some = slice(None) if members is None else members
        columns = {name: getattr(self, name)[some] for name in _OF_PHOTOS}
        ends = np.cumsum([len(name) for name in names], dtype=np.int64)
        return replace(self, names=np.frombuffer(b"".join(names), np.uint8), ends=ends, **columns)

    def to_bytes(self) -> np.ndarray:
        """All of it as uint8, for the cache."""
        out = io.BytesIO()
        texts = json.dumps([self.label_names, self.group_names]).encode()
        arrays = {name: getattr(self, name) for name in ("names", "ends", *_OF_PHOTOS)}
        np.savez(out, texts=np.frombuffer(texts, np.uint8), **arrays)
        return np.frombuffer(out.getvalue(), np.uint8)

    @classmethod
    def from_bytes(cls, data: np.ndarray) -> Columns:
        """What ``to_bytes`` gave."""
        with np.load(io.BytesIO(data.tobytes()), allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in ("names", "ends", *_OF_PHOTOS)}
            labels, groups = json.loads(bytes(saved["texts"]).decode())
        return cls(**arrays, label_names=tuple(labels), group_names=tuple(groups))


_OF_PHOTOS = {
    "labels": np.int32, "splits": np.int8, "groups": np.int32, "at": np.int64, "sizes": np.int64, "kinds": np.int8,
}  # fmt: skip


class _Codes:
    """Texts as numbers, in the order in which they were first seen; -1 for none."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}

    def code(self, text: str | None) -> int:
        return -1 if text is None else self.names.setdefault(text, len(self.names))


class StoredPhotos(Sequence[Photo]):
    """The photos of shards in natural order of their names, which are below ``root``; ``readers``: one per shard;
    ``titles``: what messages call each.
    """

    def __init__(self, root: Path, shards: Sequence[Columns], readers: Sequence[Reader], titles: Sequence[str]) -> None:
        self.readers, self.titles, self.prefix = tuple(readers), tuple(titles), f"{root}/"
        self.table, self.shard = _joined(shards)
        names = [self.table.name(i) for i in range(len(self.table))]
        self.order = np.array(sorted(range(len(names)), key=lambda i: natural_key(names[i])), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, at: int) -> Photo: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Photo]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return chosen(self, np.arange(*at.indices(len(self))))
        return self._photo(int(self.order[at]))

    def take(self, places: Sequence[int]) -> StoredPhotos:
        """Those at some places, in this order."""
        some = copy.copy(self)
        some.order = self.order[np.asarray(places, np.int64)]
        return some

    def _photo(self, i: int) -> StoredPhoto:
        table, shard = self.table, int(self.shard[i])
        name, title = table.name(i), self.titles[shard]
        label, split, group = int(table.labels[i]), int(table.splits[i]), int(table.groups[i])
        return StoredPhoto(
            Path(self.prefix + name), table.label_names[label] if label >= 0 else "",
            SPLITS[split] if split >= 0 else None, table.group_names[group] if group >= 0 else None,
            self.readers[shard], int(table.at[i]), int(table.sizes[i]), f"{title}: {name}" if title else name,
        )  # fmt: skip


def _joined(shards: Sequence[Columns]) -> tuple[Columns, np.ndarray]:
    """One table of all shards, and the shard of each photo."""
    label_names, groups_all = _Codes(), _Codes()
    labels, groups, ends, before = [], [], [], 0
    for one in shards:
        labels.append(_recoded(one.labels, one.label_names, label_names))
        groups.append(_recoded(one.groups, one.group_names, groups_all))
        ends.append(one.ends + before)
        before += len(one.names)
    table = Columns(
        np.concatenate([one.names for one in shards]), np.concatenate(ends), np.concatenate(labels),
        np.concatenate([one.splits for one in shards]), np.concatenate(groups),
        np.concatenate([one.at for one in shards]), np.concatenate([one.sizes for one in shards]),
        np.concatenate([one.kinds for one in shards]), tuple(label_names.names), tuple(groups_all.names),
    )  # fmt: skip
    return table, np.repeat(np.arange(len(shards), dtype=np.int32), [len(one) for one in shards])


def _recoded(codes: np.ndarray, names: Sequence[str], into: _Codes) -> np.ndarray:
    places = np.array([into.code(name) for name in names] or [-1], dtype=np.int32)
    return np.where(codes < 0, np.int32(-1), places[np.maximum(codes, 0)]).astype(np.int32)
