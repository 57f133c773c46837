"""Verify near-duplicate candidates by normalised cross-correlation of high-pass thumbnails.

Photos of similar things have similar hashes and features; only duplicates have the same details in the same places. So
the photos of a pair are correlated, mirrored or not, one shrunk a little or not (the other may be a crop of it), in two
steps: roughly, on a quarter of the pixels, which rejects most pairs; then in the details alone, without the low
frequencies of light and colour that all skies over the sea share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F

from headstart.core.ahead import ahead
from headstart.data.images import reader_threads

ROUGHLY = 0.8
"""Correlation of 16 px thumbnails from which a pair is compared in detail: duplicates of all kinds have 0.9 and more,
and one in sixty pairs of other neighbours passes."""
SAME, SAME_SMALL = 0.7, 0.8
"""Correlation of details from which a pair is a duplicate; the second for pictures of hardly more pixels than a
thumbnail, which have few details: aeroplanes before a plain sky (docs/explanation/measured-check.md)."""
PLAIN = 0.3
"""Median correlation of details above which pictures are too plain to compare: photos of animals, dogs and CIFAR have
0.2, handwritten digits 0.4."""
ALIKE = 0.95
"""Correlation that only duplicates reach, even of plain pictures: such pairs are left out of the median."""
SAMPLED = 200
SCALES = (1.0, 0.9375, 0.875, 0.8125)
"""Sides of a crop, as fractions of those of the whole photo."""
BLUR = 2
"""Standard deviation, px of the thumbnail, of the blur that is subtracted."""
CHUNK = 256


def alignment(thumbs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The correlation [P] of the details of pairs [P, 2] of thumbnails (uint8 [N, S, S]), from -1 to 1; 0 where they do
    not match roughly.
    """
    found = np.zeros(len(pairs), np.float32)
    with one_thread():
        rough = _correlations(thumbs, pairs, lambda part: F.avg_pool2d(part, 2))
        close = np.flatnonzero(rough >= ROUGHLY)
        found[close] = _correlations(thumbs, pairs[close], details)
    return found


def too_plain(thumbs: np.ndarray, seed: int = 0) -> bool:
    """Whether any two of these pictures (uint8 [N, S, S]) are so similar that similarity is no evidence of a duplicate:
    digits, icons, drawings on one background.
    """
    usual = typical_similarity(thumbs, seed)
    return usual is None or usual > PLAIN


def typical_similarity(thumbs: np.ndarray, seed: int = 0) -> float | None:
    """The median correlation of details of random pairs without duplicates; None where there is no pair, 0 where all
    are duplicates.
    """
    if len(thumbs) < 2:
        return None
    draw = np.random.default_rng(seed)
    first = draw.integers(0, len(thumbs), SAMPLED)
    chosen = np.concatenate([first, (first + draw.integers(1, len(thumbs), SAMPLED)) % len(thumbs)])
    pairs = np.arange(2 * SAMPLED).reshape(2, -1).T
    with one_thread():
        found = _correlations(thumbs[chosen], pairs, details)
    others = found[found < ALIKE]
    return float(np.median(others)) if len(others) else 0.0


@contextmanager
def one_thread() -> Iterator[None]:
    """Run each operation with one thread: these convolutions are so small that more would be slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def details(thumbs: torch.Tensor) -> torch.Tensor:
    """Thumbnails [N, S, S] less their Gaussian blur."""
    reach = torch.arange(-2 * BLUR, 2 * BLUR + 1, dtype=torch.float32)
    bell = torch.exp(-(reach**2) / (2 * BLUR**2))
    bell /= bell.sum()
    found = []
    for part in thumbs.split(CHUNK):  # convolutions copy their input, many times its size
        padded = F.pad(part[:, None], (2 * BLUR,) * 4, mode="replicate")
        found.append(part - F.conv2d(F.conv2d(padded, bell.view(1, 1, 1, -1)), bell.view(1, 1, -1, 1))[:, 0])
    return torch.cat(found)


def _correlations(thumbs: np.ndarray, pairs: np.ndarray, made_of: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    """The highest correlation of each pair [P], by what is ``made_of`` its thumbnails."""

    @torch.inference_mode()  # of each thread
    def best(chunk: np.ndarray) -> np.ndarray:
        images = made_of(torch.from_numpy(thumbs[chunk.T.ravel()]).float())
        return np.asarray(_best(images[: len(chunk)], images[len(chunk) :]).numpy())

    chunks, threads = (pairs[first : first + CHUNK] for first in range(0, len(pairs), CHUNK)), reader_threads()
    return np.concatenate([np.zeros(0, np.float32), *ahead(best, chunks, threads, 2 * threads)])


def _best(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The highest correlation [P] of ``a`` and ``b`` [P, S, S]: either one within the other, mirrored or not."""
    best = torch.full((len(a),), -1.0)
    steps = range(len(SCALES))
    scales = [(SCALES[h], SCALES[w]) for h in steps for w in steps if abs(h - w) <= 1]  # crops about keep the aspect
    for whole, part in ((a, b), (b, a)):
        for turned in (part, part.flip(2)):
            for high, wide in scales:
                size = (round(part.shape[1] * high), round(part.shape[2] * wide))
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
