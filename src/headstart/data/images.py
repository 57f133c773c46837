"""Read, hash, decode and resize photos once; every later epoch and command maps the resized pixels from the cache.

Where they exceed the cache's limit, visitors compute what is wanted of the pixels while they are at hand; whoever needs
them later decodes again. Only speed depends on the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np
import PIL

from headstart.core.ahead import ahead
from headstart.core.array_store import RowStore, limit_bytes
from headstart.core.events import OnProgress
from headstart.core.ranges import Ranges
from headstart.data import readers
from headstart.data.bounds import BadPhoto, read_file
from headstart.data.chosen import chosen
from headstart.data.decode import decode, misnamed
from headstart.data.deep import Extent
from headstart.data.schema import ImageRef
from headstart.errors import DataError

T = TypeVar("T")
CRASHED = "cannot be decoded: its decoder crashed, or ran out of memory"
CHUNK = 32
"""Photos per task of a thread or process: large enough that the overhead of a task is negligible."""
SHARD = 4096
"""Photos per published shard: a killed process loses the reading of at most so many photos."""
FORMAT = 4
"""Increased when the same file gives other pixels than before, so that old rows are not used."""
READER = f"v{FORMAT}-pillow{PIL.__version__.partition('.')[0]}"
"""What pixels depend on beside the file, their size and filter: part of the key of all that is computed from pixels.
Decoders change between Pillow's major versions.
"""


def reader_threads() -> int:
    """Threads that decode, where processes do not pay (see ``readers``): Pillow releases Python's lock meanwhile."""
    return max(2, min(16, readers.cores()))


class ChangedPhoto(DataError):  # noqa: N818 - it names the photo, as the user meets it
    """A photo that was read, and now cannot be read again or has other content: no result would be of the photos that
    were found. Nothing that was saved is lost.
    """


@dataclass
class DecodedImages:
    """Resized photos, in the order given to ``read_photos``.

    ``digests[i]``: blake2b-128 hex of the file's bytes, None when unreadable; ``problems[i]``: why photo i cannot be
    used, or None; ``sizes[i]``: original (width, height) px; ``remarks[i]``: conversions ("grayscale", "EXIF-rotated",
    ...). ``ranges``: those that deep photos were read with; ``extents``: of the deep photos, where they were measured.
    """

    photos: Sequence[ImageRef]
    resize: int
    interpolation: str
    digests: list[str | None] = field(default_factory=list)
    problems: list[str | None] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    remarks: list[tuple[str, ...]] = field(default_factory=list)
    store: RowStore | None = None
    ranges: Ranges | None = None
    extents: list[Extent] = field(default_factory=list)

    @property
    def key(self) -> str:
        """How they were read, for the name of a store of what is computed from them."""
        return reading_key(self.resize, self.interpolation, self.ranges)

    def __len__(self) -> int:
        return len(self.photos)

    def row(self, i: int) -> np.ndarray:
        """Photo i as uint8 [h, w, 3] with min(h, w) = ``resize``. Raises ChangedPhoto."""
        digest = self.digests[i]
        kept = self.store.get(digest) if self.store is not None and digest is not None else None
        if kept is not None:
            return kept
        read = read_one(self.photos[i], (), self.resize, self.interpolation, True, self.ranges)
        if read.pixels is None or read.digest != digest:
            what = (
                f"was read before, and now {read.problem}" if read.digest is None else "has changed since it was read"
            )
            hint = "Put it back as it was, and start the same again: what was saved is used."
            raise ChangedPhoto(f"{where_is(self.photos[i])} {what}.", hint)
        return read.pixels

    def picture(self, i: int) -> np.ndarray:
        """Photo i for a page: as ``row``, but grey where it has changed or is gone, which must not cost the results."""
        try:
            return self.row(i)
        except ChangedPhoto:
            return np.full((self.resize, self.resize, 3), 128, np.uint8)

    def take(self, indices: Sequence[int]) -> DecodedImages:
        """The same store, restricted to some photos."""

        def some(values: Sequence[T]) -> list[T]:
            return [values[i] for i in indices]

        facts = (some(self.digests), some(self.problems), some(self.sizes), some(self.remarks))
        photos = chosen(self.photos, indices)
        return DecodedImages(photos, self.resize, self.interpolation, *facts, self.store, self.ranges)


