"""HEIC and HEIF through pillow-heif; without the package they are named, with the command that installs it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import deep
from PIL import Image

from headstart.data.bounds import BadPhoto, Bounds, TooCostly
from headstart.data.decode import decode, header_size

HEAD = b"\0\0\0\x18ftypheic" + bytes(200)
RGB = deep.picture(64, 96)


@pytest.fixture
def heif() -> Any:
    return pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: pip install 'headstart[heic]'")


def encoded(heif: Any, pixels: np.ndarray, mode: str = "RGB", **how: Any) -> bytes:
    out = io.BytesIO()
    size = (pixels.shape[1], pixels.shape[0])
    heif.encode(mode, size, pixels.tobytes(), out, quality=-1, chroma=444, matrix_coefficients=0, **how)
    return out.getvalue()


def close(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and np.abs(found.astype(int) - wanted.astype(int)).max() <= 3


def test_a_photo_is_read_and_pillow_stays_as_it_was(heif: Any, tmp_path: Path) -> None:
    content = encoded(heif, RGB)
    found = decode(content, named="a.heic")
    assert close(found.pixels, RGB)
    assert (found.format, found.notes, found.width, found.height) == ("HEIF", (), 96, 64)
    assert decode(content, named="a.jpg").notes == ("HEIF named .jpg",)
    assert "HEIF" not in Image.OPEN
    (tmp_path / "a.heic").write_bytes(content)
    assert header_size(tmp_path / "a.heic") == (96, 64)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_once(heif: Any, orientation: int) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    upright = Image.fromarray(RGB)
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(encoded(heif, np.asarray(stored), exif=exif.tobytes()))
    assert close(found.pixels, RGB)
    assert (found.width, found.height) == (96, 64)
    assert ("EXIF-rotated" in found.notes) == (orientation != 1)


def test_ten_bits_grey_and_alpha(heif: Any) -> None:
    assert close(decode(encoded(heif, RGB.astype(np.uint16) * 257, "RGB;16")).pixels, RGB)
    grey = decode(encoded(heif, RGB[..., 0], "L"))
    assert close(grey.pixels, RGB[..., :1].repeat(3, axis=2))
    assert grey.notes == ("grayscale",)
    hidden = decode(encoded(heif, np.dstack([RGB, np.zeros_like(RGB[..., 0])]), "RGBA"))
    assert close(hidden.pixels, RGB)


def test_of_several_pictures_the_main_one_is_read(heif: Any) -> None:
    file = heif.from_bytes("RGB", (96, 64), RGB[:, ::-1].tobytes())
    file.add_frombytes("RGB", (96, 64), RGB.tobytes())
    out = io.BytesIO()
    file.save(out, quality=-1, chroma=444, matrix_coefficients=0, primary_index=1)
    found = decode(out.getvalue())
    assert close(found.pixels, RGB)
    assert found.notes == ("several pictures: the main one",)


def test_bounds_hold_before_pixels_are_decoded(heif: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(heif, RGB)
    monkeypatch.setattr(heif.HeifImageFile, "load", lambda _: pytest.fail("decoded"))
    for bounds in (Bounds(pixels=1000), Bounds(memory=10_000)):
        with pytest.raises(TooCostly):
            decode(content, bounds=bounds)
    with pytest.raises(BadPhoto, match="HEIC photo: it is not read here"):
        decode(content, bounds=Bounds(formats=frozenset({"JPEG"})))


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
def test_a_damaged_photo_is_named(heif: Any, part: float) -> None:
    content = encoded(heif, RGB)
    with pytest.raises(BadPhoto, match=r"damaged|truncated"):
        decode(content[: max(40, int(part * len(content)))])


def test_without_the_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(BadPhoto, match=r'HEIC photo.*pip install "headstart\[heic\]"'):
        decode(HEAD)


def test_the_package_is_imported_for_a_heic_file_only() -> None:
    code = (
        "import sys, io; from PIL import Image; from headstart.data.decode import decode;"
        "out = io.BytesIO(); Image.new('RGB', (9, 9)).save(out, 'JPEG'); decode(out.getvalue(), 8);"
        "sys.exit('pillow_heif' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
