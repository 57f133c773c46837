"""Batches: every photo once per epoch, none alone, each a function of (seed, epoch, number)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.core.array_store import RowStore
from headstart.data.augment import Augmentation
from headstart.data.images import centre, read_photos
from headstart.training.batches import ArraySource, MapSource, PictureSource, as_tensor, batch_bounds


@pytest.mark.parametrize("photos", [1, 2, 3, 16, 17, 33, 100, 1025])
@pytest.mark.parametrize("size", [2, 16, 32])
def test_bounds_cover_all_and_leave_no_photo_alone(photos: int, size: int) -> None:
    bounds = batch_bounds(photos, size)
    assert [i for first, last in bounds for i in range(first, last)] == list(range(photos))
    sizes = [last - first for first, last in bounds]
    assert max(sizes) <= size
    if size > 2:
        assert min(sizes) > 1 or photos == 1
    assert max(sizes) - min(sizes) <= 1


def array_source(n: int = 21) -> ArraySource:
    return ArraySource(np.arange(2.0 * n, dtype=np.float32).reshape(n, 2), np.arange(n), seed=4)


def picture_source(
    tmp_path: Path, draw_photo: Callable[..., Path], level: str = "strong", n: int = 11
) -> PictureSource:
    rng = np.random.default_rng(0)
    paths = [draw_photo(tmp_path / f"{i}.png", i, rng) for i in range(n)]
    return PictureSource(read_photos(paths, 32), np.arange(n), 32, Augmentation.named(level), seed=4)


def test_an_epoch_shows_every_row_once_with_its_label() -> None:
    source = array_source()
    batches = list(source.batches(0, 4))
    labels = torch.cat([y for _, y in batches])
    assert sorted(labels.tolist()) == list(range(21))
    assert torch.equal(torch.cat([x for x, _ in batches])[:, 0], labels * 2.0)


def test_epochs_and_seeds_differ_in_order() -> None:
    first, second = ([y for _, y in array_source().batches(e, 4)] for e in (0, 1))
    assert not torch.equal(torch.cat(first), torch.cat(second))


@pytest.mark.parametrize("start", [1, 2, 3])
def test_pictures_started_in_the_middle_are_those_of_the_whole_epoch(
    tmp_path: Path, draw_photo: Callable[..., Path], start: int
) -> None:
    source = picture_source(tmp_path, draw_photo)
    whole, rest = list(source.batches(2, 3)), list(source.batches(2, 3, start))
    assert len(rest) == len(whole) - start
    for (x, y), (again_x, again_y) in zip(whole[start:], rest, strict=True):
        assert torch.equal(x, again_x)
        assert torch.equal(y, again_y)


def test_pictures_vary_with_the_epoch_and_are_themselves_without_augmentation(
    tmp_path: Path, draw_photo: Callable[..., Path]
) -> None:
    source = picture_source(tmp_path, draw_photo)
    views = [{int(y): x for xs, ys in source.batches(e, 4) for x, y in zip(xs, ys, strict=True)} for e in (0, 1)]
    assert not any(torch.equal(views[0][i], views[1][i]) for i in range(11))
    plain = picture_source(tmp_path / "plain", draw_photo, "none")
    for xs, ys in plain.batches(0, 4):
        for x, y in zip(xs, ys, strict=True):
            assert np.array_equal(x.numpy(), centre(plain.pixels.row(int(y)), 32))


def test_maps_come_from_all_views_with_the_right_photo(tmp_path: Path) -> None:
    stores = tuple(RowStore(f"view{v}", "float32", tmp_path) for v in range(3))
    for v, store in enumerate(stores):
        with store.writing() as writer:
            for i in range(30):
                writer.add(f"d{i}", np.float32([i, v]))
    source = MapSource(stores, tuple(f"d{i}" for i in range(30)), np.arange(30), seed=1)
    x, y = (torch.cat(parts) for parts in zip(*source.batches(0, 8), strict=True))
    assert torch.equal(x[:, 0].long(), y)
    assert set(x[:, 1].tolist()) == {0, 1, 2}
    assert torch.equal(
        torch.cat([x for x, _ in source.batches(0, 8, 2)]), x[-sum(b - a for a, b in batch_bounds(30, 8)[2:]) :]
    )


def test_uint16_rows_are_the_bits_of_bfloat16() -> None:
    values = torch.tensor([1.0, -2.5, 3e38, 0.0]).to(torch.bfloat16)
    rows = values.view(torch.int16).numpy().view(np.uint16)
    assert torch.equal(as_tensor(rows), values)
