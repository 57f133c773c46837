"""Photos in two splits. In: photos as read. Out: which are copies of each other by their looks, and which of these the
data's own splits part.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from headstart.cache import RowStore
from headstart.checking.copies import exact_copies, near_copies
from headstart.checking.fingerprints import fingerprints
from headstart.data.imageset import Listing
from headstart.data.names import shown

if TYPE_CHECKING:
    from headstart.prepare import Photos

FORMAT = 2


@dataclass(frozen=True)
class Leak:
    """Two photos, by their places in the listing, that are one picture and stand in two splits; ``exact``: the same
    bytes.
    """

    a: int
    b: int
    exact: bool


def near_pairs(photos: Photos) -> np.ndarray:
    """Near copies by hash and pixels alone, as pairs of places in the listing [P, 2]: the part of ``check`` that every
    training can afford. Found once for the same photos, then read from the cache.
    """
    store, name = RowStore(f"near-copies-v{FORMAT}-{photos.pixels.resize}", "int64"), photos.digest
    members = np.array([i for i, digest in enumerate(photos.pixels.digests) if digest is not None], dtype=np.int64)
    order = members[np.argsort([str(photos.pixels.digests[i]) for i in members], kind="stable")]
    if name not in store:
        pixels = photos.pixels.take(order.tolist())
        pairs, _ = near_copies(fingerprints(pixels), pixels.digests)
        with store.writing() as writer:
            writer.add(name, np.concatenate([[[0, 0]], pairs]))  # a row is never empty
    return order[store.row(name)[1:]]


def leaks(listing: Listing, digests: list[str | None], near: np.ndarray) -> list[Leak]:
    """Copies, exact and near, that the splits of the data part."""
    splits = [photo.split for photo in listing.photos]
    found = [Leak(a, b, True) for group in exact_copies(digests) for a, b in pairwise(group) if splits[a] != splits[b]]
    return found + [Leak(a, b, False) for a, b in near.tolist() if splits[a] != splits[b]]


def in_words(found: list[Leak], listing: Listing) -> str:
    """The first of them, for a message."""
    named = [f"{_name(listing, leak.a)} = {_name(listing, leak.b)}" for leak in found[:3]]
    return "; ".join(named) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")


def _name(listing: Listing, i: int) -> str:
    return f"{shown(listing.photos[i].path, listing.root)} ({listing.photos[i].split})"
