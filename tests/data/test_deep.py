"""Photos of more than 8 bits: the range of a dataset, and the pixels by it, beside arithmetic on the arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import deep
from PIL import Image

from headstart.core.events import Events, Warned
from headstart.core.ranges import Ranges
from headstart.data.decode import decode
from headstart.data.deep import Extent, chosen
from headstart.data.images import read_photos
from headstart.data.loading import LoadedImages, find_photos, read

GREY = deep.picture()[..., 2].astype(np.float64)
"""0 to 255."""


def nodata(values: np.ndarray, rows: int, value: float) -> np.ndarray:
    values = values.copy()
    values[:rows] = value
    return values


def with_pixel(values: np.ndarray, value: float) -> np.ndarray:
    values = values.copy()
    values[0, 0] = value
    return values


KINDS: dict[str, tuple[np.ndarray, tuple[float, float] | None]] = {
    "8 in 16": (GREY.astype(np.uint16), (0, 255)),
    "10 in 16": ((GREY * 4).astype(np.uint16), (0, 1023)),
    "12 in 16": ((GREY * 16).astype(np.uint16), (0, 4095)),
    "14 in 16": ((GREY * 64).astype(np.uint16), (0, 16383)),
    "16": ((GREY * 257).astype(np.uint16), None),
    "thermal": ((28000 + GREY * 8).astype(np.uint16), (28000, 30040)),
    "thermal with a margin": (nodata((28000 + GREY * 8).astype(np.uint16), 4, 0), (28000 + 8 * GREY[4:].min(), 30040)),
    "12 bits, not measured": (nodata((GREY * 16).astype(np.uint16), 9, 65535), (0, 4095)),
    "12 bits, a dead pixel": (with_pixel((GREY * 16).astype(np.uint16), 65535), (0, 4095)),
    "int32": (GREY.astype(np.int32), (0, 255)),
    "tomography": ((GREY * 12 - 1024).astype(np.int32), (-1024, 2036)),
    "float of 8 bits": (GREY.astype(np.float32), (0, 255)),
    "fractions": ((GREY / 255).astype(np.float32), (0, 1)),
    "fractions and a bit": ((GREY / 250).astype(np.float32), (0, 1)),
    "around zero": ((GREY / 127.5 - 1).astype(np.float32), (-1, 1)),
    "infinite": (with_pixel((GREY / 255).astype(np.float32), np.inf), (0, 1)),
    "not a number": (with_pixel((GREY / 255).astype(np.float32), np.nan), (0, 1)),
    "float, not measured": (nodata(GREY.astype(np.float32), 5, -9999), (0, 255)),
    "float, huge where not measured": (nodata(GREY.astype(np.float32), 5, -3.4028235e38), (0, 255)),
}


class Heard(Events):
    def __init__(self) -> None:
        self.warnings: list[str] = []
        super().__init__(lambda event: self.warnings.append(str(event.text)) if isinstance(event, Warned) else None)


def dataset(root: Path, values: np.ndarray, suffix: str = "tif") -> LoadedImages:
    """Four photos of one kind, two classes, read as for training."""
    for i in range(4):
        path = root / "ab"[i % 2] / f"{i}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(values, i, axis=1)).save(path)
    events = Heard()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read(find_photos(str(root), events), 40, "bilinear", "fail", events)
    assert not events.warnings
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_is_read_by_the_range_of_its_values(tmp_path: Path, kind: str) -> None:
    values, wanted = KINDS[kind]
    photos = dataset(tmp_path, values)
    ranges = photos.pixels.ranges
    found = None if ranges is None else ranges.floats if values.dtype == np.float32 else ranges.integers
    assert found == (None if wanted is None else pytest.approx(wanted, abs=1e-6))
    low, high = wanted or (0, 65535)
    kept = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high)
    scaled = np.rint((kept - low) * 255 / (high - low)).clip(0, 255)
    for i, photo in enumerate(photos.manifest.photos):
        turned = np.roll(scaled, int(photo.path.stem), axis=1)
        np.testing.assert_array_equal(photos.pixels.row(i), np.repeat(turned[..., None], 3, axis=2))


@pytest.mark.parametrize("kind", ["8 in 16", "12 in 16", "int32", "float of 8 bits", "around zero"])
def test_the_picture_is_that_of_8_bits(tmp_path: Path, kind: str) -> None:
    photos = dataset(tmp_path, KINDS[kind][0])
    for i, photo in enumerate(photos.manifest.photos):
        turned = np.roll(GREY, int(photo.path.stem), axis=1)
        assert np.abs(photos.pixels.row(i)[..., 0] - turned).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("kind", ["png", "png with alpha", "grey png with alpha", "tiff", "big-endian tiff", "planes"])
def test_colour_keeps_its_low_bits(bits: int, kind: str) -> None:
    colours, step = deep.picture(), 2 ** (bits - 8)
    values = colours.astype(np.uint16) * step
    opaque = np.full((*values.shape[:2], 1), 65535, np.uint16)
    size, grey = (values.shape[1], values.shape[0]), kind.startswith("grey")
    content = {
        "png": lambda: deep.png(values, 2),
        "png with alpha": lambda: deep.png(np.concatenate([values, opaque], 2), 6),
        "grey png with alpha": lambda: deep.png(np.concatenate([values[..., :1], opaque], 2), 4),
        "tiff": lambda: deep.tiff([values.astype("<u2").tobytes()], size, 16, 3, 2),
        "big-endian tiff": lambda: deep.tiff([values.astype(">u2").tobytes()], size, 16, 3, 2, order=">"),
        "planes": lambda: deep.tiff(
            [values[..., c].astype("<u2").tobytes() for c in range(3)], size, 16, 3, 2, planes=True
        ),
    }[kind]()
    measured = decode(content, measure=True)
    assert measured.extent is not None
    assert (measured.extent.kind, measured.extent.low, measured.extent.high) == ("integers", 0, 255 * step)
    high_bytes = (values >> 8)[..., :1] if grey else values >> 8
    np.testing.assert_array_equal(measured.pixels, np.broadcast_to(high_bytes, values.shape))
    found = decode(content, ranges=chosen([measured.extent]))
    wanted = np.rint(values.astype(float) * 255 / (2**bits - 1))
    np.testing.assert_array_equal(found.pixels, np.broadcast_to(wanted[..., :1] if grey else wanted, values.shape))
    assert "16-bit" in found.notes


def test_white_is_zero_and_unsigned_32_bits_are_what_they_say() -> None:
    grey = deep.picture()[..., 0]
    size = (grey.shape[1], grey.shape[0])
    negative = deep.tiff([(65535 - grey.astype("<u2") * 257).tobytes()], size, 16, 1, 0)
    np.testing.assert_array_equal(decode(negative).pixels[..., 0], grey)
    large = deep.tiff([(grey.astype("<u4") * 16_843_009).tobytes()], size, 32, 1)
    np.testing.assert_array_equal(decode(large).pixels[..., 0], grey)
    signed = deep.tiff([(grey.astype("<i2") * 8 - 1000).tobytes()], size, 16, 1, form=2)
    assert decode(signed, measure=True).extent == Extent("integers", -1000, 1040, 52)


def test_the_value_that_a_file_names_as_no_data_does_not_count() -> None:
    values = nodata(GREY.astype(np.float32), 8, 300)
    image = Image.fromarray(values)
    content = deep.saved(image, "TIFF", tiffinfo={42113: "300"})
    assert decode(content, measure=True).extent == Extent(
        "floats", float(GREY[8:].min()), 255, len(np.unique(GREY[8:]))
    )


def test_masks_do_not_decide_for_pictures_but_for_themselves() -> None:
    full, mask = Extent("integers", 0, 4000, 900), Extent("integers", 65535, 65535, 1)
    assert chosen([full, mask]) == Ranges(integers=(0, 4095))
    assert chosen([Extent("integers", 0, 1, 2)]) == Ranges(integers=(0, 1))
    assert chosen([Extent("integers", 7, 7, 1)]) is None
    assert chosen([]) is None


def test_integers_and_floats_have_each_their_range(tmp_path: Path) -> None:
    found = chosen([Extent("integers", 3, 200, 99), Extent("floats", 0.1, 0.9, 99), Extent("integers", 0, 900, 99)])
    assert found == Ranges((0, 1023), (0, 1))


def test_a_range_has_its_own_rows_and_ordinary_photos_share_theirs(
    tmp_path: Path, draw_photo: Callable[..., Path]
) -> None:
    plain = [draw_photo(tmp_path / "plain.png", 0, np.random.default_rng(0))]
    (tmp_path / "deep.png").write_bytes(deep.saved((GREY * 16).astype(np.uint16), "PNG"))
    both = [*plain, tmp_path / "deep.png"]
    ordinary = read_photos(plain, 16)
    assert ordinary.ranges is None
    assert ordinary.extents == []
    dark, right = read_photos(both, 16), read_photos(both, 16, ranges=Ranges((0, 4095)))
    assert dark.key == ordinary.key != right.key
    assert right.row(1).max() > 200 > 20 > dark.row(1).max()
    assert read_photos(both, 16).extents == dark.extents  # from the cache
    for reading in (dark, right):
        reading.store = None
        assert np.array_equal(reading.row(1), decode(tmp_path / "deep.png", 16, ranges=reading.ranges).pixels)
    assert np.array_equal(right.take([1]).row(0), right.row(1))


def test_a_dataset_without_deep_photos_measures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.data.deep.Deep.extent", lambda _: pytest.fail("measured for nothing"))
    photos = dataset(tmp_path, deep.picture(), "png")
    assert photos.pixels.ranges is None


def test_what_stays_nearly_black_is_told(tmp_path: Path) -> None:
    for name, factor in (("bright", 257), ("dark", 4), ("dim", 8)):
        path = tmp_path / "ab"[name == "dim"] / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((GREY * factor).astype(np.uint16)).save(path)
    events = Heard()
    found = read(find_photos(str(tmp_path), events), 40, "bilinear", "fail", events)
    assert found.conversions["nearly black"] == 2
    assert any("2 photos are nearly black after reading" in words for words in events.warnings)