@dataclass(frozen=True)
class PhotoRead:
    """One photo as read (see ``DecodedImages``); ``pixels`` is None where it is bad, in the store, or not requested.

    ``remarks``: those of the bytes, without what the file's name adds; ``format``: as Pillow names it.
    """

    digest: str | None
    problem: str | None = None
    width: int = 0
    height: int = 0
    remarks: tuple[str, ...] = ()
    pixels: np.ndarray | None = None
    format: str = ""
    extent: Extent | None = None


class Visitor(Protocol):
    """Computes something of each photo while it is read, where its pixels are not kept; ``store`` holds the results."""

    store: RowStore

    def __contains__(self, digest: object, /) -> bool:
        """Whether the cache has it already."""

    def facts(self, digest: str) -> Any:
        """What was stored about a photo that was visited; None where this visitor stores none of that."""

    def writing(self) -> AbstractContextManager[Callable[[str, np.ndarray, Any], None]]:
        """Takes (digest, pixels, facts) of photos; what was computed is in the cache when the block ends."""


def reading_key(resize: int, interpolation: str, ranges: Ranges | None = None) -> str:
    """How photos are read, for the name of a store of what is computed from them."""
    return f"{READER}-{resize}-{interpolation}{f'-{ranges.key}' if ranges else ''}"


class _Visited(Container[str]):
    """The photos that need not be decoded again: every visitor has seen them, and the first knows their facts."""

    def __init__(self, visitors: Sequence[Visitor]) -> None:
        self.visitors = visitors

    def __bool__(self) -> bool:
        """Whether there can be one."""
        return all(len(visitor.store) for visitor in self.visitors)

    def __contains__(self, digest: object) -> bool:
        return all(digest in visitor for visitor in self.visitors)


def full_size(photo: ImageRef, ranges: Ranges | None = None) -> np.ndarray:
    """A photo as uint8 [h, w, 3] at its own size. Raises DataError that names it."""
    try:
        return decode(photo, ranges=ranges).pixels
    except BadPhoto as bad:
        raise DataError(f"{where_is(photo)}: {bad.problem}.") from bad


def where_is(photo: ImageRef) -> str:
    """How a message names a photo: by its shard and name, or its path, where it has one."""
    return getattr(photo, "where", "") or str(getattr(photo, "path", photo))


def centre(row: np.ndarray, size: int) -> np.ndarray:
    """The central ``size`` x ``size`` px of a row (uint8 [h, w, 3])."""
    top, left = (row.shape[0] - size) // 2, (row.shape[1] - size) // 2
    return row[top : top + size, left : left + size]


def read_photos(
    photos: Sequence[ImageRef],
    resize: int,
    interpolation: str = "bilinear",
    *,
    ranges: Ranges | None = None,
    progress: OnProgress | None = None,
    visitors: Sequence[Visitor] = (),
) -> DecodedImages:
    """Read, hash, decode and resize photos with all cores, except those in the cache. Without ``ranges``, the values of
    deep photos are measured. ``visitors`` see the pixels of those that are not kept; the first of them keeps the facts.
    Raises RunError.
    """
    pixels = DecodedImages(
        photos if isinstance(photos, Sequence) else list(photos), resize, interpolation, ranges=ranges
    )
    store = RowStore(f"pixels-{pixels.key}", "uint8")
    estimate = len(photos) * resize * resize * 3 * 1.4  # photos are about 4:3
    pixels.store = store if estimate <= limit_bytes() * 0.8 else None
    visitors = [_Keeping(pixels.store)] if pixels.store is not None else visitors
    seen = _Visited(visitors) if visitors else ()
    reads = stream_photos(
        pixels.photos, resize, interpolation, seen, with_pixels=bool(visitors), ranges=ranges, measure=ranges is None
    )
    for _ in range(0, len(photos), SHARD):
        _add(pixels, islice(reads, SHARD), visitors, progress)
    return pixels


