"""A drawn set of many classes with few photos each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw_long_tail(
    folder: Path, classes: int = 1200, per_class: tuple[int, int] = (3, 6), small: int = 0, noise: float = 40
) -> Path:
    """Class folders ``class-0000`` … of ``per_class`` PNGs of 24 px: a colour and a pattern of the class, with noise.
    The first ``small`` classes have a single photo.
    """
    rng = np.random.default_rng(0)
    for c in range(classes):
        place = folder / f"class-{c:04d}"
        place.mkdir(parents=True)
        own = np.random.default_rng(c).integers(0, 256, (6, 6, 3))
        for i in range(1 if c < small else int(rng.integers(per_class[0], per_class[1] + 1))):
            pixels = np.kron(own, np.ones((4, 4, 1))) + rng.normal(0, noise, (24, 24, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(place / f"{i}.png")
    return folder
