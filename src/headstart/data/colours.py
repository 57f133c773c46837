"""Pillow's modes to RGB: palettes, grey, transparency, and what has more than 8 bits."""

from __future__ import annotations

from PIL import Image

_SEEN = 0.01
"""Share of the picture that an alpha channel must show; below it, the channel is not in use."""
_SPREAD = 16
"""Grey levels between the darkest and the lightest pixel from which colours are a picture."""


def to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The image in RGB or, for grayscale, in L (cheaper to resize; becomes RGB at the end), and the conversions.

    Transparent pixels become white. An alpha channel that is opaque everywhere is dropped, and one that hides nearly
    all of a picture: some programs write it and do not use it.
    """
    mode = image.mode
    notes: list[str] = []
    if mode == "1":
        return image.convert("L"), ["black and white"]
    if mode in ("P", "PA"):
        notes = ["palette"]
    elif mode in ("L", "LA", "La"):
        notes = ["grayscale"]
    elif mode not in ("RGB", "RGBA", "RGBa", "RGBX"):
        return image.convert("RGB"), [mode]
    if mode in ("RGB", "L"):
        image.load()
    if mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return image if mode in ("RGB", "L") else image.convert("RGB"), notes
    layered = image if mode == "RGBA" else image.convert("RGBA")
    alpha = layered.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return layered.convert("RGB"), notes
    if _hides_a_picture(layered, alpha):
        return layered.convert("RGB"), [*notes, "transparent everywhere: taken as opaque"]
    paper = Image.new("RGB", image.size, "white")
    paper.paste(layered, mask=alpha)
    return paper, [*notes, "transparent: over white"]


def _hides_a_picture(layered: Image.Image, alpha: Image.Image) -> bool:
    shown = sum(level * count for level, count in enumerate(alpha.histogram()))
    if shown >= _SEEN * 255 * alpha.width * alpha.height:
        return False
    return any(high - low >= _SPREAD for low, high in layered.getextrema()[:3])  # type: ignore[misc]
