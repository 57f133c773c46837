"""Decode almost any image file to RGB uint8, upright; ``BadPhoto`` says why one cannot be decoded.

This is the hot path and runs in threads: the work stays in Pillow's C code, which releases the GIL.
"""

from __future__ import annotations

import importlib
import io
import os
import struct
import threading
import warnings
import zlib
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from headstart.core.files import open_regular
from headstart.data.bounds import (
    COSTLY,
    EVERYTHING,
    MAX_PIXELS,
    BadPhoto,
    Bounds,
    check_before_open,
    check_header,
    read_file,
)
from headstart.data.filenames import content_kind
from headstart.data.schema import ImageRef
from headstart.errors import OptionError, did_you_mean

# Pillow's own limit (179 million) would refuse real phone photos; ours is checked before any pixel is decoded.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)
warnings.filterwarnings("ignore", module=r"PIL\..*")  # what is odd about a file is in its notes, or its problem
# Only formats of photos: Pillow would start a PostScript interpreter for an EPS file that is named .jpg.
_READERS = ("Jpeg", "Mpo", "Png", "WebP", "Gif", "Bmp", "Tiff", "Ppm", "Avif", "Jpeg2K", "Qoi", "Pcx")
for _reader in _READERS:
    with suppress(ImportError):  # some builds of Pillow lack some
        importlib.import_module(f"PIL.{_reader}ImagePlugin")
_FORMATS = tuple(f for f in Image.OPEN if f in {*map(str.upper, _READERS), "DIB", "JPEG2000"})
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "MPO": (".jpg", ".jpeg", ".mpo"), "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff"), "BMP": (".bmp", ".dib"), "WEBP": (".webp",), "GIF": (".gif",), "AVIF": (".avif",),
}  # fmt: skip
_ONE_AT_A_TIME = threading.Lock()
"""Held while a picture of more than ``COSTLY`` bytes is decoded: with one per core they would fill the memory."""
_FILTERS = {filter.name.lower(): filter for filter in Image.Resampling}
_TURN = Image.Transpose
_MIRRORED = (_TURN.FLIP_LEFT_RIGHT, _TURN.ROTATE_180, _TURN.FLIP_TOP_BOTTOM)
_UPRIGHT = dict(enumerate((*_MIRRORED, _TURN.TRANSPOSE, _TURN.ROTATE_270, _TURN.TRANSVERSE, _TURN.ROTATE_90), 2))
"""The transposition that makes a photo upright, by its EXIF orientation."""
# Pillow's readers raise these on damaged files.
_DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(RuntimeError, AssertionError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError),
)


@dataclass(frozen=True)
class Decoded:
    """``pixels``: uint8 [h, w, 3], C-contiguous and writable. ``width``, ``height``: of the original, upright, in px.
    ``notes``: the conversions ("grayscale", "EXIF-rotated", ...), empty for an ordinary photo. ``format``: as Pillow
    names it.
    """

    pixels: np.ndarray
    width: int
    height: int
    notes: tuple[str, ...] = ()
    format: str = ""


def decode(
    source: bytes | ImageRef,
    resize: int | None = None,
    interpolation: str = "bilinear",
    named: str | None = None,
    bounds: Bounds = EVERYTHING,
) -> Decoded:
    """Decode a photo, upright and in RGB; with ``resize``, its shorter side becomes exactly that many px.

    Resizing is antialiased and keeps the aspect ratio. The longer side is ``int(resize * long / short)`` px, as in
    torchvision's Resize; where that is more than ``2 * resize`` the central ``2 * resize`` px are kept: a centre crop
    needs no more, and a panorama would fill the memory. A JPEG at least twice as large as needed is decoded at a
    reduced scale. ``named`` is the file's name where ``source`` is bytes (for the note "PNG named .jpg"). A file
    beyond ``bounds`` is not decoded. Raises ``BadPhoto``.
    """
    if not isinstance(source, bytes):
        named = named or source.name
        source = read_file(source)
    image = _open(source, bounds)
    needed = check_header(image, source, resize, bounds)
    with _ONE_AT_A_TIME if needed > COSTLY else nullcontext():
        found = _decoded(image, resize, interpolation)
    return replace(found, notes=(*misnamed(found.format, named or ""), *found.notes))


def _decoded(image: Image.Image, resize: int | None, interpolation: str) -> Decoded:
    try:
        notes, kind = _frame_notes(image), image.format or ""
        turn, (width, height) = _upright(image)
        if resize:
            image.draft(None, (resize, resize))  # JPEG only; the result is never smaller than ``resize``
        image, color_notes = _to_rgb(image)
        if resize:
            image = _resized(image, resize, interpolation)
        if turn is not None:
            image = image.transpose(turn)
            notes.append("EXIF-rotated")
        pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
        return Decoded(pixels, width, height, (*notes, *color_notes), kind)
    except _DAMAGE as error:
        raise BadPhoto(_damage(error)) from error


def header_size(source: ImageRef) -> tuple[int, int] | None:
    """(width, height) in px, upright, from the file's header alone; None where it cannot be read."""
    try:
        opened = open_regular(source) if isinstance(source, Path) else source.open("rb")
        with opened as file, Image.open(file, formats=_FORMATS) as image:
            return _upright(image)[1]
    except _DAMAGE:
        return None


