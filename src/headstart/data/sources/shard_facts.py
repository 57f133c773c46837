"""What the shards of some data say together: one kind of label, the split of each photo, and names that differ. In: the
columns of each shard as they were indexed. Out: the same, resolved; what has no label is named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headstart.core.text import listed, plural, quoted
from headstart.data.filenames import clean_label, split_in_name, split_of
from headstart.data.schema import SPLITS, BadFile, Split
from headstart.data.sources.columns import KINDS, Columns, Reader
from headstart.data.sources.stores import Listing, StoredFile
from headstart.errors import DataError

CLASS_LISTS = ("classes.txt", "labels.txt", "classnames.txt", "class_names.txt")
"""Files beside shards that name the classes of numbers, one a line from 0 on."""
LARGEST_LIST = 1 << 20
CAPTIONS = 0.5
"""Share of different texts from which ``.txt`` files are captions rather than classes."""
_NUMBERS = re.compile(r"[-_.]?\d+([-_.]of[-_.]\d+)?([-_.][0-9a-f]{6,})?$")
"""The end of a shard's name: ``-000``, ``-00000-of-00002``, and what the hub writes after it."""
_WORDS = {
    "json": "a key of its .json",
    "cls": "its .cls",
    "txt": "its .txt",
    "folder": "its folder",
    "column": "a column",
}


@dataclass(frozen=True)
class Shard:
    """One shard: its file, the photos in it, and what reads them."""

    file: StoredFile
    rows: Columns
    reader: Reader


def split_of_shard(file: StoredFile, sure: bool = False) -> Split | None:
    """The split that a shard's name says: ``train-0001.tar``, ``train-00000-of-00002.parquet``, ``train/0001.tar``; if
    it need not be ``sure``, also ``photos-train-1.tar``, whose other words may be of a class.
    """
    folder, _, base = file.name.rpartition("/")
    stem = os.path.splitext(base)[0]
    named = split_of(_NUMBERS.sub("", stem)) or split_of(folder.rpartition("/")[2])
    if sure or named:
        return named
    somewhere = split_in_name(stem)
    return somewhere[0] if somewhere else None


def resolved(shards: Sequence[Shard], found: Listing, data: str, by_name: bool = True) -> tuple[list[Shard], list[str]]:
    """The shards with one kind of label and, ``by_name``, with the splits of their names, and notes. Raises
    DataError.
    """
    kind = _kind(shards, data)
    notes: list[str] = []
    if kind == "cls":
        shards, notes = _named_classes(shards, found, data)
    elif kind == "txt":
        _refuse_captions(shards, data)
    if by_name and not found.single:  # as the name of a folder that is the data says no split
        shards, told = _with_splits(shards)
        notes = [*notes, *told]
    return unique_names(shards, data), notes


def _kind(shards: Sequence[Shard], data: str) -> str:
    """What labels are from. Raises DataError where photos differ in that, or none has a label."""
    counts = sum((np.bincount(one.rows.kinds, minlength=len(KINDS)) for one in shards), np.zeros(len(KINDS), np.int64))
    there = [kind for kind, count in zip(KINDS[1:], counts[1:], strict=True) if count]
    if not there:
        found = plural(int(counts[0]), "photo")
        problem = f"{data}: none of its {found} has a label" if counts[0] else f"{data} holds no photos"
        raise DataError(
            problem,
            "Labels are a .cls, .json or .txt beside each photo of a tar, its folder, or a column of a Parquet file: "
            "`label_column` names the key or the column.",
        )
    if len(there) > 1:
        words = listed([f"{int(counts[KINDS.index(kind)]):,} from {_WORDS[kind]}" for kind in there])
        raise DataError(
            f"{data}: the labels of its photos are from different places ({words})",
            "`label_column` says which: the name of a key, or cls, or txt.",
        )
    return there[0]


