"""Decode almost any image file to RGB uint8, upright; ``BadPhoto`` says in words why one cannot be.

This is the hot path and runs in threads: the work stays in Pillow's C code, which releases the interpreter lock.
"""

from __future__ import annotations

import importlib
import io
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from headstart.data.filenames import content_kind
from headstart.data.schema import ImageRef
from headstart.errors import DataError, OptionError, did_you_mean

MAX_PIXELS = 300_000_000
"""Above this many pixels by its header a file is taken for a decompression bomb (phones reach 200 million)."""
MIN_SIDE = 2
# Pillow's own limit (179 million) would refuse real phone photos; ours is checked before any pixel is decoded.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)
# Only formats that are photos: Pillow would start a PostScript interpreter for an EPS file that somebody named .jpg.
_READERS = ("Jpeg", "Mpo", "Png", "WebP", "Gif", "Bmp", "Tiff", "Ppm", "Avif", "Jpeg2K", "Ico", "Qoi", "Pcx")
for _reader in _READERS:
    with suppress(ImportError):  # not every build of Pillow brings each
        importlib.import_module(f"PIL.{_reader}ImagePlugin")
_FORMATS = tuple(f for f in Image.OPEN if f in {*map(str.upper, _READERS), "DIB", "JPEG2000"})
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
}
_FILTERS = {filter.name.lower(): filter for filter in Image.Resampling}
_MIRRORED = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM)
_TURNED = (
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
)  # fmt: skip
_UPRIGHT = dict(enumerate((*_MIRRORED, *_TURNED), 2))
"""What makes a photo upright, by its EXIF orientation."""
# What Pillow's readers have been seen to raise on damaged files.
_DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(RuntimeError, AssertionError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError),
)


class BadPhoto(DataError):  # noqa: N818 - it names the photo, as the user meets it
    """A file that no photo can be had from; ``reason`` is a short phrase, ready for a list of bad files."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason, hint)
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """``pixels``: uint8 [h, w, 3], C-contiguous and writable. ``width``, ``height``: of the original, upright, in px.

    ``notes``: what had to be done ("grayscale", "EXIF-rotated", ...), empty for an ordinary photo.
    """

    pixels: np.ndarray
    width: int
    height: int
    notes: tuple[str, ...] = ()


def decode(
    source: bytes | ImageRef,
    resize: int | None = None,
    interpolation: str = "bilinear",
    named: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Decoded:
    """Decode a photo, upright and in RGB; with ``resize``, its shorter side becomes exactly that many px.

    Resizing is antialiased and keeps the aspect. The longer side is ``int(resize * long / short)`` px, as
    torchvision's Resize has it, and where that is more than ``2 * resize`` the centre ``2 * resize`` px are kept: a
    centre crop needs no more, and a panorama would fill the memory. A JPEG at least twice as large as needed is
    decoded at a reduced scale. ``named`` is the file's name where ``source`` is bytes (for the note "PNG named
    .jpg"). A file of more than ``max_pixels`` by its header is not decoded. Raises ``BadPhoto``.
    """
    data, name = _read(source, named)
    image = _open(data, max_pixels)
    try:
        notes = [*_name_note(image, name), *_frame_note(image)]
        turn = _UPRIGHT.get(_orientation(image))
        width, height = image.size if turn is None or turn in _MIRRORED else image.size[::-1]
        if resize:
            image.draft(None, (resize, resize))  # JPEG only; the result is never smaller than asked for
        image, color_notes = _to_rgb(image)
        if resize:
            image = _resized(image, resize, _filter(interpolation))
        if turn is not None:
            image = image.transpose(turn)
            notes.append("EXIF-rotated")
        pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
        return Decoded(pixels, width, height, (*notes, *color_notes))
    except _DAMAGE as error:
        raise BadPhoto(_damage(error)) from error


def header_size(source: ImageRef) -> tuple[int, int] | None:
    """(width, height) in px, upright, from the file's header alone; None where there is none to read."""
    try:
        with source.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            turn = _UPRIGHT.get(_orientation(image))
            return image.size if turn is None or turn in _MIRRORED else (image.height, image.width)
    except _DAMAGE:
        return None


def _read(source: bytes | ImageRef, named: str | None) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        return source, named or ""
    try:
        with source.open("rb") as file:
            return file.read(), named or source.name
    except OSError as error:
        raise BadPhoto(f"cannot be read ({error.strerror or error})") from error


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """The image with its header read and no pixel decoded, its size within bounds."""
    if not data:
        raise BadPhoto("empty file (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise BadPhoto(
            f"decompression bomb: more than {2 * MAX_PIXELS / 1e6:.0f} million pixels by its header"
        ) from error
    except UnidentifiedImageError as error:
        raise BadPhoto(_not_an_image(data)) from error
    except _DAMAGE as error:
        raise BadPhoto(_damage(error)) from error
    width, height = image.size
    if max_pixels < width * height <= MAX_PIXELS:
        raise BadPhoto(f"too large: {width} x {height} px, above {max_pixels / 1e6:g} million pixels")
    if width * height > max_pixels:
        raise BadPhoto(f"decompression bomb: {width} x {height} px by its header, in a file of {len(data):,} bytes")
    if min(width, height) < MIN_SIDE:
        raise BadPhoto(f"too small: {width} x {height} px")
    return image


