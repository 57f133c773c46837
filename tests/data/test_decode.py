"""Decoding: pixels as they must be, whatever the file; a reason for each file that gives none."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin, PngImagePlugin

from headstart.data.bounds import BadPhoto
from headstart.data.decode import decode, header_size
from headstart.errors import OptionError


def encoded(image, format="PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def gradient(width, height) -> Image.Image:
    """A picture without symmetry: red grows to the right, green downwards."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 40)], axis=-1).astype(np.uint8)
    )


def test_every_bad_file_is_named_and_every_odd_one_decoded(tmp_path, bad_files):
    expected = bad_files(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == set(expected)
    for name, reason in expected.items():
        if reason is None:
            found = decode(tmp_path / name, 32)
            assert found.pixels.shape[2] == 3
            assert min(found.pixels.shape[:2]) == 32
            assert found.pixels.std() > 10, f"{name} came out flat"
        else:
            with pytest.raises(BadPhoto) as bad:
                decode(tmp_path / name, 32)
            assert reason in bad.value.problem, name


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("cmyk.jpg", "CMYK"),
        ("deep.png", "16-bit"),
        ("gray.jpg", "grayscale"),
        ("palette.png", "palette"),
        ("animated.gif", "animated: first frame"),
        ("rotated.jpg", "EXIF-rotated"),
        ("see-through.png", "transparent: over white"),
        ("really-a-png.jpg", "PNG named .jpg"),
    ],
)
def test_what_was_done_is_noted(tmp_path, bad_files, name, note):
    bad_files(tmp_path)
    assert note in decode(tmp_path / name).notes
    assert note in decode((tmp_path / name).read_bytes(), named=name).notes


def test_an_ordinary_photo_has_no_notes_and_exact_pixels(tmp_path):
    image = gradient(31, 20)
    found = decode(encoded(image), named="a.png")
    assert found.notes == ()
    assert (found.width, found.height) == (31, 20)
    np.testing.assert_array_equal(found.pixels, np.asarray(image))
    assert found.pixels.dtype == np.uint8
    assert found.pixels.flags["C_CONTIGUOUS"]
    assert found.pixels.flags["WRITEABLE"]


UNDO = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
"""The transpose that stores a picture so."""
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
CONTAINERS = {
    "png": ("PNG", {}), "webp": ("WEBP", {"lossless": True}), "tiff": ("TIFF", {}),
    "tiff, compressed": ("TIFF", {"compression": "tiff_lzw"}), "jpeg": ("JPEG", {"quality": 100, "subsampling": 0}),
    "avif": ("AVIF", {"quality": 100, "subsampling": "4:4:4"}), "mpo": ("MPO", {"quality": 100, "subsampling": 0}),
}  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", [None, 24])
@pytest.mark.parametrize("container", [*CONTAINERS, "jpeg, xmp", "webp, xmp", "avif, xmp", "png, xmp"])
def test_orientation_gives_the_upright_picture_once(tmp_path, orientation, resize, container):
    upright = gradient(60, 33)
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(UNDO[orientation]))
    kind, how = CONTAINERS[container.removesuffix(", xmp")]
    exif = Image.Exif()
    exif[0x0112] = orientation
    told: dict[str, object] = {"exif": exif}
    if container.endswith("xmp"):
        told = {"xmp": XMP % orientation}
    if container == "png, xmp":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", (XMP % orientation).decode())
        told = {"pnginfo": info}
    content = encoded(stored, kind, **told, **how)
    found = decode(content, resize)
    assert (found.width, found.height) == (60, 33)
    assert ("EXIF-rotated" in found.notes) == (orientation != 1)
    wanted = decode(encoded(upright, kind, **how), resize).pixels.astype(int)
    assert np.abs(found.pixels - wanted).max() <= (0 if kind in ("PNG", "WEBP", "TIFF") else 6)
    (tmp_path / "photo").write_bytes(content)
    assert header_size(tmp_path / "photo") == (60, 33)


def test_sixteen_bits_are_scaled_not_clipped():
    deep = np.array([[0, 257, 32896], [65535, 25700, 128]], np.uint16)
    found = decode(encoded(Image.fromarray(deep)))
    np.testing.assert_array_equal(found.pixels[..., 0], [[0, 1, 128], [255, 100, 0]])


def test_transparency_shows_white_and_an_opaque_alpha_changes_nothing():
    red = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (decode(encoded(red)).pixels == 255).all()
    opaque = decode(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 255))))
    assert opaque.pixels[0, 0].tolist() == [255, 0, 0]
    assert opaque.notes == ()


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((60, 33), (20, 36, 3)),
        ((33, 60), (36, 20, 3)),
        ((20, 30), (30, 20, 3)),
        ((10, 10), (20, 20, 3)),
        ((400, 20), (20, 40, 3)),
        ((20, 400), (40, 20, 3)),
        ((9000, 3), (20, 40, 3)),
    ],
)
def test_resize_sets_the_shorter_side_and_bounds_the_longer(size, shape):
    assert decode(encoded(gradient(*size)), 20).pixels.shape == shape