def _named_classes(shards: Sequence[Shard], found: Listing, data: str) -> tuple[list[Shard], list[str]]:
    """Numbers of classes by the list beside the shards, if there is one. Names stay what they are."""
    labels = {label for one in shards for label in one.rows.label_names}
    if not all(label.isdigit() for label in labels):
        return list(shards), []
    beside = found.find(CLASS_LISTS)
    if beside is None:
        return list(shards), [
            f"classes are numbers without names; a {CLASS_LISTS[0]} beside the shards would name them"
        ]
    if beside.size > LARGEST_LIST:
        raise DataError(f"{beside.path} has {beside.size:,} bytes, too many for a list of classes")
    text = found.store.read(beside.path, 0, beside.size).decode("utf-8", "backslashreplace")
    names = [clean_label(line) for line in text.splitlines() if line.strip()]
    if lacking := sorted((label for label in labels if int(label) >= len(names)), key=int):
        raise DataError(
            f"{data}: class {lacking[0]} has no name: {beside.name} has {plural(len(names), 'line')}",
            "It needs one for each class, from 0 on.",
        )
    if len(set(names)) < len(names):
        raise DataError(f"{beside.path} names one class twice", "Each line is the name of a class of its own.")
    named = [
        replace(one, rows=replace(one.rows, label_names=tuple(names[int(n)] for n in one.rows.label_names)))
        for one in shards
    ]
    return named, [f"classes are named by {beside.name}"]


def _refuse_captions(shards: Sequence[Shard], data: str) -> None:
    texts = {label for one in shards for label in one.rows.label_names}
    photos = sum(int((one.rows.labels >= 0).sum()) for one in shards)
    if len(texts) > max(20, CAPTIONS * photos):
        some = listed([quoted(text) for text in sorted(texts)], 2)
        raise DataError(
            f"{data}: its .txt files hold {len(texts):,} different texts ({some}): captions, not classes",
            "`label_column` names the key of the .json that holds the class.",
        )


def _with_splits(shards: Sequence[Shard]) -> tuple[list[Shard], list[str]]:
    """Photos without a split of their own get that of their shard's name. Where some names say none, those that surely
    do count, and the others are train; without such, no name counts.
    """
    bare = [one.file for one in shards if len(one.rows) and (one.rows.splits < 0).any()]
    saying = [file for file in bare if split_of_shard(file)]
    splits = {file.name: split_of_shard(file, sure=len(saying) < len(bare)) for file in bare}
    others = [name for name, split in splits.items() if split is None]
    if len(others) == len(bare):
        names = [f"{file.name} names a split and {others[0]} does not: no split is taken from names" for file in saying]
        return list(shards), names[:1]

    def given(one: Shard) -> Shard:
        if one.file.name not in splits:
            return one
        split = SPLITS.index(splits[one.file.name] or "train")
        return replace(
            one, rows=replace(one.rows, splits=np.where(one.rows.splits < 0, np.int8(split), one.rows.splits))
        )

    notes = [f"taken as train, as their names say no split: {listed(others)}"] if others else []
    return list(map(given, shards)), notes


def unique_names(shards: Sequence[Shard], data: str) -> list[Shard]:
    """Names that differ: where two shards use one, each photo's gets its shard's before it."""
    every = [name for one in shards for name in _names(one.rows)]
    if len(set(every)) == len(every):
        return list(shards)
    longer = [replace(one, rows=one.rows.renamed(_below(one))) for one in shards]
    every = [name for one in longer for name in _names(one.rows)]
    if len(set(every)) < len(every):
        seen: set[bytes] = set()
        twice = next(name for name in every if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DataError(f"{data} names two photos {twice.decode(errors='replace')}", "Give each a name of its own.")
    return longer


def _names(rows: Columns) -> list[bytes]:
    return [rows.name(i).encode(errors="surrogateescape") for i in range(len(rows))]


def _below(one: Shard) -> list[bytes]:
    prefix = os.path.splitext(one.file.name)[0].encode(errors="surrogateescape") + b"/"
    return [prefix + name for name in _names(one.rows)]


def without_label(shards: Sequence[Shard], root: Path) -> tuple[list[Shard], list[BadFile]]:
    """The shards without photos that have no label, which are named."""
    kept, bad = [], []
    for one in shards:
        lacking = np.flatnonzero(one.rows.labels < 0)
        bad += [BadFile(root / one.rows.name(int(i)), "no label") for i in lacking]
        kept.append(replace(one, rows=one.rows.take(np.flatnonzero(one.rows.labels >= 0))) if len(lacking) else one)
    return kept, bad
