"""Fingerprints of photos, cached by content: a thumbnail, and perceptual hashes of it and of its mirror image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from headstart.core import large_arrays
from headstart.core.ahead import ahead
from headstart.core.array_store import RowStore
from headstart.core.events import OnProgress
from headstart.data.images import DecodedImages, reader_threads

SIDE = 32
"""Of the thumbnail, px: pHash is computed from 32 x 32, and the photos of CIFAR have no more."""
BITS = 64
SHARD = 8192
CHUNK = 128
"""Photos per task of a thread: the transform of many costs little more than that of one."""
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
        thumbs = large_arrays.empty((len(members), *self.thumbs.shape[1:]), self.thumbs.dtype)
        self.thumbs.take(members, axis=0, out=thumbs, mode="clip")  # which alone writes to ``out`` without a copy
        return Fingerprints(self.hashes[members], thumbs, self.small[members], self.aspects[members])


def fingerprints(pixels: DecodedImages, progress: OnProgress | None = None) -> Fingerprints:
    """The fingerprints of readable photos, from the cache where it has them. Raises RunError."""
    store = store_of(pixels.key)
    digests = [str(digest) for digest in pixels.digests]
    missing = store.missing(digests)
    done, chunks = 0, [missing[i : i + CHUNK] for i in range(0, len(missing), CHUNK)]
    made = ahead(lambda chunk: rows_of([pixels.row(i) for i in chunk]), chunks, reader_threads(), 2 * reader_threads())
    for first in range(0, len(chunks), SHARD // CHUNK):
        with store.writing() as writer:
            for chunk in chunks[first : first + SHARD // CHUNK]:
                for i, row in zip(chunk, next(made), strict=True):
                    writer.add(digests[i], row)
                done += len(chunk)
                if progress is not None:
                    progress(done, len(missing))
    rows = store.gather(digests).reshape(len(digests), -1)
    bits = np.unpackbits(rows[:, : 2 * BITS // 8], axis=1).view(bool)
    small = np.array([min(size) < 2 * SIDE for size in pixels.sizes], dtype=bool)
    aspects = np.array([width / height for width, height in pixels.sizes], dtype=np.float32)
    return Fingerprints(bits.reshape(-1, 2, BITS), rows[:, 2 * BITS // 8 :].reshape(-1, SIDE, SIDE), small, aspects)


def store_of(key: str) -> RowStore:
    """The store of the fingerprints of photos that were read so (``DecodedImages.key``)."""
    return RowStore(f"fingerprints-v{FORMAT}-{key}", "uint8")


def rows_of(photos: Sequence[np.ndarray]) -> np.ndarray:
    """The fingerprints of photos uint8 [h, w, 3], as rows [N, 1040] of the store."""
    gray = [Image.fromarray(photo).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX) for photo in photos]
    thumbs = np.stack([np.asarray(picture) for picture in gray])
    both = np.stack([thumbs, thumbs[:, :, ::-1]], axis=1)
    bits = np.packbits(phash(both), axis=2).reshape(len(photos), -1)
    return np.concatenate([bits, thumbs.reshape(len(photos), -1)], axis=1)


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
            yield lambda digest, pixels, facts: writer.add(digest, rows_of([pixels])[0], facts)


def phash(thumbs: np.ndarray) -> np.ndarray:
    """The perceptual hash of thumbnails uint8 [..., 32, 32], as bool [..., 64]: their lowest 8 x 8 frequencies (DCT-II)
    that are above their median.

    Bit for bit that of ImageHash 4.3 (N. Krawetz 2011, "Looks Like It", hackerfactor.com), so scipy's transform is
    used: a product with a cosine matrix rounds differently, and the medians of flat pictures are zero.
    """
    from scipy.fft import dctn  # only where something is missing

    low = dctn(thumbs.astype(np.float64), axes=(-2, -1))[..., :8, :8]
    low = low.reshape(*low.shape[:-2], BITS)
    return np.asarray(low > np.median(low, axis=-1, keepdims=True))