class _Keeping:
    """Keeps the pixels themselves."""

    def __init__(self, store: RowStore) -> None:
        self.store, self.facts = store, store.remark

    def __contains__(self, digest: object) -> bool:
        return str(digest) in self.store

    @contextmanager
    def writing(self) -> Iterator[Callable[[str, np.ndarray, Any], None]]:
        with self.store.writing() as writer:
            yield writer.add


def _add(
    pixels: DecodedImages, reads: Iterator[PhotoRead], visitors: Sequence[Visitor], progress: OnProgress | None
) -> None:
    """Add reads in order to ``pixels``, and show them to the visitors."""
    fresh: set[str] = set()
    facts: dict[str, Any]
    seen = _Visited(visitors)
    with ExitStack() as stack:
        writers = [(visitor, stack.enter_context(visitor.writing())) for visitor in visitors]
        for read in reads:
            known = visitors[0].facts(read.digest) if visitors and read.digest and read.digest in seen else None
            # Facts of the bytes alone: one row serves all files of that content, whatever their names. A problem is not
            # stored, since it may be one of this machine, such as too little memory.
            facts = known or {"size": [read.width, read.height], "remarks": list(read.remarks), "format": read.format}
            if read.extent is not None:
                facts["extent"] = list(read.extent)
            if "extent" in facts:
                pixels.extents.append(Extent(*facts["extent"]))
            name = pixels.photos[len(pixels.digests)].name
            pixels.digests.append(None if read.problem else read.digest)
            pixels.problems.append(read.problem)
            pixels.sizes.append((facts["size"][0], facts["size"][1]))
            pixels.remarks.append((*misnamed(facts["format"], name), *facts["remarks"]))
            new = read.digest if known is None and read.digest not in fresh else None
            if new and read.pixels is not None:
                for visitor, write in writers:
                    if new not in visitor:
                        write(new, read.pixels, facts)
                fresh.add(new)
            if progress is not None:
                progress(len(pixels.digests), len(pixels.photos))


def stream_photos(
    photos: Sequence[ImageRef],
    resize: int,
    interpolation: str = "bilinear",
    known: Container[str] = (),
    *,
    with_pixels: bool = True,
    ranges: Ranges | None = None,
    measure: bool = False,
) -> Iterator[PhotoRead]:
    """Read photos with all cores and yield them in order, a bounded number ahead; ``known`` photos are hashed only.

    ``with_pixels=False`` checks that photos can be decoded, and drops the pixels. ``ranges``, ``measure``: see
    ``decode``.
    """

    how: dict[str, Any] = {"resize": resize, "interpolation": interpolation, "with_pixels": with_pixels}
    how |= {"ranges": ranges, "measure": measure}
    chunks = (photos[i : i + CHUNK] for i in range(0, len(photos), CHUNK))

    def read_chunk(chunk: Sequence[ImageRef]) -> list[PhotoRead]:
        return [read_one(photo, known, **how) for photo in chunk]

    if not known and readers.pays(photos):
        found = readers.read_by_processes(chunks, how, PhotoRead, read_chunk, PhotoRead(None, CRASHED))
    else:
        found = ahead(read_chunk, chunks, reader_threads(), 3 * reader_threads())
    for reads in found:
        yield from reads


def read_one(
    photo: ImageRef, known: Container[str], resize: int, interpolation: str, with_pixels: bool,
    ranges: Ranges | None = None, measure: bool = False,
) -> PhotoRead:  # fmt: skip
    """One photo; where its digest is ``known``, that alone."""
    try:
        content = read_file(photo)
    except BadPhoto as bad:
        return PhotoRead(None, bad.problem)
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    if digest in known:
        return PhotoRead(digest)
    try:
        found = decode(content, resize, interpolation, ranges=ranges, measure=measure)
    except BadPhoto as bad:
        return PhotoRead(digest, bad.problem)
    kept = found.pixels if with_pixels else None
    notes = tuple(found.notes)
    return PhotoRead(digest, None, found.width, found.height, notes, kept, found.format, found.extent)
