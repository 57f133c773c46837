"""Fingerprints of photos, cached by content: a thumbnail, and perceptual hashes of it and of its mirror image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from headstart.core.array_store import RowStore
from headstart.core.events import OnProgress
from headstart.data.images import DecodedImages

SIDE = 32
"""Of the thumbnail, px: pHash is computed from 32 x 32, and the photos of CIFAR have no more."""
BITS = 64
SHARD = 8192
FORMAT = 1


@dataclass(frozen=True)
class Fingerprints:
    """``hashes`` bool [N, 2, 64]: of the photo and of its mirror image; ``thumbs`` uint8 [N, 32, 32]: the whole photo,
    gray, resized to a square; ``small`` bool [N]: the photo itself has hardly more pixels than that; ``aspects`` [N]:
    its width over its height.
    """

    hashes: np.ndarray
    thumbs: np.ndarray
    small: np.ndarray
    aspects: np.ndarray

    def __len__(self) -> int:
        return len(self.thumbs)

    def take(self, members: Sequence[int] | np.ndarray) -> Fingerprints:
        """The fingerprints of some photos."""
        return Fingerprints(self.hashes[members], self.thumbs[members], self.small[members], self.aspects[members])


def fingerprints(pixels: DecodedImages, progress: OnProgress | None = None) -> Fingerprints:
    """The fingerprints of readable photos, from the cache where it has them. Raises RunError."""
    store = store_of(pixels.key)
    digests = [str(digest) for digest in pixels.digests]
    missing = store.missing(digests)
    for start in range(0, len(missing), SHARD):
        with store.writing() as writer:
            for done, i in enumerate(missing[start : start + SHARD], start + 1):  # 0.2 ms each: threads would be slower
                writer.add(digests[i], row_of(pixels.row(i)))
                if progress is not None:
                    progress(done, len(missing))
    rows = store.gather(digests).reshape(len(digests), -1)
    bits = np.unpackbits(rows[:, : 2 * BITS // 8], axis=1).astype(bool)
    small = np.array([min(size) < 2 * SIDE for size in pixels.sizes], dtype=bool)
    aspects = np.array([width / height for width, height in pixels.sizes], dtype=np.float32)
    return Fingerprints(bits.reshape(-1, 2, BITS), rows[:, 2 * BITS // 8 :].reshape(-1, SIDE, SIDE), small, aspects)


def store_of(key: str) -> RowStore:
    """The store of the fingerprints of photos that were read so (``DecodedImages.key``)."""
    return RowStore(f"fingerprints-v{FORMAT}-{key}", "uint8")


def row_of(pixels: np.ndarray) -> np.ndarray:
    """The fingerprint of one photo uint8 [h, w, 3], as a row of the store."""
    thumb = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    both = (thumb, thumb.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    bits = np.packbits([phash(np.asarray(image)) for image in both])
    return np.concatenate([bits, np.asarray(thumb).ravel()])


class Fingerprinting:
    """Takes the fingerprints of photos while they are read (see ``images.Visitor``), and keeps their facts."""

    def __init__(self, key: str) -> None:
        self.store = store_of(key)

    def __contains__(self, digest: object) -> bool:
        return str(digest) in self.store and self.store.remark(str(digest)) is not None

    def facts(self, digest: str) -> Any:
        return self.store.remark(digest)

    @contextmanager
    def writing(self) -> Iterator[Callable[[str, np.ndarray, Any], None]]:
        with self.store.writing() as writer:
            yield lambda digest, pixels, facts: writer.add(digest, row_of(pixels), facts)


def phash(thumb: np.ndarray) -> np.ndarray:
    """The perceptual hash of a thumbnail uint8 [32, 32], as bool [64]: its lowest 8 x 8 frequencies (DCT-II) that are
    above their median.

    Bit for bit that of ImageHash 4.3 (N. Krawetz 2011, "Looks Like It", hackerfactor.com), so scipy's transform is
    used: a product with a cosine matrix rounds differently, and the medians of flat pictures are zero.
    """
    from scipy.fft import dctn  # only where something is missing

    low = dctn(thumb.astype(np.float64))[:8, :8]
    return np.asarray(low > np.median(low)).ravel()
