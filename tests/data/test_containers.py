"""Files that are sound for every other reader: read, or named for what they are; and what only looks sound."""

from __future__ import annotations

import io
import struct

import numpy as np
import PIL
import pytest
from helpers import deep
from PIL import Image, PngImagePlugin

from headstart.data import decode as module
from headstart.data.bounds import BadPhoto
from headstart.data.decode import decode

RGB = deep.picture()
HEIGHT, WIDTH = RGB.shape[:2]
SIZE = (WIDTH, HEIGHT)
PNG = deep.saved(RGB, "PNG")
JPEG = deep.saved(np.random.default_rng(3).integers(0, 256, (96, 120, 3), dtype=np.uint8), "JPEG", quality=90)
"""Noise: every byte of it is pixels."""


def with_chunk(name: bytes, data: bytes) -> bytes:
    return PNG[:33] + deep.chunk(name, data) + PNG[33:]


def texts() -> dict[str, bytes]:
    long = PngImagePlugin.PngInfo()
    long.add_itxt("workflow", "{}" * 900_000, zip=True)
    many = PngImagePlugin.PngInfo()
    for i in range(70):
        many.add_text(f"k{i}", "x" * 1_000_000, zip=True)
    damaged = deep.chunk(b"tEXt", b"Comment\0hello")
    return {
        "iTXt": deep.saved(RGB, "PNG", pnginfo=long),
        "many": deep.saved(RGB, "PNG", pnginfo=many),
        "profile": deep.saved(RGB, "PNG", icc_profile=bytes(1_500_000)),
        "profile of unknown compression": with_chunk(b"iCCP", b"name\0\x05abc"),
        "checksum": PNG[:33] + damaged[:-4] + b"\1\2\3\4" + PNG[33:],
    }


@pytest.mark.parametrize("kind", texts())
def test_a_png_is_read_whatever_its_texts_and_profiles(kind: str) -> None:
    found = decode(texts()[kind])
    np.testing.assert_array_equal(found.pixels, RGB)
    assert found.notes == ("metadata left out",)


def test_the_orientation_is_kept_where_texts_are_left_out() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    long = PngImagePlugin.PngInfo()
    long.add_itxt("workflow", "{}" * 900_000, zip=True)
    content = deep.saved(RGB[::-1, ::-1], "PNG", pnginfo=long, exif=exif)
    np.testing.assert_array_equal(decode(content).pixels, RGB)


def test_damaged_pixels_of_a_png_stay_damaged() -> None:
    long = PngImagePlugin.PngInfo()
    long.add_itxt("workflow", "{}" * 900_000, zip=True)
    content = deep.saved(np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8), "PNG", pnginfo=long)
    data_at = content.index(b"IDAT") + 4
    for part in (content[:-200], content[:data_at] + b"\xff" * 4 + content[data_at + 4 :]):
        with pytest.raises(BadPhoto, match=r"truncated|damaged"):
            decode(part)


def test_a_jpeg_without_its_end_marker_is_whole_and_one_byte_less_is_not() -> None:
    whole = decode(JPEG).pixels
    for missing in (1, 2):
        found = decode(JPEG[:-missing])
        np.testing.assert_array_equal(found.pixels, whole)
        assert found.notes == ("no end marker",)
    for missing in (*range(4, 60), 200, len(JPEG) // 2):  # the third may be padding
        with pytest.raises(BadPhoto, match="truncated"):
            decode(JPEG[:-missing])


def test_a_progressive_jpeg_without_its_end_may_lack_scans_and_is_refused() -> None:
    whole = deep.saved(RGB, "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    for content in (whole[:-2], whole[:last]):
        with pytest.raises(BadPhoto, match="truncated"):
            decode(content)


FLOATS = RGB.astype("<f4") / 255
TIFFS = {
    "32-bit float, 3 channels": deep.tiff([FLOATS.tobytes()], SIZE, 32, 3, 2, 3),
    "32-bit float, 3 channels, in planes": deep.tiff(
        [FLOATS[..., c].tobytes() for c in range(3)], SIZE, 32, 3, 2, 3, planes=True
    ),
    "64-bit float, 1 channel": deep.tiff([FLOATS[..., 0].astype("<f8").tobytes()], SIZE, 64, 1, 1, 3),
    "16-bit float, 1 channel": deep.tiff([FLOATS[..., 0].astype("<f2").tobytes()], SIZE, 16, 1, 1, 3),
    "8-bit, 3 channels, JPEG XR compression": deep.tiff([RGB.tobytes()], SIZE, 8, 3, 2, compression=34934),
    "8-bit, 3 channels, LERC compression": deep.tiff([RGB.tobytes()], SIZE, 8, 3, 2, compression=34887),
    "12-bit, 1 channel, colour filter array": deep.tiff([RGB.tobytes()], SIZE, 12, 1, 32803),
}


@pytest.mark.parametrize("words", TIFFS)
def test_a_tiff_of_a_kind_that_is_not_read_is_named_by_it(words: str) -> None:
    with pytest.raises(BadPhoto) as bad:
        decode(TIFFS[words])
    assert bad.value.problem == f"a kind of TIFF that cannot be read here ({words})"


def test_a_damaged_tiff_is_damaged() -> None:
    content = deep.tiff([RGB.tobytes()], SIZE, 8, 3, 2)
    directory_at = struct.unpack_from("<I", content, 4)[0]
    for part in (content[: directory_at + 20], content[:6]):
        with pytest.raises(BadPhoto, match=r"damaged|truncated"):
            decode(part)


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiffs_of_other_colours_are_read(mode: str, compression: str) -> None:
    if (mode, compression) == ("YCbCr", "raw") and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip(f"Pillow {PIL.__version__} does not read its own files of this kind")
    image = Image.fromarray(RGB).convert(mode)
    found = decode(deep.saved(image, "TIFF", compression=compression)).pixels
    assert np.abs(found.astype(int) - np.asarray(image.convert("RGB")).astype(int)).max() <= 4


def test_sixteen_bit_planes_are_read_and_not_taken_for_bytes() -> None:
    planes = [(RGB[..., c].astype("<u2") * 257).tobytes() for c in range(3)]
    found = decode(deep.tiff(planes, SIZE, 16, 3, 2, planes=True))
    np.testing.assert_array_equal(found.pixels, RGB)


def test_the_thumbnail_of_a_raw_file_is_not_the_photo() -> None:
    thumbnail = deep.tiff([RGB.tobytes()], SIZE, 8, 3, 2, more={254: 1, 330: 8})
    with pytest.raises(BadPhoto, match="camera's raw file"):
        decode(thumbnail)
    with pytest.raises(BadPhoto, match="camera's raw file"):
        decode(b"II*\0\x10\0\0\0CR\2\0" + bytes(40))
    assert decode(deep.tiff([RGB.tobytes()], SIZE, 8, 3, 2, more={254: 0})).notes == ()


def test_a_format_that_this_pillow_lacks_is_said_to_be_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    Image.fromarray(RGB).save(out, "AVIF")
    monkeypatch.setattr(module, "_FORMATS", tuple(name for name in module._FORMATS if name != "AVIF"))
    with pytest.raises(BadPhoto, match=r"^AVIF photo, which Pillow [\d.]+ here cannot read: pip install -U"):
        decode(out.getvalue())
