"""Photos augmented on the device are those that Pillow makes, here with the CPU as the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.core.world import World
from headstart.data.augment import Augmentation, recolour
from headstart.data.images import DecodedImages, read_photos
from headstart.inference.device import Machine
from headstart.training.batches import PictureSource
from headstart.training.device_pictures import DevicePictures, fits, recoloured, resampled, weights

CPU = torch.device("cpu")
SIZES = [(64, 48), (48, 64), (50, 50), (90, 40), (41, 120), (300, 40), (64, 48)]


@pytest.fixture
def shown(tmp_path: Path) -> DecodedImages:
    """Photos of many shapes, their shorter side 40 px."""
    refs = []
    for i, size in enumerate(SIZES):
        pixels = np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        path = tmp_path / f"{i}.png"
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path)
        refs.append(path)
    return read_photos(refs, 40)


class Half(World):
    """One of two processes, which exchange nothing here."""

    size = 2

    def __init__(self, rank: int) -> None:
        self.rank = rank


LABELS = np.arange(len(SIZES)) % 3


def both(shown: DecodedImages, level: str, size: int, balanced: bool = False) -> tuple[PictureSource, DevicePictures]:
    how = Augmentation.named(level)
    usual = PictureSource(shown, LABELS, size, how, 5, balanced=balanced)
    return usual, DevicePictures.of(shown, LABELS, size, how, 5, balanced, CPU)


@pytest.mark.parametrize("size", [40, 24, 17])
@pytest.mark.parametrize("level", ["none", "flip", "crop", "mild", "light", "strong"])
def test_batches_are_those_of_pillow(shown: DecodedImages, level: str, size: int) -> None:
    usual, own = both(shown, level, size)
    assert len(own) == len(usual) == len(SIZES)
    for epoch in (0, 3):
        for (x, y), (wanted, labels) in zip(own.batches(epoch, 3), usual.batches(epoch, 3), strict=True):
            assert x.dtype == torch.uint8
            assert x.shape == wanted.shape
            assert torch.equal(y, labels)
            apart = (x.int() - wanted.int()).abs()
            # Pillow rounds between its two passes; a crop that is not resized has nothing to round.
            assert apart.max() <= (0 if level in ("none", "flip") else 2)
            assert apart.float().mean() < 0.4


def test_crops_differ_from_epoch_to_epoch(shown: DecodedImages) -> None:
    _, own = both(shown, "light", 24)
    (first, _), (second, _) = next(own.batches(0, 7)), next(own.batches(1, 7))
    assert (first.int() - second.int()).abs().float().mean() > 5


def test_an_epoch_can_be_begun_anywhere_and_be_shared(shown: DecodedImages) -> None:
    _, own = both(shown, "strong", 24)
    every = list(own.batches(2, 3))
    for (x, y), (wanted, labels) in zip(own.batches(2, 3, 1), every[1:], strict=True):
        assert torch.equal(x, wanted)
        assert torch.equal(y, labels)
    parts = [list(own.batches(2, 3, 0, Half(rank))) for rank in range(2)]
    for (x, y), a, b in zip(every, *parts, strict=True):
        assert torch.equal(torch.cat([a[1], b[1]]), y)
        assert (torch.cat([a[0], b[0]]).int() - x.int()).abs().max() <= 1  # of a narrower batch sums are shorter


def test_balanced_batches_have_the_same_photos(shown: DecodedImages) -> None:
    usual, own = both(shown, "none", 24, balanced=True)
    for (x, y), (wanted, labels) in zip(own.batches(1, 3), usual.batches(1, 3), strict=True):
        assert torch.equal(y, labels)
        assert torch.equal(x, wanted)


@pytest.mark.parametrize("size", [5, 30, 100])
def test_resizing_is_pillows(size: int) -> None:
    """Smaller, and larger; parts of a photo, whose neighbours count at the edge."""
    row = np.random.default_rng(0).integers(0, 256, (31, 53, 3), dtype=np.uint8)
    for left, top, right, bottom in [(0, 0, 53, 31), (3.3, 2.8, 49.9, 30.2), (20.5, 10.1, 26.0, 14.0)]:
        box = torch.tensor([[left, top, right, bottom]])
        across = weights(box[:, [0, 2]], torch.tensor([53]), size, 60)  # a wider photo is in the batch
        down = weights(box[:, [1, 3]], torch.tensor([31]), size, 40)
        rows = torch.full((1, 40, 60, 3), 255, dtype=torch.uint8)
        rows[0, :31, :53] = torch.from_numpy(row)
        found = resampled(rows, across, down)[0].numpy()
        picture = Image.fromarray(row).resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
        assert np.abs(found - np.asarray(picture).astype(float)).max() <= 2


def test_colours_are_changed_as_by_numpy() -> None:
    photos = np.random.default_rng(1).integers(0, 256, (4, 9, 9, 3), dtype=np.uint8)
    u = np.random.default_rng(2).random((4, 3)).astype(np.float32)
    found = recoloured(torch.from_numpy(photos).float(), 0.3, torch.from_numpy(u)).to(torch.uint8).numpy()
    for photo, numbers, made in zip(photos, u, found, strict=True):
        assert np.abs(made.astype(int) - recolour(photo, 0.3, numbers)).max() <= 1


def test_photos_fit_a_gpu_that_has_the_memory(shown: DecodedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    free: list[float] = [1e9]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[0], 2e9))
    gpu = Machine(torch.device("cuda"), True, "a GPU")
    assert fits(shown, gpu)
    assert not fits(shown, Machine(CPU, True, "a CPU"))
    taken = sum(shown.row(i).nbytes for i in range(len(shown)))
    free[0] = 0.9 * taken / 0.3
    assert not fits(shown, gpu)
    free[0] = 1.1 * taken / 0.3
    assert fits(shown, gpu)
    shown.store = None  # they are decoded anew each time
    assert not fits(shown, gpu)
