"""Augmentation: fixed views and random crops of a photo, as uint8 pixels at the network's input size.

All random numbers of an epoch are drawn from (seed, epoch), so that batch b of epoch e is the same in a resumed run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from headstart.data.images import centre

Size = int | np.ndarray

LEVELS = ("none", "flip", "crop", "mild", "light", "strong")
"""none: the centre. flip: and its mirror image. crop: random crops, never mirrored (text, digits). mild: crops of
most of the photo and mirror. light: smaller crops and mirror. strong: smaller still, and colour.
"""


@dataclass(frozen=True)
class View:
    """One fixed view of every photo: number 0 is the plain centre, 1 its mirror image where mirroring is allowed,
    others are random crops that the photo's digest seeds (every second one mirrored)."""

    number: int = 0
    mirror: bool = True
    smallest: float = 0.5


@dataclass(frozen=True)
class Augmentation:
    """Random crops of at least ``smallest`` of the area, mirrored or not, and colour changes up to ``colour`` (0-1)."""

    smallest: float = 1.0
    mirror: bool = False
    colour: float = 0.0

    @classmethod
    def named(cls, level: str) -> Augmentation:
        return {
            "none": cls(),
            "flip": cls(mirror=True),
            "crop": cls(smallest=0.5),
            "mild": cls(smallest=0.6, mirror=True),
            "light": cls(smallest=0.35, mirror=True),
            "strong": cls(smallest=0.2, mirror=True, colour=0.3),
        }[level]


def render(row: np.ndarray, size: int, view: View, digest: str) -> np.ndarray:
    """One fixed view of a photo (uint8 [h, w, 3], shorter side >= size) as uint8 [size, size, 3]."""
    mirror = view.mirror and view.number % 2 == 1
    if view.number == 0 or (view.number == 1 and mirror):
        return centre(row, size)[:, ::-1] if mirror else centre(row, size)
    rng = np.random.Generator(np.random.PCG64([int(digest[:15], 16), view.number]))
    return cut_out(row, crop_box(row.shape[1], row.shape[0], view.smallest, rng.random(4)), size, mirror)


def crop_box(width: Size, height: Size, smallest: float, u: np.ndarray) -> np.ndarray:
    """A random crop (left, top, right, bottom) in px, [..., 4], from four uniform numbers [..., 4]: area in
    [smallest, 1], aspect ratio in [3/4, 4/3]; of one photo, or of many at once.

    Inception's random resized crop (Szegedy et al. 2015, "Going deeper with convolutions", section 6), without its
    rejection loop: a box that exceeds the photo is clipped.
    """
    area = width * height * (smallest + (1 - smallest) * u[..., 0])
    aspect = np.exp((2 * u[..., 1] - 1) * math.log(4 / 3))
    w, h = np.minimum(width, np.sqrt(area * aspect)), np.minimum(height, np.sqrt(area / aspect))
    left, top = (width - w) * u[..., 2], (height - h) * u[..., 3]
    return np.stack([left, top, left + w, top + h], axis=-1)


def cut_out(row: np.ndarray, box: np.ndarray, size: int, mirror: bool) -> np.ndarray:
    """The box [4] of a photo, resized to ``size`` x ``size`` (bilinear, antialiased), as uint8."""
    left, top, right, bottom = box.tolist()
    picture = Image.fromarray(row).resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    pixels = np.asarray(picture)
    return pixels[:, ::-1] if mirror else pixels


def draw_epoch(seed: int, epoch: int, photos: int) -> tuple[np.ndarray, np.ndarray]:
    """The order of an epoch (a permutation [N]) and eight uniform numbers for each of its places [N, 8]."""
    rng = np.random.Generator(np.random.PCG64([seed, epoch, 7]))
    return rng.permutation(photos), rng.random((photos, 8))


def training_picture(row: np.ndarray, size: int, how: Augmentation, u: np.ndarray) -> np.ndarray:
    """An augmented photo, from eight uniform numbers: uint8 [size, size, 3]."""
    mirror = how.mirror and u[4] < 0.5
    if how.smallest >= 1.0:
        plain = centre(row, size)
        return plain[:, ::-1] if mirror else plain
    box = crop_box(row.shape[1], row.shape[0], how.smallest, u[:4])
    pixels = cut_out(row, box, size, mirror)
    return recolour(pixels, how.colour, u[5:8]) if how.colour else pixels


def recolour(pixels: np.ndarray, strength: float, u: np.ndarray) -> np.ndarray:
    """Scale brightness, contrast and saturation, each by a factor in [1 - strength, 1 + strength]; uint8 in and out."""
    brightness, contrast, saturation = 1 + strength * (2 * u - 1)
    x = pixels.astype(np.float32) * brightness
    grey = x @ np.array([0.299, 0.587, 0.114], np.float32)
    x = grey[..., None] + (x - grey[..., None]) * saturation
    x = grey.mean() + (x - grey.mean()) * contrast
    return np.asarray(np.clip(x, 0, 255)).astype(np.uint8)
