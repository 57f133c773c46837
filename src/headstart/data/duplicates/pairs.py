"""Find near-duplicates (photos that were encoded again, resized, mirrored, cropped a little, made brighter, turned or
flipped), and train-test leakage: duplicates in different splits.

The candidates are each photo's nearest by perceptual hash and by features, whose pixels ``verify`` compares, and by the
spectra of ``turned``, which compares them at every angle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from headstart.core.array_store import RowStore
from headstart.core.text import listed
from headstart.data.duplicates.fingerprints import BITS, Fingerprints, fingerprints
from headstart.data.duplicates.neighbours import nearest_pairs
from headstart.data.duplicates.turned import spectra, turned_alignment
from headstart.data.duplicates.verify import SAME, SAME_SMALL, alignment, too_plain
from headstart.data.filenames import shown
from headstart.data.images import DecodedImages
from headstart.data.schema import Manifest
from headstart.data.stratify import groups, linked

HAMMING = 12
"""Bits of 64 in which the hashes of duplicates may differ; those of other photos differ in 32 ± 4."""
COSINE = 0.75
"""Cosine similarity of features from which photos are compared; cropped duplicates have 0.8 and more."""
AGREED = 0.7
"""Cosine similarity of features from which small photos need no more alike details than others: of pairs below it, most
are ships or aeroplanes before the same plain sea or sky (docs/explanation/measured-check.md)."""
SPECTRAL = 0.85
"""Cosine similarity of spectra from which photos are compared at every angle; turned copies have 0.9 and more, and of a
thousand other pairs one has 0.6."""
FEW = 50
"""Photos below which their mean spectrum says little; all are compared."""
TURNED, TURNED_SMALL = 0.72, 0.85
"""Correlation at the best turn from which a pair is a duplicate: of many turns, the best is high by chance."""
FORMAT = 3
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Leak:
    """Two photos (indices into the manifest) with the same picture in two splits; ``exact``: the same bytes."""

    a: int
    b: int
    exact: bool


def near_duplicates(
    seen: Fingerprints,
    digests: Sequence[str | None],
    features: np.ndarray | None = None,
    device: torch.device = CPU,
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of photos with the same picture in different bytes: (indices [P, 2], the lower first; similarity [P]).

    Only the first of several exact duplicates (by ``digests``) is compared. Without ``features`` [N, D] most cropped
    duplicates are missed. No pairs are found where pictures are too plain to compare: see ``too_plain``. ``device``:
    where each photo is compared with all others.
    """
    chosen = np.sort(np.unique(np.array([str(d) for d in digests]), return_index=True)[1])
    own = seen if len(chosen) == len(seen) else seen.take(chosen)
    if too_plain(own.thumbs):
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    rows = features[chosen] if features is not None else None
    upright = upright_pairs(own, rows, device)
    likeness = alignment(own.thumbs, upright)
    same = likeness >= SAME
    doubtful = np.flatnonzero(same & (likeness < SAME_SMALL) & own.small[upright].any(1))
    same[doubtful] = rows is not None and _cosines(rows, upright[doubtful]) >= AGREED
    pairs, similarity = upright[same], likeness[same]
    other = _without(turned_pairs(own, device), pairs, len(own))
    likeness = turned_alignment(own.thumbs, own.aspects, other)
    same = likeness >= np.where(own.small[other].any(1), TURNED_SMALL, TURNED)
    pairs, similarity = np.concatenate([pairs, other[same]]), np.concatenate([similarity, likeness[same]])
    order = np.lexsort(pairs.T[::-1])
    return chosen[pairs[order]], similarity[order]


def _cosines(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The cosine similarity [P] of the rows [N, D] of pairs [P, 2]."""
    one, other = (rows[side] / np.linalg.norm(rows[side], axis=1, keepdims=True) for side in pairs.T)
    return np.asarray((one * other).sum(1))


def _without(pairs: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """The pairs [P, 2] of ``count`` photos that are not among the known ones."""
    return pairs[~np.isin(pairs @ [count, 1], known @ [count, 1])]


def groups_of(count: int, pairs: np.ndarray) -> list[list[int]]:
    """Groups of two or more photos that are duplicates, directly or through others."""
    return groups(linked(count, pairs.tolist()))


def upright_pairs(seen: Fingerprints, features: np.ndarray | None, device: torch.device = CPU) -> np.ndarray:
    """Pairs (i < j) [P, 2] to compare: each photo's nearest by hash, mirrored or not, and by features [N, D]."""
    hashes = torch.from_numpy(seen.hashes).to(device)
    found = nearest_pairs(hashes[:, 0], 1 - 2 * HAMMING / BITS, mirrored=hashes[:, 1], form=_signs)
    if features is None:
        return found
    rows = torch.nn.functional.normalize(torch.from_numpy(features).to(device))
    return np.unique(np.concatenate([found, nearest_pairs(rows, COSINE)]), axis=0)


def _signs(hashes: torch.Tensor) -> torch.Tensor:
    """Rows of length one whose products give the Hamming distance of the hashes, bool [n, 64]."""
    return hashes.float().mul_(2).sub_(1).div_(BITS**0.5)


def turned_pairs(seen: Fingerprints, device: torch.device = CPU) -> np.ndarray:
    """Pairs (i < j) [P, 2] to compare at every angle: each photo's nearest by spectra."""
    rows = spectra(seen.thumbs, seen.aspects).to(device)
    return nearest_pairs(rows, SPECTRAL if len(rows) >= FEW else -1.0)


def near_pairs(images: DecodedImages, name: str, device: torch.device = CPU) -> np.ndarray:
    """Pairs of near-duplicates [P, 2], by index: found by hash and pixels alone, fast enough for every training, and
    cached for the same photos (``name``: their digest).
    """
    store = RowStore(f"near-copies-v{FORMAT}-{images.key}", "int64")
    members = np.array([i for i, digest in enumerate(images.digests) if digest is not None], dtype=np.int64)
    order = members[np.argsort([str(images.digests[i]) for i in members], kind="stable")]
    if store.missing([name]):
        pixels = images.take(order.tolist())
        pairs, _ = near_duplicates(fingerprints(pixels), pixels.digests, device=device)
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
