"""Pictures in memory are read as the same picture in a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from headstart.data.bounds import BadPhoto
from headstart.data.decode import decode
from headstart.data.pictures import picture, pictures
from headstart.errors import OptionError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def read(value: Any) -> np.ndarray:
    return decode(picture(value, 1, "files")).pixels


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (PIXELS, PIXELS), (PIXELS[::-1, ::2], PIXELS[::-1, ::2]), (Image.fromarray(PIXELS), PIXELS),
        (torch.from_numpy(PIXELS).permute(2, 0, 1), PIXELS),
        (torch.from_numpy(PIXELS[:3, :3]).permute(2, 0, 1), PIXELS[:3, :3]),
        (Image.fromarray(PIXELS).crop((3, 4, 13, 14)), PIXELS[4:14, 3:13]),
        (PIXELS[:, :, 0], np.repeat(PIXELS[:, :, :1], 3, 2)), (PIXELS[:, :, :1], np.repeat(PIXELS[:, :, :1], 3, 2)),
        (np.dstack([PIXELS, np.full((20, 30), 255, np.uint8)]), PIXELS),
        (Image.fromarray(PIXELS).convert("RGBX"), PIXELS), (PIXELS / 255, PIXELS),
        ((PIXELS / 255).astype(np.float32), PIXELS), (torch.from_numpy(PIXELS).permute(2, 0, 1) / 255, PIXELS),
        (PIXELS[:, :, 0] / 255, np.repeat(PIXELS[:, :, :1], 3, 2)), (torch.zeros(3, 8, 9).half(), PIXELS[:8, :9] * 0),
        (torch.ones(1, 8, 9, dtype=torch.bfloat16), PIXELS[:8, :9] * 0 + 255),
        (tv_tensors.Image(torch.from_numpy(PIXELS).permute(2, 0, 1)), PIXELS),
        (torch.nn.Parameter(torch.from_numpy(PIXELS).permute(2, 0, 1) / 255), PIXELS),
    ],
)  # fmt: skip
def test_pixels_come_through(value: Any, expected: np.ndarray) -> None:
    assert np.array_equal(read(value), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "I", "F", "LAB"])
def test_every_mode_of_pillow_can_be_read(mode: str) -> None:
    image = Image.fromarray(PIXELS)
    assert read((image.convert("L") if mode == "I;16" else image).convert(mode)).shape == (20, 30, 3)


def test_an_opened_file_is_the_file_turned_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        found = picture(opened, 1, "files")
        assert found.path == tmp_path / "a.png"
        assert np.array_equal(decode(found).pixels, decode(tmp_path / "a.png").pixels)
        assert decode(found).pixels.shape == (30, 20, 3)


def test_a_file_in_memory_is_the_file(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    for value in (data, bytearray(data), memoryview(data), io.BytesIO(data)):
        found = picture(value, 3, "files")
        assert found.path == Path("image 3")
        assert np.array_equal(decode(found).pixels, PIXELS)
    with (tmp_path / "a.png").open("rb") as file:
        found = picture(file, 3, "files")
    assert found.path == tmp_path / "a.png"  # read before it was closed
    assert np.array_equal(decode(found).pixels, PIXELS)
    with (tmp_path / "a.png").open("rb") as file:
        pass
    with pytest.raises(OptionError, match="item 3 cannot be read"):
        picture(file, 3, "files")
    with pytest.raises(BadPhoto):
        decode(picture(b"no image", 1, "files"))


def test_a_stack_is_several_and_text_is_none() -> None:
    assert [str(one.path) for one in pictures(np.stack([PIXELS] * 3), "files") or ()] == [
        f"image {n}" for n in (1, 2, 3)
    ]
    assert len(list(pictures(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "files") or ())) == 2
    assert pictures(np.array(["a.jpg"]), "files") is None
    assert pictures("a.jpg", "files") is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (PIXELS.astype(float), r"\[20, 30, 3\] of float64 with values beyond 0 and 1"),
        (torch.full((3, 8, 8), -0.1), r"\[3, 8, 8\] of torch.float32 with values beyond 0 and 1"),
        (np.full((8, 8), np.nan), "beyond 0 and 1"), (PIXELS.astype(np.int64), "of int64"),
        (PIXELS.astype(np.uint16), "of uint16"), (torch.zeros(8, 8, 3, dtype=torch.bfloat16), "bfloat16"),
        (PIXELS.transpose(2, 0, 1), r"\[3, 20, 30\] of uint8"),
        (PIXELS[:0], r"\[0, 30, 3\]"), (np.zeros((2, 2, 3), bool), "of bool"), (np.zeros(5, np.uint8), r"\[5\]"),
        (io.StringIO("text"), "gives str, not bytes"), (None, "of the type NoneType"), (3, "of the type int"),
    ],
)  # fmt: skip
def test_other_arrays_and_objects_are_refused_in_a_sentence(value: Any, words: str) -> None:
    with pytest.raises(OptionError, match=rf"`photos`: item 7 is .*{words}") as caught:
        picture(value, 7, "photos")
    assert len(str(caught.value)) < 300


def test_an_image_that_cannot_be_loaded_is_a_problem_of_that_photo(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    opened = Image.open(tmp_path / "a.png")
    opened.close()
    with pytest.raises(OSError, match=r"."):
        picture(opened, 1, "files").open()
