"""What the server and a folder of photos read: headers of images, multipart forms."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.mutations import expect
from helpers import deep, hostile
from helpers.loops import run_apart
from PIL import Image, PngImagePlugin
from starlette.requests import Request

from headstart.data.bounds import BadPhoto, Bounds
from headstart.data.decode import decode
from headstart.data.deep import chosen
from headstart.serving.limits import Limits, Refused
from headstart.serving.uploads import Memory, read_uploads

FEW = Bounds(pixels=4_000_000, scanned=100_000_000, memory=100_000_000)
"""So that a case takes milliseconds."""


def image(content: bytes, _: Path) -> None:
    """Pixels, or the reason why there are none."""
    try:
        found = decode(content, 32, bounds=FEW, measure=True)
        if found.extent is not None:
            decode(content, 32, bounds=FEW, ranges=chosen([found.extent]))
    except BadPhoto as bad:
        expect(0 < len(bad.problem) < 300, bad.problem)
        return
    assert found.pixels.dtype == np.uint8
    assert min(found.pixels.shape[:2]) == 32
    assert found.pixels.shape[2] == 3


def form(content: bytes, _: Path) -> None:
    """The first line is the content type, the rest the body. Files, or a refusal; all memory is given back."""
    kind, _, body = content.partition(b"\n")
    messages = [
        {"type": "http.request", "body": body[:50], "more_body": True},
        {"type": "http.request", "body": body[50:]},
    ]

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    memory = Memory(1e6)
    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind)]}, receive)

    async def read() -> None:
        with memory.hold() as take:
            for upload in await read_uploads(request, Limits(), take):
                assert isinstance(upload.content, bytes)

    try:
        run_apart(read())
    except Refused as refusal:
        expect(400 <= refusal.status < 500, str(refusal))
    assert memory.used == 0


def _photos() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    photo, found = Image.fromarray(pixels), []
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a" * 20
    lossy: list[tuple[str, dict[str, Any]]] = [
        ("JPEG", {"exif": exif}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "jpeg"}), ("TIFF", {"compression": "tiff_lzw", "exif": exif}),
    ]  # fmt: skip
    for kind, how in [*lossy, *((kind, {}) for kind in "PNG GIF BMP TIFF AVIF PPM JPEG2000 PCX".split())]:
        out = io.BytesIO()
        photo.save(out, kind, **how)
        found.append(out.getvalue())
    for mode in ("L", "LA", "P", "1", "RGBA"):
        out = io.BytesIO()
        photo.convert(mode).save(out, "PNG")
        found.append(out.getvalue())
    for values in (pixels[..., 0].astype(np.float32), pixels[..., 0].astype(np.int32)):
        out = io.BytesIO()
        Image.fromarray(values).save(out, "TIFF")
        found.append(out.getvalue())
    wide, info = pixels.astype(np.uint16) * 16, PngImagePlugin.PngInfo()
    info.add_text("prompt", "x" * 1_200_000, zip=True)
    found += [deep.png(wide, 2), deep.png(wide[..., :2], 4), deep.saved(photo, "PNG", pnginfo=info)]
    planes = [wide[..., c].tobytes() for c in range(3)]
    found += [deep.tiff(planes, photo.size, 16, 3, 2, planes=True), deep.tiff(planes, photo.size, 32, 3, 2, 3)]
    found.append(deep.saved(photo, "JPEG")[:-2])
    with suppress(ImportError):
        import pillow_heif

        out = io.BytesIO()
        pillow_heif.encode("RGB", photo.size, photo.tobytes(), out, exif=exif.tobytes())
        found.append(out.getvalue())
    return found


def _forms() -> list[bytes]:
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nabc\r\n'
    kinds = [b"multipart/form-data; boundary=x"]
    kinds += [kinds[0] + b"; charset=" + name for name in (b"utf-16", b"rot13", b"hex", b"punycode", b"undefined")]
    kinds += [b'multipart/form-data; boundary="x"', b"multipart/form-data; boundary=", b"multipart/form-data"]
    star = part.replace(b'filename="a.png"', b"filename*=UTF-8''%ff.png")
    bodies = [part + b"--x--\r\n", part * 70 + b"--x--", star + b"--x--", part[:30], b""]
    coded = part.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
    return [kind + b"\n" + body for kind in kinds for body in (*bodies, coded + b"--x--")]


TARGETS = {"image": image, "form": form}
CORPUS = {
    "image": [
        *_photos(), hostile.scan_bomb(600, (40, 40)), hostile.png(300, 300, 16), hostile.png(300, 300, 8, 6),
        hostile.plain_pbm(30, 30), hostile.ppm_of_other_depth(20, 20), hostile.qoi(40, 40), hostile.rle_bmp(30, 30),
        hostile.icon(300, 300), hostile.webp_canvas(16_000, 16_000),
    ],
    "form": _forms(),
}  # fmt: skip
