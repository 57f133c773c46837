"""Alpha channels: over white where they show a picture, ignored where nobody uses them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import deep
from PIL import Image

from headstart.data.decode import decode

RGB = deep.picture()
UNUSED = "transparent everywhere: taken as opaque"


def layered(alpha: np.ndarray, colours: np.ndarray = RGB) -> Image.Image:
    return Image.fromarray(np.dstack([colours, alpha.astype(np.uint8)]))


def plane(value: int) -> np.ndarray:
    return np.full(RGB.shape[:2], value)


ZERO_TO_ONE = np.arange(RGB[..., 0].size).reshape(RGB.shape[:2]) % 2
SPOT = plane(0)
SPOT[3:5, 3:6] = 255


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("alpha", [plane(0), plane(1), ZERO_TO_ONE, SPOT], ids=["zero", "one", "0 and 1", "a spot"])
def test_an_alpha_channel_that_hides_the_picture_is_not_in_use(kind: str, alpha: np.ndarray) -> None:
    how = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = decode(deep.saved(layered(alpha), kind, **how))
    np.testing.assert_array_equal(found.pixels, RGB)
    assert UNUSED in found.notes


def test_grey_and_deep_pictures_have_such_channels_too() -> None:
    grey = Image.fromarray(RGB[..., 0])
    grey.putalpha(0)
    np.testing.assert_array_equal(decode(deep.saved(grey, "PNG")).pixels[..., 1], RGB[..., 0])
    wide = np.dstack([RGB.astype(np.uint16) * 257, plane(0).astype(np.uint16)])
    np.testing.assert_array_equal(decode(deep.png(wide, 6)).pixels, RGB)


def test_an_alpha_channel_that_shows_something_is_used() -> None:
    half = plane(0)
    half[:, :26] = 255
    found = decode(deep.saved(layered(half), "PNG"))
    np.testing.assert_array_equal(found.pixels[:, :26], RGB[:, :26])
    assert (found.pixels[:, 26:] == 255).all()
    assert found.notes == ("transparent: over white",)


def test_what_hides_nothing_stays_white() -> None:
    empty = decode(deep.saved(layered(plane(0), np.full_like(RGB, 90)), "PNG"))
    assert (empty.pixels == 255).all()
