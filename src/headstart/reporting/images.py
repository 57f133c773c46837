"""Images for pages: thumbnails, confusion matrices and saliency overlays as ``data:`` URLs."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

STRENGTH = 0.55
"""Opacity of a saliency map where it is highest."""
# Mid-tones that stand out from a light and from a dark page: an image cannot follow the page's scheme, but alpha can.
_RIGHT, _WRONG = (47, 111, 219), (217, 83, 46)


def thumbnail(photo: np.ndarray, side: int = 128) -> str:
    """``photo`` (uint8 [h, w, 3]) as a base64 JPEG, scaled down to a longer side of ``side`` px at most, never up; one
    of 128 px takes about 5 kB.
    """
    picture = Image.fromarray(np.ascontiguousarray(photo, dtype=np.uint8))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _data_url(picture, "jpeg", quality=82, optimize=True)


def heat_map(confusion: list[list[int]]) -> str:
    """The confusion matrix as a PNG of one pixel per cell: blue on the diagonal, red beside it. Opacity is the square
    root of the share of the row, so that one error in a hundred can still be seen.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pixels = np.empty((*counts.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(np.eye(len(counts), dtype=bool)[..., None], _RIGHT, _WRONG)
    pixels[..., 3] = np.round(255 * np.sqrt(share))
    return _data_url(Image.fromarray(pixels), "png", optimize=True)


def _data_url(picture: Image.Image, kind: str, **options: Any) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(_encoded(picture, kind, **options)).decode('ascii')}"


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def overlay(photo: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A photo uint8 [S, S, 3] with a map [S, S] laid over: faded where it is low, warm where it is high."""
    from matplotlib import colormaps

    colour = colormaps["inferno"](heat)[..., :3] * 255
    alpha = STRENGTH * heat[..., None]
    faded = 0.35 * photo.mean(2, keepdims=True) + 0.65 * photo
    return np.asarray(np.clip((1 - alpha) * faded + alpha * colour, 0, 255), np.uint8)


def png(picture: np.ndarray) -> bytes:
    """A picture uint8 [H, W, 3] as a PNG."""
    return _encoded(Image.fromarray(picture), "png", compress_level=3)
