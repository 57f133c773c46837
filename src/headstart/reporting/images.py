"""Images for pages: thumbnails, confusion matrices and saliency overlays as ``data:`` URLs."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


THUMB = 128
"""Longer side of a thumbnail, px; a JPEG of this size takes about 5 kB."""
STRENGTH = 0.55
"""Opacity of a saliency map where it is highest."""
# Mid-tones that stand out from a light and from a dark page: an image cannot follow the page's scheme, but alpha can.
_RIGHT, _WRONG = (47, 111, 219), (217, 83, 46)


def thumbnail(photo: np.ndarray, side: int = THUMB) -> str:
    """``photo`` (uint8 [h, w, 3]) as a base64 JPEG, scaled down to a longer side of ``side`` px at most, never up."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(photo, dtype=np.uint8))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _address(picture, "jpeg", quality=82, optimize=True)


def heat_map(confusion: list[list[int]]) -> str:
    """The confusion matrix as a PNG of one pixel per cell: blue on the diagonal, red beside it, opacity by share of the
    row.

    Opacity is the square root of the share, so that one mistake in a hundred can still be seen.
    """
    from PIL import Image

    counts = np.asarray(confusion, dtype=np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pixels = np.empty((*counts.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(np.eye(len(counts), dtype=bool)[..., None], _RIGHT, _WRONG)
    pixels[..., 3] = np.round(255 * np.sqrt(share))
    return _address(Image.fromarray(pixels), "png", optimize=True)


def _address(picture: Image, kind: str, **options: int) -> str:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def overlay(photo: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A photo uint8 [S, S, 3] with a map [S, S] laid over: faded where it is low, warm where it is high."""
    from matplotlib import colormaps

    colour = colormaps["inferno"](heat)[..., :3] * 255
    alpha = STRENGTH * heat[..., None]
    faded = 0.35 * photo.mean(2, keepdims=True) + 0.65 * photo
    return np.asarray(np.clip((1 - alpha) * faded + alpha * colour, 0, 255), np.uint8)


def png(picture: np.ndarray) -> bytes:
    """A picture uint8 [H, W, 3] as a PNG."""
    from PIL import Image

    out = BytesIO()
    Image.fromarray(picture).save(out, "PNG", compress_level=3)
    return out.getvalue()
