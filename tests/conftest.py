"""Photos for tests, drawn on the spot. In: nothing. Out: fixtures that draw learnable photos, folders of them, and
every kind of bad file."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

# Tests run side by side with other work; before torch is imported, one thread is asked for, here and in processes that
# tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

COLOURS = ((200, 60, 50), (60, 80, 200), (70, 170, 80), (210, 180, 60), (150, 70, 170), (60, 170, 170))


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the caches, data or mirrors of the machine it runs on."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own-cache"))
    for name in ("HEADSTART_DATA", "HEADSTART_MIRROR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real photos and weights (``data/``, ``weights/``) that HEADSTART_ASSETS names."""
    folder = os.environ.get("HEADSTART_ASSETS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HEADSTART_ASSETS does not name the folder of real photos and weights")
    return Path(folder)


@pytest.fixture(scope="session")
def draw_photo() -> Callable[..., Path]:
    """``draw_photo(path, label_index, rng, size=(48, 40))``: a shape and a colour per class, position, size and noise
    at random."""
    return _draw_photo


@pytest.fixture
def class_folder(tmp_path: Path) -> Callable[..., Path]:
    """``class_folder(name="photos", classes=("cat", "dog"), per_class=6, splits=None, seed=0)``: a folder of drawn
    photos.

    ``splits``: folder names such as ``("train", "test")``, each with ``per_class`` photos of every class.
    """

    def make(
        name: str = "photos",
        classes: Sequence[str] = ("cat", "dog"),
        per_class: int = 6,
        splits: Sequence[str] | None = None,
        seed: int = 0,
    ) -> Path:
        rng = np.random.default_rng(seed)
        for folder in splits or [""]:
            for index, label in enumerate(classes):
                for i in range(per_class):
                    _draw_photo(tmp_path / name / folder / label / f"{label}_{i:03d}.png", index, rng)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def bad_files() -> Callable[[Path], dict[str, str | None]]:
    """``bad_files(folder)`` writes one file of every troublesome kind there.

    Returns, by file name, a word of the reason why it cannot be used, or None where it must be decoded all the same.
    """
    return _write_bad_files


def _draw_photo(path: Path, label_index: int, rng: np.random.Generator, size: tuple[int, int] = (48, 40)) -> Path:
    width, height = size
    noise = rng.integers(90, 150, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    side = int(min(size) * rng.uniform(0.45, 0.7))
    left, top = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    box = (left, top, left + side, top + side)
    pen = ImageDraw.Draw(image)
    colour = tuple(int(c + rng.integers(-20, 21)) for c in COLOURS[label_index % len(COLOURS)])
    (pen.ellipse, pen.rectangle, pen.chord)[label_index % 3](
        box, *((0, 180) if label_index % 3 == 2 else ()), fill=colour
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def _write_bad_files(folder: Path) -> dict[str, str | None]:
    folder.mkdir(parents=True, exist_ok=True)
    photo = Image.open(_draw_photo(folder / "plain.png", 0, np.random.default_rng(5), (64, 48))).convert("RGB")
    photo.save(folder / "ordinary.jpg", quality=90)
    whole = (folder / "ordinary.jpg").read_bytes()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "truncated.png").write_bytes((folder / "plain.png").read_bytes()[:-2000])
    (folder / "text.jpg").write_text("this is not a photo\n")
    (folder / "page.jpg").write_text("<!DOCTYPE html><html>404 not found</html>")
    (folder / "noise.png").write_bytes(bytes(range(256)) * 4)
    (folder / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (folder / "pixel.png").write_bytes(_encoded(Image.new("RGB", (1, 1)), folder))
    return {
        **dict.fromkeys(("plain.png", "ordinary.jpg"), None),
        "empty.jpg": "empty", "truncated.jpg": "truncated", "truncated.png": "truncated", "text.jpg": "not an image",
        "page.jpg": "not an image", "noise.png": "not an image", "bomb.png": "bomb", "pixel.png": "small",
        **dict.fromkeys(_write_odd_files(folder, photo), None),
    }  # fmt: skip


def _write_odd_files(folder: Path, photo: Image.Image) -> list[str]:
    """Files that are photos, in ways that careless readers stumble over."""
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
    see_through = photo.copy()
    see_through.putalpha(Image.linear_gradient("L").resize(photo.size))
    images: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "cmyk.jpg": (photo.convert("CMYK"), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "gray.jpg": (photo.convert("L"), {}),
        "palette.png": (photo.convert("P", palette=Image.Palette.ADAPTIVE), {}),
        "animated.gif": (photo, {"save_all": True, "append_images": [photo.rotate(90), photo.rotate(180)]}),
        "rotated.jpg": (photo, {"exif": exif}),
        "see-through.png": (see_through, {}),
        "größe 写真 📷.png": (photo, {}),
        f"{'long' * 50}.png": (photo, {}),
    }
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    (folder / "really-a-png.jpg").write_bytes(_encoded(photo, folder))
    return [*images, "really-a-png.jpg"]


def _encoded(image: Image.Image, folder: Path) -> bytes:
    place = folder / "for-a-moment.png"
    image.save(place)
    data = place.read_bytes()
    place.unlink()
    return data


def png_header(width: int, height: int) -> bytes:
    """A PNG file that promises a size and holds next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
