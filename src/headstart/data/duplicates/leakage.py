"""Photos in two splits. In: photos as read. Out: which are copies of each other by their looks, and which of these the
data's own splits part.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from headstart.core.array_store import RowStore
from headstart.data.duplicates.fingerprints import fingerprints
from headstart.data.duplicates.pairs import exact_duplicates, near_duplicates
from headstart.data.filenames import shown
from headstart.data.images import DecodedImages
from headstart.data.schema import Manifest

FORMAT = 2


@dataclass(frozen=True)
class Leak:
    """Two photos, by their places in the manifest, that are one picture and stand in two splits; ``exact``: the same
    bytes.
    """

    a: int
    b: int
    exact: bool


def near_pairs(images: DecodedImages, name: str) -> np.ndarray:
    """Near copies by hash and pixels alone, as pairs of places in the manifest [P, 2]: the part of ``check`` that every
    training can afford. Found once for the same photos (``name``: their digest), then read from the cache.
    """
    store = RowStore(f"near-copies-v{FORMAT}-{images.resize}", "int64")
    members = np.array([i for i, digest in enumerate(images.digests) if digest is not None], dtype=np.int64)
    order = members[np.argsort([str(images.digests[i]) for i in members], kind="stable")]
    if name not in store:
        pixels = images.take(order.tolist())
        pairs, _ = near_duplicates(fingerprints(pixels), pixels.digests)
        with store.writing() as writer:
            writer.add(name, np.concatenate([[[0, 0]], pairs]))  # a row is never empty
    return np.asarray(order[store.row(name)[1:]])


def leaks(manifest: Manifest, digests: list[str | None], near: np.ndarray) -> list[Leak]:
    """Copies, exact and near, that the splits of the data part."""
    splits = [photo.split for photo in manifest.photos]
    found = [
        Leak(a, b, True) for group in exact_duplicates(digests) for a, b in pairwise(group) if splits[a] != splits[b]
    ]
    return found + [Leak(a, b, False) for a, b in near.tolist() if splits[a] != splits[b]]


def in_words(found: list[Leak], manifest: Manifest) -> str:
    """The first of them, for a message."""
    named = [f"{_name(manifest, leak.a)} = {_name(manifest, leak.b)}" for leak in found[:3]]
    return "; ".join(named) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")


def _name(manifest: Manifest, i: int) -> str:
    return f"{shown(manifest.photos[i].path, manifest.root)} ({manifest.photos[i].split})"
