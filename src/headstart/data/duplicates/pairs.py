"""Find near-duplicates: photos that were encoded again, resized, mirrored, cropped a little or made brighter.

The candidates are each photo's nearest by perceptual hash and by features; ``verify`` compares their pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from headstart.data.duplicates.fingerprints import BITS, Fingerprints
from headstart.data.duplicates.verify import SAME, SAME_SMALL, alignment, too_plain
from headstart.data.stratify import groups, linked

NEAREST = 5
"""Nearest photos that are compared with each photo, by each measure."""
HAMMING = 12
"""Bits of 64 in which the hashes of duplicates may differ; those of other photos differ in 32 ± 4."""
COSINE = 0.75
"""Cosine similarity of features from which photos are compared; cropped duplicates have 0.8 and more."""
CHUNK = 1024


def near_duplicates(
    seen: Fingerprints, digests: Sequence[str | None], features: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of photos with the same picture in different bytes: (indices [P, 2], the lower first; similarity [P]).

    Only the first of several exact duplicates (by ``digests``) is compared. Without ``features`` [N, D] most cropped
    duplicates are missed. No pairs are found where pictures are too plain to compare: see ``too_plain``.
    """
    chosen = np.sort(np.unique(np.array([str(d) for d in digests]), return_index=True)[1])
    if too_plain(seen.thumbs[chosen]):
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    candidates = nearest_pairs(seen.take(chosen), features[chosen] if features is not None else None)
    pairs = chosen[np.array(sorted(candidates), dtype=np.int64).reshape(-1, 2)]
    similarity = alignment(seen.thumbs, pairs)
    same = similarity >= np.where(seen.small[pairs].any(1), SAME_SMALL, SAME)
    return pairs[same], similarity[same]


def groups_of(count: int, pairs: np.ndarray) -> list[list[int]]:
    """Groups of two or more photos that are duplicates, directly or through others."""
    return groups(linked(count, pairs.tolist()))


def nearest_pairs(seen: Fingerprints, features: np.ndarray | None) -> set[tuple[int, int]]:
    """Pairs (i < j) to compare: each photo's nearest by hash, mirrored or not, and by features [N, D]."""
    found: set[tuple[int, int]] = set()
    signs = torch.from_numpy(seen.hashes.astype(np.float32) * 2 - 1)  # products of -1 and 1 give the Hamming distance
    for start in range(0, len(signs), CHUNK):
        part = signs[start : start + CHUNK, 0]
        agree = torch.maximum(part @ signs[:, 0].T, part @ signs[:, 1].T)
        found |= _best_pairs(agree, start, BITS - 2 * HAMMING)
    if features is not None:
        rows = torch.nn.functional.normalize(torch.from_numpy(features))
        for start in range(0, len(rows), CHUNK):
            found |= _best_pairs(rows[start : start + CHUNK] @ rows.T, start, COSINE)
    return found


def _best_pairs(similarity: torch.Tensor, start: int, least: float) -> set[tuple[int, int]]:
    """The nearest others of rows ``start`` and following [B, N] that reach ``least``, as pairs (i < j)."""
    rows = torch.arange(len(similarity))
    similarity[rows, rows + start] = -torch.inf
    values, others = similarity.topk(min(NEAREST, similarity.shape[1]), dim=1)
    near = torch.nonzero(values >= least)
    return {
        (min(i + start, j), max(i + start, j))
        for i, j in zip(near[:, 0].tolist(), others[near[:, 0], near[:, 1]].tolist(), strict=True)
    }
