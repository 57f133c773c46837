"""Files of more than 8 bits, which Pillow cannot write: 16-bit colour as PNG, and TIFFs of any layout."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def picture(height: int = 40, width: int = 52) -> np.ndarray:
    """uint8 [h, w, 3] without symmetry, from 0 to 255."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 255 // (width + height - 2))
    return np.stack(channels, axis=-1).astype(np.uint8)


def png(values: np.ndarray, kind: int) -> bytes:
    """uint16 [h, w, channels] as a 16-bit PNG; ``kind``: PNG's colour type (2 RGB, 4 grey with alpha, 6 RGBA)."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = zip((b"IHDR", b"IDAT", b"IEND"), (head, zlib.compress(rows), b""), strict=True)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff(
    strips: list[bytes], size: tuple[int, int], bits: int, channels: int, photometric: int = 1, form: int = 1,
    planes: bool = False, compression: int = 1, order: str = "<", more: dict[int, int] | None = None,
) -> bytes:  # fmt: skip
    """A TIFF of one strip, or of one per plane. ``form``: 1 unsigned, 2 signed, 3 float; ``more``: further tags."""
    width, height = size
    entries: list[tuple[int, str, list[int]]] = [
        (256, "I", [width]), (257, "I", [height]), (258, "H", [bits] * channels), (259, "H", [compression]),
        (262, "H", [photometric]), (277, "H", [channels]), (278, "I", [height]), (284, "H", [2 if planes else 1]),
        (339, "H", [form] * channels), *((tag, "I", [value]) for tag, value in (more or {}).items()),
    ]  # fmt: skip
    data, at = b"".join(strips), 8
    starts = [at + sum(map(len, strips[:i])) for i in range(len(strips))]
    entries += [(273, "I", starts), (279, "I", [len(strip) for strip in strips])]
    directory_at = at + len(data)
    tail_at, tail, directory = directory_at + 2 + 12 * len(entries) + 4, b"", struct.pack(order + "H", len(entries))
    for tag, code, values in sorted(entries):
        raw = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(raw) > 4:
            tail, raw = tail + raw, struct.pack(order + "I", tail_at + len(tail))
        directory += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[code], len(values)) + raw.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", directory_at)
    return head + data + directory + bytes(4) + tail


def saved(values: np.ndarray | Image.Image, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(out, kind, **how)
    return out.getvalue()
