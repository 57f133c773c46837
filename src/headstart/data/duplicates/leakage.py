"""Train-test leakage: duplicates in different splits of the data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from headstart.core.array_store import RowStore
from headstart.core.text import listed
from headstart.data.duplicates.fingerprints import fingerprints
from headstart.data.duplicates.pairs import near_duplicates
from headstart.data.filenames import shown
from headstart.data.images import DecodedImages
from headstart.data.schema import Manifest
from headstart.data.stratify import groups

FORMAT = 2


@dataclass(frozen=True)
class Leak:
    """Two photos (indices into the manifest) with the same picture in two splits; ``exact``: the same bytes."""

    a: int
    b: int
    exact: bool


def near_pairs(images: DecodedImages, name: str) -> np.ndarray:
    """Pairs of near-duplicates [P, 2], by index: found by hash and pixels alone, fast enough for every training, and
    cached for the same photos (``name``: their digest).
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
    """Duplicates, exact and near, in different splits of the data."""
    splits = [photo.split for photo in manifest.photos]
    found = [Leak(a, b, True) for group in groups(digests) for a, b in pairwise(group) if splits[a] != splits[b]]
    return found + [Leak(a, b, False) for a, b in near.tolist() if splits[a] != splits[b]]


def in_words(found: list[Leak], manifest: Manifest) -> str:
    """The first few leaks, for a message."""
    names = [f"{shown(photo.path, manifest.root)} ({photo.split})" for photo in manifest.photos]
    return listed([f"{names[leak.a]} = {names[leak.b]}" for leak in found], 3, "; ")
