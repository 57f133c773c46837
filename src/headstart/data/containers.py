"""Files that are sound and that Pillow refuses, or reads wrongly: made readable, or named for what they are."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from typing import Any

from PIL import Image, TiffImagePlugin

from headstart.data.bounds import BadPhoto
from headstart.data.deep import read_as

_PNG = b"\x89PNG\r\n\x1a\n"
_PICTURE = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"))
"""Chunks of a PNG that its pixels depend on, and its orientation."""
_ORIENTED = (b"XML:com.adobe.xmp\0\0\0", b"Raw profile type exif\0")
"""How texts begin that may hold the orientation."""
_LONG_TEXT = 60_000
_END = b"\xff\xd9"
_FILLERS = (b"", b"\x55" * 16, b"\xaa" * 16)
_COMPARED_ROWS, _COMPARED_PIXELS = 64, 50_000_000
_KINDS = {1: "", 2: "signed integers", 3: "float", 5: "complex integers", 6: "complex float"}
_COLOURS = {
    0: "white is zero", 1: "", 2: "", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "LAB", 9: "ICC LAB", 10: "ITU LAB",
    32803: "colour filter array", 32844: "LogL", 32845: "LogLuv", 34892: "linear raw",
}  # fmt: skip
_COMPRESSIONS = {
    6: "old JPEG", 9: "JBIG", 10: "JBIG", 32766: "NeXT", 34661: "JBIG", 34676: "SGI log", 34677: "SGI log",
    33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy DNG JPEG", 34925: "LZMA",
    34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_OPTIONAL = frozenset((6, 34676, 34677, 34925, 50000, 50001))
"""Compressions that only some builds of Pillow's library can read."""
_DAMAGE = (*(OSError, EOFError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError), struct.error)


def mended(data: bytes) -> tuple[bytes, str] | None:
    """A file that Pillow refused, as it reads it, and a note: a PNG without what does not belong to its picture, or a
    JPEG of which the end marker is missing and no pixel. None for all others.
    """
    if data.startswith(_PNG):
        only = _picture_of_png(data)
        return (only, "metadata left out") if len(only) < len(data) else None
    if data.startswith(b"\xff\xd8"):
        whole = _with_end(data)
        return (whole, "no end marker") if whole else None
    return None


def _picture_of_png(data: bytes) -> bytes:
    """A PNG without texts, colour profiles and other chunks that do not change its pixels: Pillow unpacks them, and
    refuses the file if they are long or damaged.
    """
    kept, at = [_PNG], len(_PNG)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        text = data[at + 8 : at + 40]
        if name in _PICTURE or (length < _LONG_TEXT and name != b"iCCP" and text.startswith(_ORIENTED)):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _with_end(data: bytes) -> bytes | None:
    """A JPEG of one scan with the end marker that it lacks; None where pixels are missing too.

    A decoder makes up what is missing and does not say so. So the bytes after the end are varied: they are skipped
    where the picture is whole, and change its last rows where it is not.
    """
    body = data.removesuffix(b"\xff")
    at = 2
    while body[at : at + 1] == b"\xff" and len(body) >= at + 4:
        kind, length = struct.unpack_from(">BH", body, at + 1)
        at += 2 + length
        if kind == 0xC2:  # progressive: later scans may be missing
            return None
        if kind == 0xDA:
            break
    if re.search(rb"\xff[^\x00\xd0-\xd7\xff]", body[at:]):  # another scan, or an end
        return None
    try:
        rows = {_last_rows(body + filler + _END) for filler in _FILLERS}
    except _DAMAGE:
        return None
    return body + _END if len(rows) == 1 else None


def _last_rows(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data), formats=("JPEG", "MPO")) as image:
        width, height = image.size
        if width * height > _COMPARED_PIXELS:
            raise ValueError("too large to compare")
        return image.crop((0, max(0, height - _COMPARED_ROWS), width, height)).tobytes()


def open_heif(data: bytes) -> Image.Image:
    """A HEIC or HEIF photo with its header read. Its class is used without registering it: other programs' Pillow
    stays as it is. Raises BadPhoto where the package is missing, and what Pillow raises for damaged files.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise BadPhoto('HEIC photo: pip install "headstart[heic]" to read it here, or export it as JPEG') from error
    make: Callable[[io.BytesIO], Image.Image] = HeifImageFile
    return make(io.BytesIO(data))


def check_tiff(image: Any) -> None:
    """Make a TIFF readable that Pillow reads wrongly, or refuse it: 16-bit planes, of which it takes the bytes for
    pixels; and the thumbnail of a camera's raw file, whose photo is elsewhere in it.
    """
    tags = image.tag_v2
    if tags.get(254, 0) & 1 and (330 in tags or 50706 in tags):
        raise BadPhoto("a camera's raw file, of which only the thumbnail could be read: export it as JPEG or TIFF")
    if image._planar_configuration == 2 and not image.use_load_libtiff and max(tags.get(258, (1,))) > 8:
        order = "L" if tags.prefix == b"II" else "B"
        if image.mode not in ("RGB", "RGBA"):
            raise BadPhoto(_tiff_words(tags))
        read_as(image, {band: f"{band};16{order}" for band in "RGBA"})


def tiff_reason(data: bytes) -> str | None:
    """Why Pillow cannot read a TIFF that is not damaged: its kind; None where it is damaged."""
    if data[8:10] == b"CR":
        return "a camera's raw file (CR2): export it as JPEG or TIFF"
    try:
        head = data[: 16 if data[2:3] == b"\x2b" or data[3:4] == b"\x2b" else 8]
        tags, file = TiffImagePlugin.ImageFileDirectory_v2(head), io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        if not tags.get(256) or not tags.get(257):
            return None
        try:
            TiffImagePlugin.TiffImageFile(io.BytesIO(data))
        except _DAMAGE as error:
            squeezed = tags.get(259, 1) not in TiffImagePlugin.COMPRESSION_INFO
            unknown = squeezed or "not yet supported" in str(error) or "unknown" in str(error)
            return _tiff_words(tags) if unknown else None
        return _tiff_words(tags) if tags.get(259, 1) in _OPTIONAL else None
    except _DAMAGE:
        return None


def _tiff_words(tags: Any) -> str:
    bits, channels = tags.get(258, (1,)), tags.get(277, 1)
    widths = sorted(set(bits if isinstance(bits, tuple) else (bits,)))
    formats = tags.get(339, (1,))
    kind = _KINDS.get(formats[0] if isinstance(formats, tuple) and formats else 1, "")
    squeezed = tags.get(259, 1)
    known = TiffImagePlugin.COMPRESSION_INFO
    name = _COMPRESSIONS.get(squeezed, "" if squeezed in known else f"number {squeezed}")
    colours = tags.get(262, 1)
    parts = [
        f"{'- and '.join(map(str, widths[:4]))}-bit {kind}".strip(), f"{channels} channel{'s'[: channels != 1]}",
        _COLOURS.get(colours, f"colour space {colours}"), "in planes" if tags.get(284) == 2 else "",
        f"{name} compression" if name else "",
    ]  # fmt: skip
    return f"a kind of TIFF that cannot be read here ({', '.join(filter(None, parts))})"
