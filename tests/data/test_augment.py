"""Views and crops: inside the photo, of the right size, and functions of their numbers alone."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.data.augment import (
    LEVELS,
    Augmentation,
    View,
    crop_box,
    cut_out,
    draw_epoch,
    recolour,
    render,
    training_picture,
)

ROW = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
MIDDLE = ROW[2:18, 7:23]


@pytest.mark.parametrize("u", [np.zeros(4), np.ones(4) - 1e-9, *np.random.default_rng(1).random((20, 4))])
@pytest.mark.parametrize("smallest", [0.2, 0.5, 1.0])
def test_crops_lie_inside_the_photo(u: np.ndarray, smallest: float) -> None:
    left, top, right, bottom = crop_box(30, 20, smallest, u)
    assert 0 <= left < right <= 30 + 1e-9
    assert 0 <= top < bottom <= 20 + 1e-9
    assert (right - left) * (bottom - top) <= 600 + 1e-6


def test_crops_keep_their_area_where_they_fit() -> None:
    boxes = [crop_box(100, 100, 0.25, u) for u in np.random.default_rng(2).random((200, 4))]
    areas = np.array([(r - x) * (b - y) / 1e4 for x, y, r, b in boxes])
    assert areas.min() >= 0.2
    assert areas.max() <= 1
    assert areas.std() > 0.1


def test_view_0_is_the_centre_and_view_1_its_mirror_image() -> None:
    assert np.array_equal(render(ROW, 16, View(0), "ab" * 16), MIDDLE)
    assert np.array_equal(render(ROW, 16, View(1), "ab" * 16), MIDDLE[:, ::-1])


def test_without_mirroring_view_1_is_a_crop() -> None:
    crop = render(ROW, 16, View(1, mirror=False), "ab" * 16)
    assert not np.array_equal(crop, MIDDLE[:, ::-1])
    assert not np.array_equal(crop, MIDDLE)


def test_views_are_functions_of_digest_and_number() -> None:
    views = [render(ROW, 16, View(n), d) for n in (2, 3, 4) for d in ("ab" * 16, "cd" * 16)]
    again = [render(ROW, 16, View(n), d) for n in (2, 3, 4) for d in ("ab" * 16, "cd" * 16)]
    assert all(np.array_equal(a, b) for a, b in zip(views, again, strict=True))
    assert all(not np.array_equal(views[i], views[j]) for i in range(6) for j in range(i))


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    order, draws = draw_epoch(3, 1, 50)
    assert sorted(order) == list(range(50))
    assert draws.shape == (50, 8)
    assert np.array_equal(draw_epoch(3, 1, 50)[0], order)
    for other in (draw_epoch(3, 2, 50), draw_epoch(4, 1, 50)):
        assert not np.array_equal(other[0], order)
        assert not np.array_equal(other[1], draws)


@pytest.mark.parametrize("level", LEVELS)
def test_pictures_of_every_level_have_the_networks_size(level: str) -> None:
    for u in np.random.default_rng(4).random((8, 8)):
        picture = training_picture(ROW, 16, Augmentation.named(level), u)
        assert (picture.shape, picture.dtype) == ((16, 16, 3), np.uint8)


@pytest.mark.parametrize(("level", "mirrored"), [("none", False), ("flip", True)])
def test_levels_without_crops_show_the_centre(level: str, mirrored: bool) -> None:
    u = np.full(8, 0.1)  # below one half: mirror where that is allowed
    picture = training_picture(ROW, 16, Augmentation.named(level), u)
    assert np.array_equal(picture, MIDDLE[:, ::-1] if mirrored else MIDDLE)


def test_crop_never_mirrors() -> None:
    how = Augmentation.named("crop")
    low, high = np.full(8, 0.1), np.full(8, 0.1)
    high[4] = 0.9
    assert np.array_equal(training_picture(ROW, 16, how, low), training_picture(ROW, 16, how, high))
    light = Augmentation.named("light")
    shown, mirrored = training_picture(ROW, 16, light, high), training_picture(ROW, 16, light, low)
    assert np.array_equal(shown, mirrored[:, ::-1])


def test_each_level_crops_deeper_than_the_one_before() -> None:
    smallest = [Augmentation.named(level).smallest for level in ("flip", "mild", "light", "strong")]
    assert smallest == sorted(set(smallest), reverse=True)
    tightest = np.array([0.0, 0.5, 0.5, 0.5])  # the smallest area, square
    left, top, right, bottom = crop_box(100, 100, Augmentation.named("mild").smallest, tightest)
    assert (right - left) * (bottom - top) == pytest.approx(6000)


def test_crops_of_many_photos_are_those_of_each() -> None:
    u = np.random.default_rng(4).random((50, 4))
    width, height = np.random.default_rng(5).integers(20, 90, (2, 50))
    every = crop_box(width, height, 0.35, u)
    assert every.shape == (50, 4)
    for i in range(50):
        assert np.allclose(every[i], crop_box(int(width[i]), int(height[i]), 0.35, u[i]), rtol=1e-12)


def test_cut_out_of_the_whole_is_a_resize() -> None:
    flat = np.full((20, 30, 3), 77, np.uint8)
    assert np.array_equal(cut_out(flat, np.array([0, 0, 30, 20]), 8, False), np.full((8, 8, 3), 77))


def test_recolour_in_the_middle_changes_nothing_and_stays_in_range() -> None:
    same = recolour(ROW, 0.3, np.full(3, 0.5)).astype(int)
    assert np.abs(same - ROW).max() <= 1
    bright = recolour(ROW, 0.3, np.array([1.0, 0.5, 0.5]))
    assert bright.mean() > ROW.mean() * 1.1
    grey = recolour(ROW, 1.0, np.array([0.5, 0.5, 0.0]))
    assert np.abs(np.diff(grey.astype(int), axis=2)).max() <= 1
