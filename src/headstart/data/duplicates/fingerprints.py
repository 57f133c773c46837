"""Fingerprints of photos: a perceptual hash, that of the mirror image and a thumbnail, computed once and cached by
content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from headstart.core.array_store import RowStore
from headstart.core.events import OnProgress
from headstart.data.images import DecodedImages

SIDE = 32
"""Of the thumbnail, px: pHash is computed from as many, and the photos of CIFAR have no more."""
BITS = 64
SHARD = 8192
FORMAT = 1


@dataclass(frozen=True)
class Fingerprints:
    """``hashes`` bool [N, 2, 64]: of the photo and of its mirror image; ``thumbs`` uint8 [N, 32, 32]: the whole photo,
    gray, squeezed into a square; ``small`` bool [N]: the photo itself has hardly more pixels than that.
    """

    hashes: np.ndarray
    thumbs: np.ndarray
    small: np.ndarray

    def __len__(self) -> int:
        return len(self.thumbs)

    def take(self, members: Sequence[int] | np.ndarray) -> Fingerprints:
        """Those of some photos."""
        return Fingerprints(self.hashes[members], self.thumbs[members], self.small[members])


def fingerprints(pixels: DecodedImages, progress: OnProgress | None = None) -> Fingerprints:
    """The fingerprints of photos that can all be read, from the cache where it has them. Raises RunError."""
    store = RowStore(f"fingerprints-v{FORMAT}-{pixels.resize}-{pixels.interpolation}", "uint8")
    digests = [str(digest) for digest in pixels.digests]
    missing = store.missing(digests)
    for start in range(0, len(missing), SHARD):
        with store.writing() as writer:
            for done, i in enumerate(missing[start : start + SHARD], start + 1):
                writer.add(digests[i], _row(pixels, i))  # a fifth of a millisecond: threads would only wait
                if progress is not None:
                    progress(done, len(missing))
    rows = store.gather(digests).reshape(len(digests), -1)
    bits = np.unpackbits(rows[:, : 2 * BITS // 8], axis=1).astype(bool)
    small = np.array([min(size) < 2 * SIDE for size in pixels.sizes], dtype=bool)
    return Fingerprints(bits.reshape(-1, 2, BITS), rows[:, 2 * BITS // 8 :].reshape(-1, SIDE, SIDE), small)


def _row(pixels: DecodedImages, i: int) -> np.ndarray:
    """The two hashes, packed, and the thumbnail as one row of bytes."""
    small = Image.fromarray(pixels.row(i)).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    mirror = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    bits = np.stack([phash(np.asarray(image)) for image in (small, mirror)])
    return np.concatenate([np.packbits(bits), np.asarray(small).ravel()])


def phash(thumb: np.ndarray) -> np.ndarray:
    """The perceptual hash of a thumbnail uint8 [32, 32], as bool [64]: which of its lowest 8 x 8 frequencies (DCT-II)
    are above their median.

    Bit for bit that of ImageHash 4.3 (N. Krawetz 2011, "Looks Like It", hackerfactor.com), so scipy's transform is
    used: a product with a cosine matrix rounds otherwise, and the medians of flat pictures are zero.
    """
    from scipy.fft import dctn  # only where something is missing

    low = dctn(thumb.astype(np.float64))[:8, :8]
    return np.asarray(low > np.median(low)).ravel()
