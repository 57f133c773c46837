"""Files made to be slow, large or wrong, each a few hundred kilobytes at most."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def png(width: int, height: int, depth: int = 8, kind: int = 0) -> bytes:
    """A black PNG, compressed as well as can be; ``kind``: PNG's colour type (0 gray, 2 RGB, 6 RGBA)."""
    channels = {0: 1, 2: 3, 6: 4}[kind]
    packer = zlib.compressobj(9)
    row = bytes(1 + width * channels * depth // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (head, data, b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def scan_bomb(scans: int, size: tuple[int, int] = (2000, 2000)) -> bytes:
    """A progressive JPEG whose last scan is there ``scans`` times: each is a few bytes, and visits every block."""
    whole = _saved(Image.new("L", size, 100), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + b"\xff\xd9"


def plain_pbm(width: int, height: int) -> bytes:
    """A bitmap written as text."""
    return f"P1\n{width} {height}\n".encode() + b"0" * (width * height)


def ppm_of_other_depth(width: int, height: int) -> bytes:
    """A binary PPM that Pillow's Python decoder reads, because its largest value is not 255."""
    return f"P6\n{width} {height}\n254\n".encode() + bytes(3 * width * height)


def qoi(width: int, height: int) -> bytes:
    """A QOI of runs: one byte for 62 pixels."""
    pixels = width * height
    return b"qoif" + struct.pack(">IIBB", width, height, 3, 0) + b"\xfd" * (pixels // 62 + 1) + bytes(7) + b"\x01"


def rle_bmp(width: int, height: int) -> bytes:
    """A run-length coded BMP that is all ends of lines."""
    data = b"\x00\x00" * height + b"\x00\x01"
    palette = bytes(4 * 256)
    start = 14 + 40 + len(palette)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 2835, 2835, 256, 256)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + palette + data


def icon(width: int, height: int) -> bytes:
    """An ICO that says it is small and holds a PNG that is not."""
    inside = png(width, height)
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inside), 22) + inside


def webp_canvas(width: int, height: int) -> bytes:
    """A WebP whose header promises a large canvas."""
    small = _saved(Image.fromarray(np.zeros((8, 8, 4), np.uint8)), "WEBP", lossless=True)
    body = (
        b"VP8X" + struct.pack("<IB3x", 10, 2) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )
    rest = body + small[12:]
    return b"RIFF" + struct.pack("<I", len(rest) + 4) + b"WEBP" + rest


def _saved(image: Image.Image, kind: str, **how: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()
