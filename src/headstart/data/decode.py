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
import PIL
from PIL import ExifTags, Image, UnidentifiedImageError

from headstart.core.files import open_regular
from headstart.core.ranges import Ranges
from headstart.data.bounds import (
    COSTLY,
    EVERYTHING,
    MAX_PIXELS,
    REDUCED_TO,
    BadPhoto,
    Bounds,
    TooCostly,
    check_before_open,
    check_header,
    read_file,
)
from headstart.data.colours import to_rgb
from headstart.data.containers import check_tiff, mended, open_heif, tiff_reason
from headstart.data.deep import LOW_BYTES, Deep, Extent, has_low_bytes, is_deep_grey, raw_mode, read_as
from headstart.data.filenames import KIND_SUFFIXES, content_kind
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
    "HEIF": (".heic", ".heif", ".hif", ".heics", ".heifs"),
}  # fmt: skip
DARK = 15
NEARLY_BLACK = "nearly black"
"""The note of a photo, not a JPEG, with hardly a pixel above ``DARK``: its values may use a part of their range."""
_ONE_AT_A_TIME = threading.Lock()
"""Held while a picture of more than ``COSTLY`` bytes is decoded: with one per core they would fill the memory."""
if hasattr(os, "register_at_fork"):  # a child of a fork must not wait for a thread that it does not have
    os.register_at_fork(after_in_child=_ONE_AT_A_TIME._at_fork_reinit)  # type: ignore[attr-defined]
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
    names it. ``extent``: of a deep photo, where it was to be measured.
    """

    pixels: np.ndarray
    width: int
    height: int
    notes: tuple[str, ...] = ()
    format: str = ""
    extent: Extent | None = None


@dataclass(frozen=True)
class Reading:
    """How a photo becomes pixels: its shorter side in px (None: as it is), the filter, the ranges of deep photos, and
    whether their values are measured.
    """

    resize: int | None = None
    interpolation: str = "bilinear"
    ranges: Ranges | None = None
    measure: bool = False


def decode(
    source: bytes | ImageRef,
    resize: int | None = None,
    interpolation: str = "bilinear",
    named: str | None = None,
    bounds: Bounds = EVERYTHING,
    *,
    ranges: Ranges | None = None,
    measure: bool = False,
) -> Decoded:
    """Decode a photo, upright and in RGB; with ``resize``, its shorter side becomes exactly that many px.

    Resizing is antialiased and keeps the aspect ratio. The longer side is ``int(resize * long / short)`` px, as in
    torchvision's Resize; where that is more than ``2 * resize`` the central ``2 * resize`` px are kept: a centre crop
    needs no more, and a panorama would fill the memory. A JPEG is decoded at a reduced scale where that leaves
    ``REDUCED_TO`` times as many pixels per side as needed. ``named`` is the file's name where ``source`` is bytes (for
    the note "PNG named .jpg"). A file beyond ``bounds`` is not decoded. ``ranges``: of deep photos; ``measure``: also
    tell the ``extent`` of a deep photo. Raises ``BadPhoto``.
    """
    if not isinstance(source, bytes):
        named = named or source.name
        source = read_file(source)
    how = Reading(resize, interpolation, ranges, measure)
    try:
        found = _read(source, how, bounds)
    except TooCostly:
        raise
    except BadPhoto:
        whole = mended(source)
        if whole is None:
            raise
        found = _read(whole[0], how, bounds)
        found = replace(found, notes=(*found.notes, whole[1]))
    return replace(found, notes=(*misnamed(found.format, named or ""), *found.notes))


def _read(data: bytes, how: Reading, bounds: Bounds) -> Decoded:
    image = _open(data, bounds)
    needed = check_header(image, data, how.resize, bounds)
    try:
        with _ONE_AT_A_TIME if needed > COSTLY else nullcontext():
            return _decoded(image, data, how)
    except _DAMAGE as error:
        reason = tiff_reason(data) if image.format == "TIFF" else None
        raise BadPhoto(reason or _damage(error)) from error


def _decoded(image: Image.Image, data: bytes, how: Reading) -> Decoded:
    notes, kind = _frame_notes(image), image.format or ""
    stored, wide = raw_mode(image), has_low_bytes(image)  # known until it is loaded
    if kind == "PNG":  # may tell the orientation after its pixels
        image.load()
    turn, (width, height) = _upright(image)
    if turn is not None or _turns_itself(image):
        notes.append("EXIF-rotated")
    whole, shrink = image.size, 1
    if how.resize and kind in ("JPEG", "MPO"):
        drafted = image.draft(None, (REDUCED_TO * how.resize,) * 2)
        shrink = round(whole[0] / drafted[1][2]) if drafted else 1
    image, deep_notes, extent = _eight_bits(image, data, how, stored, wide)
    image, color_notes = to_rgb(image)
    if kind in ("TIFF", "HEIF"):  # their readers turn the photo, or find another size than the header's
        whole = width, height = image.size
    if how.resize:
        image = _resized(image, whole, shrink, how.resize, how.interpolation)
    if turn is not None:
        image = image.transpose(turn)
    pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    if how.resize and kind not in ("JPEG", "MPO") and np.count_nonzero(pixels > DARK) < pixels.size // 100:
        notes.append(NEARLY_BLACK)
    return Decoded(pixels, width, height, (*notes, *deep_notes, *color_notes), kind, extent)


def _eight_bits(
    image: Image.Image, data: bytes, how: Reading, stored: str, wide: bool
) -> tuple[Image.Image, list[str], Extent | None]:
    """A deep photo in 8 bits per channel, the conversions, and its extent if that is measured; others as they are.

    ``stored``: its raw mode; ``wide``: whether it has low bytes.
    """
    mode = image.mode
    notes = ["16-bit"] if ";16" in stored or mode.startswith("I;16") else []
    low = None
    if not is_deep_grey(image):
        if not wide or not (how.measure or (how.ranges and how.ranges.integers)):
            return image, notes, None
        low = _open(data, EVERYTHING)
        read_as(low, LOW_BYTES)
        low.load()
    image.load()
    deep = Deep(image, low, stored == "LA;16B")
    extent = deep.extent() if how.measure else None
    wanted = getattr(how.ranges or Ranges(), deep.kind)
    if low is not None and wanted is None:
        return image, notes, extent
    values, note = deep.eight_bits(wanted)
    found = Image.fromarray(values)
    if mode == "RGBA":
        found.putalpha(image.getchannel("A"))
    return found, [*notes, *([note] if note and note not in notes else [])], extent


def header_size(source: ImageRef) -> tuple[int, int] | None:
    """(width, height) in px, upright, from the file's header alone; None where it cannot be read."""
    try:
        opened = open_regular(source) if isinstance(source, Path) else source.open("rb")
        with opened as file:
            image: Image.Image
            try:
                image = Image.open(file, formats=_FORMATS)
            except UnidentifiedImageError:
                file.seek(0)
                image = _open(file.read(), EVERYTHING)
            with image:
                return _upright(image)[1]
    except BadPhoto:
        return None
    except _DAMAGE:
        return None


