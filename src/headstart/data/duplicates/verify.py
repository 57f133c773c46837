"""Verify near-duplicate candidates by normalised cross-correlation of high-pass thumbnails.

Photos of similar things have similar hashes and features; only duplicates have the same details in the same places. So
the two of a pair are correlated, mirrored or not, one shrunk a little or not (the other may be a crop of it), in two
steps: roughly, on a quarter of the pixels, which most pairs fail at once; then in the details alone, without the slow
changes of light and colour that every sky over every sea shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F

ROUGHLY = 0.8
"""Correlation of 16 px thumbnails from which a pair is compared in detail: duplicates of all kinds have 0.9 and more,
and one in sixty pairs of other neighbours passes."""
SAME, SAME_SMALL = 0.7, 0.8
"""Correlation of details from which a pair is one picture, and that for pictures of hardly more pixels than a
thumbnail, which have few details: aeroplanes before a plain sky (docs/guides/check.md)."""
PLAIN = 0.3
"""Correlation of details that half of all pairs reach from which pictures are too plain to compare: photos of animals,
dogs and CIFAR reach 0.2, handwritten digits 0.4."""
ALIKE = 0.95
"""Correlation that only duplicates have, even of plain pictures: such pairs do not count for ``PLAIN``."""
SAMPLED = 200
SCALES = (1.0, 0.9375, 0.875, 0.8125)
"""How much smaller one side of a crop may be than the photo that it is from."""
BLUR = 2
"""Standard deviation, px of the thumbnail, of the blur that is subtracted."""
CHUNK = 256


def alignment(thumbs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The correlation of the details of each pair [P], from -1 to 1; 0 where they do not even match roughly.

    Args:
        thumbs: uint8 [N, S, S].
        pairs: int [P, 2], indices into them.
    """
    small = torch.from_numpy(thumbs).float()
    found = np.zeros(len(pairs), np.float32)
    with _one_thread():
        rough = _correlations(F.avg_pool2d(small, 2), pairs)
        close = np.flatnonzero(rough >= ROUGHLY)
        found[close] = _correlations(_details(small), pairs[close])
    return found


def too_plain(thumbs: np.ndarray, seed: int = 0) -> bool:
    """Whether any two of these pictures have so much in common (digits, icons, drawings on one ground) that similarity
    is no evidence of a duplicate. ``thumbs``: uint8 [N, S, S].
    """
    usual = typical_similarity(thumbs, seed)
    return usual is None or usual > PLAIN


def typical_similarity(thumbs: np.ndarray, seed: int = 0) -> float | None:
    """The correlation of details that half of all pairs reach, leaving out pairs that only duplicates can be; None
    where there is no pair, 0 where all are duplicates.
    """
    if len(thumbs) < 2:
        return None
    draw = np.random.default_rng(seed)
    first = draw.integers(0, len(thumbs), SAMPLED)
    chosen = np.concatenate([first, (first + draw.integers(1, len(thumbs), SAMPLED)) % len(thumbs)])
    pairs = np.arange(2 * SAMPLED).reshape(2, -1).T
    with _one_thread():
        found = _correlations(_details(torch.from_numpy(thumbs[chosen]).float()), pairs)
    others = found[found < ALIKE]
    return float(np.median(others)) if len(others) else 0.0


@contextmanager
def _one_thread() -> Iterator[None]:
    """These convolutions are so small that threads wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _details(thumbs: torch.Tensor) -> torch.Tensor:
    """Thumbnails [N, S, S] less their Gaussian blur."""
    reach = torch.arange(-2 * BLUR, 2 * BLUR + 1, dtype=torch.float32)
    bell = torch.exp(-(reach**2) / (2 * BLUR**2))
    bell /= bell.sum()
    found = []
    for part in thumbs.split(CHUNK):  # convolutions copy their input, many times its size
        padded = F.pad(part[:, None], (2 * BLUR,) * 4, mode="replicate")
        found.append(part - F.conv2d(F.conv2d(padded, bell.view(1, 1, 1, -1)), bell.view(1, 1, -1, 1))[:, 0])
    return torch.cat(found)


@torch.inference_mode()
def _correlations(images: torch.Tensor, pairs: np.ndarray) -> np.ndarray:
    parts = [
        _best(images[pairs[first : first + CHUNK, 0]], images[pairs[first : first + CHUNK, 1]])
        for first in range(0, len(pairs), CHUNK)
    ]
    return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)


def _best(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The highest correlation [P] of ``a`` and ``b`` [P, S, S]: either one within the other, mirrored or not."""
    best = torch.full((len(a),), -1.0)
    steps = len(SCALES)
    sizes = [(h, w) for h in range(steps) for w in range(steps) if abs(h - w) <= 1]  # crops keep the aspect, about
    for whole, part in ((a, b), (b, a)):
        for turned in (part, part.flip(2)):
            for h, w in sizes:
                size = (round(part.shape[1] * SCALES[h]), round(part.shape[2] * SCALES[w]))
                best = torch.maximum(best, _slide(whole, turned, size))
    return best


def _slide(whole: torch.Tensor, part: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The highest normalised cross-correlation [P] of each ``part``, shrunk to ``size``, within its ``whole``."""
    shrunk = F.interpolate(part[:, None], size=size, mode="bilinear", antialias=True)
    shrunk = shrunk - shrunk.mean((2, 3), keepdim=True)
    shrunk = shrunk / shrunk.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-3)
    products = F.conv2d(whole[None], shrunk, groups=len(shrunk))[0]
    mean, square = F.avg_pool2d(whole[None], size, 1)[0], F.avg_pool2d(whole[None].square(), size, 1)[0]
    energy = (square - mean.square()).clamp_min(0.25) * (size[0] * size[1])  # a quarter: of a gray level; flat is flat
    return (products / energy.sqrt()).amax((1, 2))
