"""``pack``: write labelled photos into shards, which every function reads in place. In: photos of any source. Out: tar
or Parquet files, with labels, splits, groups and names kept.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Unpack

from headstart.core.ahead import ahead
from headstart.core.arguments import typed
from headstart.core.events import Events, Listener
from headstart.core.formats import checked
from headstart.core.paths import Place, cache_dir
from headstart.core.text import joined, plural
from headstart.data.bounds import BadPhoto, read_file
from headstart.data.filenames import natural_key, shown
from headstart.data.images import reader_threads
from headstart.data.loading import find_photos
from headstart.data.schema import SPLITS, BadFile, Manifest, Photo, Split
from headstart.data.sources.columns import StoredPhoto
from headstart.data.sources.given import Data
from headstart.data.sources.unlabelled import tell_skipped
from headstart.errors import OptionError, option
from headstart.reporting.console import console_events
from headstart.training.config import SHARD_MB, PackOptions, ShardFormat, TrainOptions
from headstart.workflows.packing.places import DAMAGED_STATE, STATE, Target, target_of
from headstart.workflows.packing.shard_files import WRITERS, Packed, check_package

CLASSES = "classes.txt"
CHUNK = 16
MB = 1_000_000
FORMAT = 1
_SHARD = re.compile(r"(train|val|test|photos)-\d{6,}\.(tar|parquet)")


@dataclass(frozen=True)
class Shard:
    """A finished shard: ``first``: the place of its first photo in the order of packing, ``next``: that after its last;
    ``left_out``: places within whose files could not be read.
    """

    file: str
    first: int
    next: int
    photos: int
    bytes: int
    left_out: tuple[int, ...] = ()


@dataclass(frozen=True)
class State:
    """What pack.json holds: ``digest``: of what is packed, and how."""

    digest: str
    shards: tuple[Shard, ...] = ()
    finished: bool = False
    format: int = FORMAT


@dataclass(frozen=True)
class PackedSet:
    """Shards that were written: ``bad``: photos that could not be read, and why not in them."""

    out: str
    format: str
    shards: tuple[Shard, ...]
    classes: tuple[str, ...]
    bad: tuple[BadFile, ...] = ()

    @property
    def photos(self) -> int:
        """Photos in all shards."""
        return sum(one.photos for one in self.shards)

    @property
    def text(self) -> str:
        """The result as lines."""
        size = sum(one.bytes for one in self.shards) / 1e6
        what = f"{plural(self.photos, 'photo')} of {plural(len(self.classes), 'class', 'classes')}"
        left = [f"{plural(len(self.bad), 'photo')} left out: the files cannot be read"] if self.bad else []
        return joined([f"{what} in {plural(len(self.shards), 'shard')}, {size:,.1f} MB: {self.out}", *left])

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "out": self.out, "format": self.format, "photos": self.photos, "classes": list(self.classes),
            "shards": [{"file": s.file, "photos": s.photos, "bytes": s.bytes} for s in self.shards],
            "bad": [{"path": str(b.path), "reason": b.reason} for b in self.bad],
        }  # fmt: skip


@typed
def pack(
    data: Data,
    out: Place,
    *,
    format: ShardFormat = "webdataset",
    shard_mb: int = SHARD_MB,
    overwrite: bool = False,
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[PackOptions],
) -> PackedSet:
    """Write labelled photos into shards, as they are: nothing is decoded. Each shard is there whole or not at all, and
    a call that was stopped goes on after the last whole one. Training on the shards gives the splits and weights that
    training on ``data`` gives.

    Args:
        data: as for ``train``.
        out: a new folder, here or in an object store (``s3://bucket/photos``).
        format: tar files as WebDataset has them, or Parquet with Hugging Face's features.
        shard_mb: about how large a shard becomes, in MB.
        overwrite: replace the shards of other photos in ``out``.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: see ``headstart.training.config.PackOptions``: how the photos are read.

    Returns:
        The shards, and the photos whose files could not be read.

    Raises:
        DataError: no photos there. OptionError: a place with other files, a package that is missing. RunError: a disk
        that is full. DownloadError: an object store that does not answer.
    """
    if shard_mb < 1:
        raise OptionError(f"{option('shard_mb', shard_mb)} must be at least 1.", option="shard_mb")
    check_package(format)
    asked = TrainOptions.gather(data, None, options, "pack")
    target = target_of(str(out))
    with console_events(quiet, listener) as events:
        manifest = find_photos(asked.data, events, False, asked.read_options)
        tell_skipped(manifest, events)
        order = _in_order(manifest)
        digest = _digest(manifest, order, format, shard_mb)
        state = _begun(target, digest, overwrite)
        if state.finished:
            events.message(f"{target.shown} holds these photos already.")
        return _Packing(manifest, order, target, format, shard_mb, events).run(state)


def _in_order(manifest: Manifest) -> list[tuple[Split | None, int]]:
    """(split, place in the manifest) of every photo: a split after the other."""
    splits: tuple[Split | None, ...] = (*SPLITS, None)
    members: dict[Split | None, list[int]] = {split: [] for split in splits}
    for i, photo in enumerate(manifest.photos):
        members[photo.split].append(i)
    return [(split, i) for split, own in members.items() for i in own]


def _digest(manifest: Manifest, order: Sequence[tuple[Split | None, int]], form: str, shard_mb: int) -> str:
    """A digest of what is packed, by names, labels and the files' times of change, and of how."""
    found = hashlib.blake2b(f"{FORMAT} {form} {shard_mb} {manifest.several}".encode(), digest_size=16)
    cache = f"{cache_dir()}{os.sep}"
    for _, i in order:
        photo = manifest.photos[i]
        text = repr((shown(photo.path, manifest.root), photo.label, photo.split, photo.group, *_stamp(photo, cache)))
        found.update(text.encode(errors="surrogateescape"))
    return found.hexdigest()


def _stamp(photo: Photo, cache: str) -> tuple[int, ...]:
    """Numbers that differ where the photo's bytes do; folders in the cache are named by what they hold, and made again
    with other times.
    """
    if isinstance(photo, StoredPhoto):
        return photo.at, photo.size
    try:
        facts = os.stat(photo.path)
    except OSError:
        return ()
    return (facts.st_size,) if str(photo.path).startswith(cache) else (facts.st_size, facts.st_mtime_ns)


def _begun(target: Target, digest: str, overwrite: bool) -> State:
    """What was done before. Raises OptionError where the place holds something else."""
    held = target.state()
    state = State(digest) if held is None else checked(f"{target.shown}/{STATE}", held, State, FORMAT, DAMAGED_STATE)
    if held is not None and state.digest == digest:
        whole = []
        for one in state.shards:  # one that is gone or cut off, and all after it, are written again
            if target.size(one.file) != one.bytes:
                break
            whole.append(one)
        state = replace(state, shards=tuple(whole), finished=state.finished and len(whole) == len(state.shards))
        if not state.finished:
            target.delete(_shard_names(target) - {one.file for one in whole})
        return state
    there = target.names()
    if there and not (overwrite and held is not None):
        what = (
            "shards of other photos, of photos that have changed since, or in another form"
            if held is not None
            else "files"
        )
        hint = "Choose another name, or use `overwrite=True`." if held is not None else "Choose another name."
        raise OptionError(f"{target.shown} holds {what}.", hint, option="out")
    if held is not None:
        target.delete([*_shard_names(target), CLASSES, STATE])
    return State(digest)


def _shard_names(target: Target) -> set[str]:
    """The files there that have the name of a shard: one that was written when the packing stopped is in no state."""
    return {name for name in target.names() if _SHARD.fullmatch(name)}


class _Packing:
    """Writes the shards that are missing."""

    def __init__(
        self, manifest: Manifest, order: list[tuple[Split | None, int]], target: Target, form: str, shard_mb: int,
        events: Events,
    ) -> None:  # fmt: skip
        self.manifest, self.order, self.target, self.form = manifest, order, target, form
        self.limit, self.events = shard_mb * MB, events
        labels = {label for photo in manifest.photos for label in manifest.labels_of(photo)}
        self.classes = tuple(sorted(labels, key=natural_key))
        self.reasons: dict[int, str] = {}
        self.ends = {split: place + 1 for place, (split, _) in enumerate(order)}

    def run(self, state: State) -> PackedSet:
        if not state.finished:
            if not self.target.state():
                self.target.save(asdict(state))
            for shard in self._shards(state.shards):
                state = replace(state, shards=(*state.shards, shard))
                self.target.save(asdict(state))
            with self.target.writing(CLASSES) as file:
                file.write_text("".join(f"{label}\n" for label in self.classes), encoding="utf-8")
            state = replace(state, finished=True)
            self.target.save(asdict(state))
        return PackedSet(self.target.shown, self.form, state.shards, self.classes, self._bad(state))

    def _shards(self, done: Sequence[Shard]) -> Iterator[Shard]:
        place = done[-1].next if done else 0
        numbers: dict[Split | None, int] = {}
        for one in done:
            split = self.order[one.first][0]
            numbers[split] = numbers.get(split, 0) + 1
        while place < len(self.order):
            split = self.order[place][0]
            name = f"{split or 'photos'}-{numbers.get(split, 0):06d}{WRITERS[self.form].suffix}"
            numbers[split] = numbers.get(split, 0) + 1
            shard = self._write(name, place, split)
            place = shard.next
            yield shard

    def _write(self, name: str, first: int, split: Split | None) -> Shard:
        """One shard of one split, from a place on until it is full."""
        size, photos, bad, end = 0, 0, [], first
        with self.target.writing(name) as temporary:
            writer = WRITERS[self.form](temporary, self.classes, self.manifest.several)
            try:
                for place, photo, content in self._read(first, split):
                    end = place + 1
                    self.events.progress("packing photos", end, len(self.order))
                    if isinstance(content, BadPhoto):
                        bad.append(place)
                        self.reasons[place] = content.problem
                        continue
                    writer.add(self._packed(place, photo, content))
                    photos, size = photos + 1, size + len(content)
                    if size >= self.limit:
                        break
            finally:
                writer.close()
            written = temporary.stat().st_size
        return Shard(name, first, end, photos, written, tuple(bad))

    def _packed(self, place: int, photo: Photo, content: bytes) -> Packed:
        name = shown(photo.path, self.manifest.root).lstrip("/")
        return Packed(place, name, photo.label, photo.split, photo.group, content)

    def _read(self, first: int, split: Split | None) -> Iterator[tuple[int, Photo, bytes | BadPhoto]]:
        """Photos of a split with the bytes of their files, from a place on, a bounded number ahead."""

        def read(places: range) -> list[tuple[int, Photo, bytes | BadPhoto]]:
            return [(p, photo := self.manifest.photos[self.order[p][1]], _content(photo)) for p in places]

        last = self.ends[split]
        chunks = (range(i, min(i + CHUNK, last)) for i in range(first, last, CHUNK))
        for found in ahead(read, chunks, reader_threads(), reader_threads()):
            yield from found

    def _bad(self, state: State) -> tuple[BadFile, ...]:
        places = [place for one in state.shards for place in one.left_out]
        photos = self.manifest.photos
        return tuple(
            BadFile(photos[self.order[place][1]].path, self.reasons.get(place, "cannot be read")) for place in places
        )


def _content(photo: Photo) -> bytes | BadPhoto:
    try:
        return read_file(photo)
    except BadPhoto as bad:
        return bad
