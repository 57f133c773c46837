"""The perceptual hash is ImageHash's, so that fingerprints in caches stay valid."""

from __future__ import annotations

import numpy as np

from headstart.data.duplicates.fingerprints import phash

IMAGEHASH_4_3_2 = [
    "94b0f736706c4ef0", "b636430f85cf34a3", "c5cfc95c899d6158", "e22b84b652c5b3ae", "c0e885799763b656",
    "e0c6823cff558559", "ea17fb4684e052e9", "8000000000000000", "8000000000000000", "8000000000000000",
    "0000000000000000",
]  # fmt: skip
"""str(imagehash.phash(Image.fromarray(thumb))) for each of ``thumbs()``."""


def thumbs() -> list[np.ndarray]:
    """Noise, smooth pictures, and flat ones, whose medians are zero: there rounding would decide."""
    noise = np.random.default_rng(7).integers(0, 256, (4, 32, 32)).astype(np.uint8)
    y, x = np.mgrid[:32, :32]
    smooth = [
        (128 + 60 * np.sin(x * a / 9 + k) + 60 * np.cos(y * b / 7)).astype(np.uint8)
        for k, (a, b) in enumerate(((1, 1), (2, 1), (1, 3)))
    ]
    ramp, stripes = (x * 8).astype(np.uint8), (x // 4 % 2 * 255).astype(np.uint8)
    return [*noise, *smooth, ramp, stripes, np.full((32, 32), 77, np.uint8), np.zeros((32, 32), np.uint8)]


def test_the_hash_is_imagehashs_bit_for_bit() -> None:
    assert [np.packbits(phash(thumb)).tobytes().hex() for thumb in thumbs()] == IMAGEHASH_4_3_2
