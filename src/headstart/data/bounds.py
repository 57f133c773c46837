"""What decoding one file may cost. A header tells it before a pixel is decoded, so that a small file made for it can
neither fill the memory nor hold a core for minutes.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from headstart.core.files import open_regular
from headstart.data.deep import has_low_bytes
from headstart.data.filenames import raw_problem
from headstart.data.schema import ImageRef
from headstart.errors import DataError

MAX_PIXELS = 300_000_000
"""A file with more pixels by its header counts as a decompression bomb (phones reach 200 million)."""
MAX_SCANS = 500
"""Encoders write 3 to 14 scans into a progressive JPEG; each one visits every block of the picture again."""
MAX_SCANNED_PIXELS = 4_000_000_000
"""Of all scans of a JPEG together: 200 million pixels in 20 scans."""
MAX_SLOW_PIXELS = 1_000_000
"""For formats whose decoders are Python loops: up to a microsecond per pixel."""
REDUCED_TO = 3
"""A JPEG is decoded at a reduced scale only where this many times the pixels per side are left to the filter that
resizes it: the average of blocks that a decoder gives is another filter (docs/decisions/0001).
"""
COSTLY = 200_000_000
"""Bytes of peak memory; ordinary photos take a few per cent of it."""
_MEMORY = "too large for the memory at hand"


class BadPhoto(DataError):  # noqa: N818 - it names the photo, as the user meets it
    """A file that cannot be decoded; ``problem`` is a short phrase for a list of bad files."""


class TooCostly(BadPhoto):
    """A file that is not decoded because of ``Bounds``."""


@dataclass(frozen=True)
class Bounds:
    """``pixels``: of a file, by its header; ``scanned``: pixels of all scans of a JPEG together; ``memory``: bytes that
    decoding takes at its peak; ``formats``: Pillow's names of the formats that are read, all that headstart reads by
    default.
    """

    pixels: int = MAX_PIXELS
    scanned: int = MAX_SCANNED_PIXELS
    memory: int = 1 << 62
    formats: frozenset[str] | None = None


EVERYTHING = Bounds()


def _largest_file() -> int:
    """Bytes: no photo has a gigabyte, and reading one must not take most of a small machine's memory."""
    most = 1 << 30
    if sys.platform == "win32":
        return most
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # a system that does not know these names
        return most
    return min(most, memory // 4)


MAX_BYTES = _largest_file()


def read_file(photo: ImageRef) -> bytes:
    """The bytes of a photo's file. Raises ``BadPhoto`` where it is RAW, too large, no regular file, or not readable."""
    if raw := raw_problem(photo.name):
        raise BadPhoto(raw)
    try:
        with open_regular(photo) if isinstance(photo, Path) else photo.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size > MAX_BYTES:
                raise BadPhoto(f"too large: a file of {size / 1e9:.1f} GB, above {MAX_BYTES / 1e9:.1f} GB")
            file.seek(0)
            return file.read(size)
    except MemoryError as error:
        raise BadPhoto(_MEMORY) from error
    except OSError as error:
        raise BadPhoto(f"cannot be read: {error.strerror or error}") from error


def check_before_open(data: bytes, bounds: Bounds) -> None:
    """Raise ``TooCostly`` for a WebP whose canvas is too large: Pillow allocates it when it reads the header."""
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        check_size(width, height, len(data), bounds)


def check_header(image: Image.Image, data: bytes, resize: int | None, bounds: Bounds) -> int:
    """``peak_memory``. Raises ``TooCostly`` where decoding would cost too much. ``image`` is open, none of its pixels
    decoded.
    """
    width, height = image.size
    check_size(width, height, len(data), bounds)
    pixels, decoders = width * height, {tile[0] for tile in getattr(image, "tile", ())}
    if pixels > MAX_SLOW_PIXELS and decoders & Image.DECODERS.keys():
        size = f"{width} x {height} px"
        raise TooCostly(f"too large for a {image.format} of this kind, which is slow to read: {size}; save it as PNG")
    if (found := scans(image, data)) > MAX_SCANS:
        raise TooCostly(f"a JPEG of {found:,} scans, where encoders write at most 14: made to be slow")
    if found * pixels > bounds.scanned:
        raise TooCostly(f"too slow to decode: {found} scans of {width} x {height} px; save it as a baseline JPEG")
    if (needed := peak_memory(image, data, resize)) > bounds.memory:
        raise TooCostly(
            f"too large: {width} x {height} px take {needed / 1e6:.0f} MB to decode, above {bounds.memory / 1e6:.0f} MB"
        )
    return needed


def check_size(width: int, height: int, size: int, bounds: Bounds) -> None:
    """Raise ``TooCostly`` for too many pixels in a file of ``size`` bytes, ``BadPhoto`` for hardly any."""
    if bounds.pixels < width * height <= MAX_PIXELS:
        raise TooCostly(f"too large: {width} x {height} px, above {bounds.pixels / 1e6:g} million pixels")
    if width * height > bounds.pixels:
        raise TooCostly(f"decompression bomb: {width} x {height} px by its header, in a file of {size:,} bytes")
    if min(width, height) < 2:
        raise BadPhoto(f"too small: {width} x {height} px")


def scans(image: Image.Image, data: bytes) -> int:
    """How many scans a JPEG holds, 0 for other formats. Coded data never holds this marker; previews in the metadata
    may, so the number is a few too high at most.
    """
    return data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 0


def peak_memory(image: Image.Image, data: bytes, resize: int | None) -> int:
    """About how many bytes decoding to RGB takes at its peak, by Pillow's 4 bytes for a pixel of several channels."""
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO"):
        shrink = 1
        while resize and shrink < 8 and min(image.size) >= 2 * shrink * REDUCED_TO * resize:  # as Pillow's draft does
            shrink *= 2
        channels = 1 if image.mode == "L" else 4 if image.mode in ("RGB", "YCbCr") else 8
        return channels * pixels // shrink**2 + (_coefficients(image, pixels) if scans(image, data) > 1 else 0)
    if image.format in ("WEBP", "AVIF", "HEIF", "GIF"):  # their decoders keep canvases of their own
        return 16 * pixels
    # The picture, and what is made of it: its alpha channel and a white page, its values as an array, RGB of a palette.
    if has_low_bytes(image):
        return 16 * pixels
    each = {"1": 2, "L": 1, "LA": 9, "I;16": 3, "I": 5, "F": 5, "RGB": 4, "RGBA": 9, "P": 13}
    return each.get(image.mode, 9) * pixels


def _coefficients(image: Image.Image, pixels: int) -> int:
    """Bytes of the coefficients of all blocks, which libjpeg keeps where a JPEG has several scans."""
    layers: list[Any] = getattr(image, "layer", None) or [(1, 1, 1)] * 3
    most = max(h for _, h, *_ in layers) * max(v for _, _, v, *_ in layers) or 1
    return int(2 * pixels * sum(h * v for _, h, v, *_ in layers) / most)