def _open(data: bytes, bounds: Bounds) -> Image.Image:
    """The image with its header read and no pixel decoded."""
    if not data:
        raise BadPhoto("empty file (0 bytes)")
    check_before_open(data, bounds)
    image: Image.Image
    formats = [name for name in _FORMATS if bounds.formats is None or name in bounds.formats]
    try:
        try:
            image = Image.open(io.BytesIO(data), formats=formats)
        except UnidentifiedImageError as error:
            if content_kind(data[:64]) != "HEIC" or not (bounds.formats is None or "HEIF" in bounds.formats):
                raise BadPhoto(_not_read(data)) from error
            image = open_heif(data)
        if image.format == "TIFF":
            check_tiff(image)
        return image
    except Image.DecompressionBombError as error:
        raise BadPhoto(
            f"decompression bomb: more than {2 * MAX_PIXELS / 1e6:.0f} million pixels by its header"
        ) from error
    except _DAMAGE as error:
        raise BadPhoto((tiff_reason(data) if data[:2] in (b"II", b"MM") else None) or _damage(error)) from error


def _not_read(data: bytes) -> str:
    """Why no reader takes a file."""
    kind = content_kind(data[:512])
    if kind in _FORMATS:
        return (tiff_reason(data) if kind == "TIFF" else None) or f"damaged {kind} file"
    if kind == "HEIC":
        return "HEIC photo: it is not read here"
    if kind in KIND_SUFFIXES:
        return f"{kind} photo, which Pillow {PIL.__version__} here cannot read: pip install -U pillow"
    return f"not an image{f' ({kind} inside)' if kind else ''}"


def _resized(image: Image.Image, size: tuple[int, int], shrink: int, resize: int, interpolation: str) -> Image.Image:
    """Shorter side ``resize`` px, longer side at most twice that (its centre); an image of that size is returned.

    ``size``: of the photo, of which ``image`` has every ``shrink``-th pixel; its last row and column may stand for
    fewer.
    """
    if interpolation not in _FILTERS:
        raise OptionError(
            f"no interpolation {interpolation!r}: there are {', '.join(_FILTERS)}",
            did_you_mean(interpolation, _FILTERS),
        )
    width, height = size
    short, long = min(width, height), max(width, height)
    kept = min(max(resize, int(resize * long / short)), 2 * resize)
    # The kept part of the longer side, in source px: all of it, or its centre for a panorama.
    span = long if int(resize * long / short) <= 2 * resize else kept * short / resize
    start = (long - span) / 2
    target = (kept, resize) if width >= height else (resize, kept)
    if target == image.size and span == long:
        return image
    first, last, other = start / shrink, (start + span) / shrink, short / shrink
    box = (first, 0.0, last, other) if width >= height else (0.0, first, other, last)
    return image.resize(target, _FILTERS[interpolation], box=box)


def _upright(image: Image.Image) -> tuple[Image.Transpose | None, tuple[int, int]]:
    """The transposition by the EXIF orientation, and the size after it; unreadable EXIF is ignored."""
    turn = None
    if image.format == "PNG" or (
        # Without parsing where there is no EXIF block, the common case.
        image.format in ("JPEG", "MPO", "WEBP", "AVIF") and {"exif", "xmp"} & image.info.keys()
    ):
        with suppress(*_DAMAGE):
            # Not the method of PNG's own class: it loads the pixels, and their damage would be forgotten here.
            turn = _UPRIGHT.get(int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)))
    return turn, image.size if turn is None or turn in _MIRRORED else (image.height, image.width)


def _turns_itself(image: Image.Image) -> bool:
    """Whether a photo is stored turned, and its reader makes it upright: that of TIFF while it loads, that of HEIF."""
    orientation: object = image.info.get("original_orientation") if image.format == "HEIF" else None
    if image.format == "TIFF":
        orientation = image.tag_v2.get(ExifTags.Base.Orientation)  # type: ignore[attr-defined]
    return orientation in _UPRIGHT


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
    if image.format == "HEIF" and getattr(image, "is_animated", False):
        notes.append("several pictures: the main one")
    return notes


def _damage(error: BaseException) -> str:
    words = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in words or "memory allocation" in words:
        return "too large for the memory at hand"
    if "truncated" in words or "unexpected end" in words or isinstance(error, EOFError) or "premature" in words:
        return "truncated: the file ends before the picture does"
    return f"damaged: {str(error)[:120] or type(error).__name__}"
