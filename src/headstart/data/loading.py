"""A dataset's images, found and decoded at one size."""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from headstart.core.events import Events
from headstart.core.text import first_lines, plural
from headstart.data.decode import NEARLY_BLACK, header_size
from headstart.data.deep import chosen
from headstart.data.duplicates.fingerprints import Fingerprinting
from headstart.data.duplicates.pairs import CPU, near_pairs
from headstart.data.filenames import shown
from headstart.data.images import DecodedImages, Visitor, read_photos, reading_key
from headstart.data.readable import by_cause, refuse_lost
from headstart.data.schema import AS_FOUND, BadFile, Manifest, Photo, ReadOptions
from headstart.data.sources.detect import scan
from headstart.data.stratify import linked
from headstart.errors import DataError


@dataclass(frozen=True)
class LoadedImages:
    """A manifest's photos, decoded before they are split: seeds and shots do not change them.

    ``bad``: photos that cannot be decoded; ``conversions``: photos converted while reading, by kind; ``device``: that
    near-duplicates are looked for on.
    """

    manifest: Manifest
    pixels: DecodedImages
    bad: tuple[BadFile, ...]
    conversions: dict[str, int]
    device: torch.device = CPU

    @property
    def digest(self) -> str:
        """A hex digest of contents, labels and given splits: equal for equal photos in any folder."""
        rows = (
            f"{d} {p.label} {p.split} {p.group}" for d, p in zip(self.pixels.digests, self.manifest.photos, strict=True)
        )
        return hashlib.blake2b("\n".join(sorted(rows)).encode(errors="surrogateescape"), digest_size=16).hexdigest()

    @cached_property
    def near(self) -> np.ndarray:
        """Pairs of near-duplicates [P, 2], by their indices in the manifest."""
        return near_pairs(self.pixels, self.digest, self.device)

    @property
    def alike(self) -> list[int]:
        """A number per photo of the manifest, the same for near-duplicates."""
        return linked(len(self.manifest.photos), self.near.tolist())


def find_photos(data: str, events: Events, for_training: bool = True, options: ReadOptions = AS_FOUND) -> Manifest:
    """The labelled photos of ``data`` (see ``scan``), downloaded if necessary. Raises DataError, DownloadError."""
    progress = partial(events.progress, f"fetching {data}")
    return scan(data, for_training=for_training, progress=progress, options=options)


def usual_side(manifest: Manifest, at_most: int = 200) -> int:
    """The median shorter side (px), from the headers of evenly spread photos; unreadable ones are skipped."""
    some = manifest.photos[:: max(1, len(manifest.photos) // at_most)]
    sides = [min(size) for size in map(header_size, some) if size and min(size) > 0]
    return int(statistics.median(sides)) if sides else 224


def read(
    manifest: Manifest, resize: int, interpolation: str, on_bad: str, events: Events, visitors: Sequence[Visitor] = ()
) -> LoadedImages:
    """Read every photo once, resized to a shorter side of ``resize`` px, and name those that cannot be used.

    ``on_bad``: "fail" raises DataError; "skip" warns; "defer" leaves the report to the caller. ``visitors``: see
    ``read_photos``; fingerprints are taken in any case.

    Raises:
        DataError: ``on_bad`` is "fail" and some photos cannot be used; most of a class, or none at all, can be read.
    """
    photos = manifest.photos
    pixels = _pixels(photos, resize, interpolation, events, visitors)
    bad = tuple(BadFile(photo.path, problem) for photo, problem in zip(photos, pixels.problems, strict=True) if problem)
    every = (*manifest.skipped, *bad)
    if every and on_bad == "fail":
        raise DataError(
            f"{plural(len(every), 'file')} cannot be used:", "Mend or remove them, or use `on_bad='skip'`.",
            lines=[f"{shown(b.path, manifest.root)}: {b.reason}" for b in every],
        )  # fmt: skip
    if on_bad != "defer":
        refuse_lost(manifest, bad)
    if every and on_bad != "defer":
        lines = first_lines(by_cause(every, manifest.root))
        events.warning(f"{plural(len(every), 'file is', 'files are')} left out:", lines)
    if len(bad) == len(photos):
        raise DataError(f"None of the {len(photos)} photos in {manifest.name} can be read.", "See the reasons above.")
    conversions = Counter(remark for remarks in pixels.remarks for remark in remarks)
    if black := conversions[NEARLY_BLACK]:
        events.warning(
            f"{plural(black, 'photo is', 'photos are')} nearly black after reading. If other programs show a picture,"
            " its values use a small part of their range: convert it to 8 bits."
        )
    return LoadedImages(manifest, pixels, bad, dict(conversions.most_common()))


def _pixels(
    photos: Sequence[Photo], resize: int, interpolation: str, events: Events, visitors: Sequence[Visitor]
) -> DecodedImages:
    """The photos read; deep ones a second time, by the ranges of all, where these are not the usual ones."""
    progress = partial(events.progress, "reading photos")
    visitors = (Fingerprinting(reading_key(resize, interpolation)), *visitors)
    pixels = read_photos(photos, resize, interpolation, progress=progress, visitors=visitors)
    ranges = chosen(pixels.extents)
    if ranges is None:
        return pixels
    told = [f"{low:g} is black and {high:g} white" for low, high in filter(None, ranges)]
    count = plural(len(pixels.extents), "photo has", "photos have")
    events.message(f"{count} more than 8 bits per channel: {'; of floats '.join(told)}, by the values of all of them.")
    return read_photos(photos, resize, interpolation, ranges=ranges, progress=progress)