def _to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The image in RGB or, for grayscale, in L (cheaper to resize; becomes RGB at the end), and what had to be done."""
    stored = str([tile[3] for tile in getattr(image, "tile", ())])
    deep = ["16-bit"] if ";16" in stored or image.mode.startswith("I;16") else []
    if image.mode in ("RGB", "L"):
        image.load()
        return _over_white(image, [*deep, *["grayscale"] * (image.mode == "L")])
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bit(image, deep)
    if image.mode == "1":
        return image.convert("L"), ["black and white"]
    if image.mode in ("P", "PA"):
        return _over_white(image, ["palette"])
    if image.mode in ("LA", "La"):
        return _over_white(image, [*deep, "grayscale"])
    if image.mode in ("RGBA", "RGBa", "RGBX"):
        return _over_white(image, deep)
    return image.convert("RGB"), [image.mode]


def _over_white(image: Image.Image, notes: list[str]) -> tuple[Image.Image, list[str]]:
    """Transparent pixels as on white paper; an alpha channel that is opaque everywhere is just dropped."""
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image, notes
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return image.convert("RGB"), notes
    layered = image.convert("RGBA")
    alpha = layered.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return layered.convert("RGB"), notes
    paper = Image.new("RGB", image.size, "white")
    paper.paste(layered, mask=alpha)
    return paper, [*notes, "transparent: over white"]


def _eight_bit(image: Image.Image, notes: list[str]) -> tuple[Image.Image, list[str]]:
    """Deep grayscale to 8 bits by ONE fixed scale (65535 -> 255), so that photos stay comparable; Pillow itself would
    clip at 255.

    32-bit integers and floats have no such scale: up to 65535 they are read as 16-bit, floats within [0, 1] as
    fractions, all else by its range.
    """
    values = np.asarray(image).astype(np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high, notes = 0.0, 1.0, [*notes, "32-bit float"]
    elif low >= 0 and high <= 65535:
        low, high, notes = 0.0, 65535.0, ["16-bit"] if image.mode != "F" else ["32-bit float"]
    else:
        notes = [*notes, "32-bit: scaled by its own range"]
    scaled = np.nan_to_num((values - low) * (255.0 / max(high - low, 1e-12)))
    return Image.fromarray(np.rint(scaled).clip(0, 255).astype(np.uint8)), [*notes, "grayscale"]


def _resized(image: Image.Image, resize: int, resample: Image.Resampling) -> Image.Image:
    """Shorter side ``resize`` px, longer side at most twice that (its centre); no work where the size fits already."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    kept = min(max(resize, int(resize * long / short)), 2 * resize)
    # The part of the longer side that is kept, in source px: all of it, or its centre for a panorama.
    span = long if int(resize * long / short) <= 2 * resize else kept * short / resize
    start = (long - span) / 2
    size = (kept, resize) if width >= height else (resize, kept)
    if size == image.size and span == long:
        return image
    box = (start, 0, start + span, height) if width >= height else (0, start, width, start + span)
    return image.resize(size, resample, box=box)


def _filter(interpolation: str) -> Image.Resampling:
    if interpolation not in _FILTERS:
        raise OptionError(
            f"no interpolation {interpolation!r}: there are {', '.join(_FILTERS)}",
            did_you_mean(interpolation, _FILTERS),
        )
    return _FILTERS[interpolation]


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; an EXIF block that cannot be read counts as none (the pixels may still be good)."""
    if image.format in ("JPEG", "MPO", "WEBP", "AVIF") and not {"exif", "xmp"} & image.info.keys():
        return 1  # the common case, without the cost of parsing
    if image.format not in ("JPEG", "MPO", "WEBP", "AVIF", "TIFF", "PNG"):
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGE:
        return 1


def _name_note(image: Image.Image, name: str) -> list[str]:
    suffix = os.path.splitext(name)[1].lower()
    usual = _SUFFIXES.get(image.format or "", (suffix,))
    return [f"{image.format} named {suffix}"] if suffix and suffix not in usual else []


def _frame_note(image: Image.Image) -> list[str]:
    """An MPO holds previews or a stereo pair beside the photo and is left unsaid; the frames of the others are not."""
    if image.format not in ("GIF", "WEBP", "PNG", "AVIF", "TIFF"):
        return []
    try:
        several = bool(getattr(image, "is_animated", False))
        if several:
            image.seek(0)
    except _DAMAGE:
        return []
    if not several:
        return []
    return ["several pages: first page"] if image.format == "TIFF" else ["animated: first frame"]


def _not_an_image(data: bytes) -> str:
    kind = content_kind(data[:512])
    if kind == "HEIC":
        return "HEIC photo, which cannot be read here: export it as JPEG"
    return f"damaged {kind} file" if kind in _FORMATS else f"not an image{f' ({kind} inside)' if kind else ''}"


def _damage(error: BaseException) -> str:
    words = str(error).lower()
    if isinstance(error, MemoryError):
        return "too large for the memory at hand"
    if "truncated" in words or "unexpected end" in words or isinstance(error, EOFError) or "premature" in words:
        return "truncated: the file ends before the picture does"
    return f"damaged: {str(error)[:120] or type(error).__name__}"
