"""Pictures for checks. In: nothing. Out: scenes that differ from each other as photos do, and copies of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

Scene = Callable[[int], Image.Image]
COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "again": lambda photo: photo,  # saved at another quality
    "resized": lambda photo: photo.resize((photo.width * 2 // 3, photo.height * 2 // 3)),
    "mirrored": ImageOps.mirror,
    "cropped": lambda photo: photo.crop((9, 6, photo.width - 4, photo.height - 8)),
    "brighter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.3),
}


def draw_scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Coarse and fine blotches of colour at random: pictures with as much in common as photos have."""
    draw = np.random.default_rng(seed)
    whole = np.zeros((size[1], size[0], 3))
    for cells, weight in ((5, 0.5), (14, 0.35), (40, 0.15)):
        blotches = Image.fromarray(draw.integers(0, 256, (cells * 3 // 4, cells, 3), dtype=np.uint8))
        whole += weight * np.asarray(blotches.resize(size, Image.Resampling.BICUBIC), float)
    return Image.fromarray(whole.astype(np.uint8))


@pytest.fixture(scope="session")
def scene() -> Scene:
    """``scene(seed)``: one picture per seed."""
    return draw_scene


@pytest.fixture
def scenes(tmp_path: Path) -> Callable[..., Path]:
    """``scenes(splits=("train", "test"), per_class=6)``: a folder of scenes in two classes, each picture once."""

    def make(splits: tuple[str, ...] = ("",), per_class: int = 6, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
        seed = 0
        for split in splits:
            for label in classes:
                folder = tmp_path / "photos" / split / label
                folder.mkdir(parents=True)
                for i in range(per_class):
                    draw_scene(seed).save(folder / f"{label}-{i}.png")
                    seed += 1
        return tmp_path / "photos"

    return make