def test_a_panorama_keeps_its_centre():
    strip = np.zeros((20, 400, 3), np.uint8)
    strip[:, 180:220] = 255
    pixels = decode(encoded(Image.fromarray(strip)), 20).pixels
    np.testing.assert_array_equal(pixels, np.full((20, 40, 3), 255))


def test_no_resampling_where_the_size_fits():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 33, 3), dtype=np.uint8))
    np.testing.assert_array_equal(decode(encoded(image), 20).pixels, np.asarray(image))


@pytest.mark.parametrize(
    ("size", "orientation"), [((1000, 750), 1), ((993, 751), 6), ((1537, 1155), 1), ((1601, 401), 6), ((257, 193), 1)]
)
@pytest.mark.parametrize("resize", [16, 64, 96])
def test_a_large_jpeg_at_reduced_scale_is_the_full_decode(size, orientation, resize):
    """Stripes of every width, which show whatever is filtered or shifted otherwise."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    stripes = [100 + 60 * np.sin(x * (0.02 + 1.2 * x / width)), 100 + 60 * np.sin(y * 0.7), 100 + x * 50 / width]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.stack(stripes, axis=-1).astype(np.uint8))
    data = encoded(image, "JPEG", quality=95, exif=exif)
    reduced = decode(data, resize).pixels.astype(int)
    full = decode(encoded(Image.fromarray(decode(data).pixels), "BMP"), resize).pixels.astype(int)
    assert reduced.shape == full.shape
    assert np.abs(reduced - full).max() <= 7  # 31 without the margin that REDUCED_TO leaves, 10 with one of 2
    assert np.abs(reduced - full).mean() <= 1.5


def test_a_jpeg_is_decoded_at_a_reduced_scale_where_that_costs_nothing(monkeypatch):
    asked = []
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", lambda _, mode, size: asked.append(size))
    decode(encoded(gradient(800, 640), "JPEG"), 64)
    assert asked == [(3 * 64, 3 * 64)]


def test_the_original_size_is_told_also_at_reduced_scale():
    found = decode(encoded(gradient(800, 640), "JPEG"), 64)
    assert (found.width, found.height) == (800, 640)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "MPO"])
def test_usual_formats(format):
    image = gradient(40, 30)
    pixels = decode(encoded(image, format)).pixels.astype(int)
    assert np.abs(pixels - np.asarray(image)).mean() < 12


def test_deep_tiffs_are_told_apart_from_shallow_ones():
    fractions = Image.fromarray(np.array([[0.0, 0.5], [1.0, 0.25]], np.float32))
    assert decode(encoded(fractions, "TIFF")).pixels[..., 0].tolist() == [[0, 128], [255, 64]]
    counts = Image.fromarray(np.array([[-100, 0], [100, 410]], np.int32))
    found = decode(encoded(counts, "TIFF"))
    assert found.pixels[..., 0].tolist() == [[0, 50], [100, 255]]
    assert "32-bit: scaled by its own range" in found.notes


def test_ghostscript_is_never_started():
    with pytest.raises(BadPhoto, match="PostScript"):
        decode(encoded(gradient(8, 8), "EPS"), named="a.jpg")


def test_a_missing_file_and_an_unknown_interpolation(tmp_path):
    with pytest.raises(BadPhoto, match="cannot be read"):
        decode(tmp_path / "absent.jpg")
    with pytest.raises(OptionError, match="bicubic"):
        decode(encoded(gradient(8, 8)), 4, "bicubik")


def test_header_size_is_upright_and_none_for_what_is_no_photo(tmp_path, bad_files):
    bad_files(tmp_path)
    assert header_size(tmp_path / "rotated.jpg") == (48, 64)
    assert header_size(tmp_path / "ordinary.jpg") == (64, 48)
    assert header_size(tmp_path / "bomb.png") is None
    for name in ("text.jpg", "empty.jpg", "absent.jpg"):
        assert header_size(tmp_path / name) is None


@pytest.mark.parametrize("at", [4, 0.3, 0.9])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_png_whose_pixels_are_damaged_is_not_read_as_black(at, mode):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).convert(mode)
    content = bytearray(encoded(noise))
    start = content.index(b"IDAT") + 4
    place = start if at == 4 else start + int(at * (len(content) - start - 30))
    content[place : place + 8] = b"\xff" * 8
    with pytest.raises(BadPhoto, match="damaged"):
        decode(bytes(content), 32)