def _open(data: bytes, bounds: Bounds) -> Image.Image:
    """The image with its header read and no pixel decoded."""
    if not data:
        raise BadPhoto("empty file (0 bytes)")
    check_before_open(data, bounds)
    formats = [name for name in _FORMATS if bounds.formats is None or name in bounds.formats]
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise BadPhoto(
            f"decompression bomb: more than {2 * MAX_PIXELS / 1e6:.0f} million pixels by its header"
        ) from error
    except UnidentifiedImageError as error:
        kind = content_kind(data[:512])
        reason = f"damaged {kind} file" if kind in _FORMATS else f"not an image{f' ({kind} inside)' if kind else ''}"
        heic = "HEIC photo, which cannot be read here: export it as JPEG"
        raise BadPhoto(heic if kind == "HEIC" else reason) from error
    except _DAMAGE as error:
        raise BadPhoto(_damage(error)) from error


def _to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The image in RGB or, for grayscale, in L (cheaper to resize; becomes RGB at the end), and the conversions.

    Transparent pixels become white; an alpha channel that is opaque everywhere is dropped.
    """
    mode = image.mode
    stored = str([tile[3] for tile in getattr(image, "tile", ())])
    notes = ["16-bit"] if ";16" in stored or mode.startswith("I;16") else []
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _eight_bit(image, notes)
    if mode == "1":
        return image.convert("L"), ["black and white"]
    if mode in ("P", "PA"):
        notes = ["palette"]
    elif mode in ("L", "LA", "La"):
        notes.append("grayscale")
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
    paper = Image.new("RGB", image.size, "white")
    paper.paste(layered, mask=alpha)
    return paper, [*notes, "transparent: over white"]


def _eight_bit(image: Image.Image, notes: list[str]) -> tuple[Image.Image, list[str]]:
    """Deep grayscale to 8 bits by ONE fixed scale (65535 -> 255), so that photos stay comparable; Pillow clips at 255.

    32-bit integers and floats have no such scale: values up to 65535 are read as 16-bit, floats within [0, 1] as
    fractions, and all others are scaled by their range.
    """
    strips = range(0, image.height, max(1, 1_000_000 // image.width))

    def values(top: int) -> np.ndarray:
        return np.asarray(image.crop((0, top, image.width, min(image.height, top + strips.step))))

    image.load()
    low = float(min(np.nanmin(values(top)) for top in strips))
    high = float(max(np.nanmax(values(top)) for top in strips))
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high, notes = 0.0, 1.0, [*notes, "32-bit float"]
    elif low >= 0 and high <= 65535:
        low, high, notes = 0.0, 65535.0, ["16-bit"] if image.mode != "F" else ["32-bit float"]
    else:
        notes = [*notes, "32-bit: scaled by its own range"]
    scaled = np.empty((image.height, image.width), np.uint8)
    for top in strips:  # in float64 the whole picture would take eight times its size
        strip = (values(top).astype(np.float64) - low) * (255.0 / max(high - low, 1e-12))
        scaled[top : top + strips.step] = np.rint(np.nan_to_num(strip)).clip(0, 255)
    return Image.fromarray(scaled), [*notes, "grayscale"]


def _resized(image: Image.Image, resize: int, interpolation: str) -> Image.Image:
    """Shorter side ``resize`` px, longer side at most twice that (its centre); an image of that size is returned."""
    if interpolation not in _FILTERS:
        raise OptionError(
            f"no interpolation {interpolation!r}: there are {', '.join(_FILTERS)}",
            did_you_mean(interpolation, _FILTERS),
        )
    width, height = image.size
    short, long = min(width, height), max(width, height)
    kept = min(max(resize, int(resize * long / short)), 2 * resize)
    # The kept part of the longer side, in source px: all of it, or its centre for a panorama.
    span = long if int(resize * long / short) <= 2 * resize else kept * short / resize
    start = (long - span) / 2
    size = (kept, resize) if width >= height else (resize, kept)
    if size == image.size and span == long:
        return image
    box = (start, 0, start + span, height) if width >= height else (0, start, width, start + span)
    return image.resize(size, _FILTERS[interpolation], box=box)


def _upright(image: Image.Image) -> tuple[Image.Transpose | None, tuple[int, int]]:
    """The transposition by the EXIF orientation, and the size after it; unreadable EXIF is ignored."""
    turn = None
    if image.format in ("TIFF", "PNG") or (
        # Without parsing where there is no EXIF block, the common case.
        image.format in ("JPEG", "MPO", "WEBP", "AVIF") and {"exif", "xmp"} & image.info.keys()
    ):
        with suppress(*_DAMAGE):
            turn = _UPRIGHT.get(int(image.getexif().get(ExifTags.Base.Orientation, 1)))
    return turn, image.size if turn is None or turn in _MIRRORED else (image.height, image.width)


def misnamed(kind: str, name: str) -> tuple[str, ...]:
    """A note where a file's name has the suffix of another format than Pillow's ``kind``."""
    suffix = os.path.splitext(name)[1].lower()
    return (f"{kind} named {suffix}",) if suffix and suffix not in _SUFFIXES.get(kind, (suffix,)) else ()


def _frame_notes(image: Image.Image) -> list[str]:
    """A note on several frames, except those of an MPO: previews, or a stereo pair."""
    notes = []
    if image.format in ("GIF", "WEBP", "PNG", "AVIF", "TIFF"):
        with suppress(*_DAMAGE):
            if getattr(image, "is_animated", False):
                image.seek(0)
                notes.append("several pages: first page" if image.format == "TIFF" else "animated: first frame")
    return notes


def _damage(error: BaseException) -> str:
    words = str(error).lower()
    if isinstance(error, MemoryError):
        return "too large for the memory at hand"
    if "truncated" in words or "unexpected end" in words or isinstance(error, EOFError) or "premature" in words:
        return "truncated: the file ends before the picture does"
    return f"damaged: {str(error)[:120] or type(error).__name__}"
