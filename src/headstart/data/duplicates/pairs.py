"""Find duplicates, exact and near.

Exact duplicates have the same bytes. Near-duplicates (encoded again, resized, mirrored, cropped a little, made
brighter) are looked for among each photo's nearest by perceptual hash and by features, and confirmed by their pixels:
see ``verify``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from headstart.data.duplicates.fingerprints import BITS, Fingerprints
from headstart.data.duplicates.verify import SAME, SAME_SMALL, alignment, too_plain
from headstart.data.stratify import linked

NEAREST = 5
"""Of each photo's nearest by each measure, so many are compared."""
HAMMING = 12
"""Bits of 64 in which the hashes of duplicates may differ; those of other photos differ in 32, give or take 4."""
COSINE = 0.75
"""Of features, from which photos are worth comparing; cropped duplicates have 0.8 and more."""
CHUNK = 1024


def exact_duplicates(digests: Sequence[str | None]) -> list[list[int]]:
    """Groups of two and more files with the same bytes."""
    places: dict[str, list[int]] = defaultdict(list)
    for i, digest in enumerate(digests):
        if digest is not None:
            places[digest].append(i)
    return [group for group in places.values() if len(group) > 1]


def near_duplicates(
    seen: Fingerprints, digests: Sequence[str | None], features: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of photos that are one picture in different bytes: (indices [P, 2], the lower first; similarity [P]).

    None are found where pictures are too plain to compare: see ``too_plain``.

    Args:
        seen: fingerprints of N photos.
        digests: of their bytes; of exact duplicates only the first is compared.
        features: [N, D]; without them cropped duplicates are mostly missed.
    """
    _, first = np.unique(np.array([str(d) for d in digests]), return_index=True)
    chosen = np.sort(first)
    if too_plain(seen.thumbs[chosen]):
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    candidates = nearest_pairs(seen.take(chosen), features[chosen] if features is not None else None)
    pairs = chosen[np.array(sorted(candidates), dtype=np.int64).reshape(-1, 2)]
    similarity = alignment(seen.thumbs, pairs)
    same = similarity >= np.where(seen.small[pairs].any(1), SAME_SMALL, SAME)
    return pairs[same], similarity[same]


def groups_of(count: int, pairs: np.ndarray) -> list[list[int]]:
    """Photos that are duplicates of each other, directly or by way of others, as groups of two and more."""
    members: dict[int, list[int]] = defaultdict(list)
    for i, unit in enumerate(linked(count, pairs.tolist())):
        members[unit].append(i)
    return [group for group in members.values() if len(group) > 1]


def nearest_pairs(seen: Fingerprints, features: np.ndarray | None) -> set[tuple[int, int]]:
    """Pairs (i < j) that are worth comparing: each photo's nearest by hash and by features [N, D]."""
    found = _nearest_hashes(seen.hashes)
    return found | _nearest_features(features) if features is not None else found


def _nearest_hashes(hashes: np.ndarray) -> set[tuple[int, int]]:
    """Pairs (i < j) within ``HAMMING`` bits, mirrored or not. Of bits as -1 and 1 the product gives the distance."""
    signs = torch.from_numpy(hashes.astype(np.float32) * 2 - 1)
    found: set[tuple[int, int]] = set()
    for start in range(0, len(signs), CHUNK):
        part = signs[start : start + CHUNK, 0]
        agree = torch.maximum(part @ signs[:, 0].T, part @ signs[:, 1].T)
        found |= _best_pairs(agree, start, BITS - 2 * HAMMING)
    return found


def _nearest_features(features: np.ndarray) -> set[tuple[int, int]]:
    """Pairs (i < j) of at least ``COSINE``."""
    rows = torch.nn.functional.normalize(torch.from_numpy(features))
    found: set[tuple[int, int]] = set()
    for start in range(0, len(rows), CHUNK):
        found |= _best_pairs(rows[start : start + CHUNK] @ rows.T, start, COSINE)
    return found


def _best_pairs(similarity: torch.Tensor, start: int, least: float) -> set[tuple[int, int]]:
    """Of rows ``start`` and following [B, N], each one's nearest others that reach ``least``, as pairs (i < j)."""
    rows = torch.arange(len(similarity))
    similarity[rows, rows + start] = -torch.inf
    values, others = similarity.topk(min(NEAREST, similarity.shape[1]), dim=1)
    near = torch.nonzero(values >= least)
    return {
        (min(i + start, j), max(i + start, j))
        for i, j in zip(near[:, 0].tolist(), others[near[:, 0], near[:, 1]].tolist(), strict=True)
    }
