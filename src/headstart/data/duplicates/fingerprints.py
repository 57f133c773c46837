"""What a photo looks like, in a kilobyte. In: pixels. Out: ``Fingerprints``: a perceptual hash, that of the mirror
image and a thumbnail of each photo, computed once and cached by content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from headstart.core.array_store import RowStore
from headstart.data.images import DecodedImages

SIDE = 32
"""Of the thumbnail, px: ImageHash computes its hash from as many, and the photos of CIFAR have no more."""
BITS = 64
SHARD = 8192
FORMAT = 1
Progress = Callable[[int, int], None]


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


def fingerprints(pixels: DecodedImages, progress: Progress | None = None) -> Fingerprints:
    """The fingerprints of photos that can all be read, from the cache where it has them. Raises RunError."""
    store = RowStore(f"fingerprints-v{FORMAT}-{pixels.resize}-{pixels.interpolation}", "uint8")
    digests = [str(digest) for digest in pixels.digests]
    first = {digest: i for i, digest in reversed(list(enumerate(digests))) if digest not in store}
    missing = sorted(first.values())
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
    import imagehash  # only where something is missing

    small = Image.fromarray(pixels.row(i)).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    mirror = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    bits = np.stack([imagehash.phash(image).hash.ravel() for image in (small, mirror)])
    return np.concatenate([np.packbits(bits), np.asarray(small).ravel()])
