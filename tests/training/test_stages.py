"""What a probe reads: the last stage, or all of them joined, as the photos of train and val say."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.training.stages import FEWEST, SCALES, choose_scale, column_scales

LAST = 30


def drawn(signal: str, n: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of three classes: 40 columns of earlier stages and 30 of the last, with the signal in one of them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    earlier, last = rng.normal(size=(n, 40)), rng.normal(size=(n, LAST))
    for where in signal.split("+"):
        (earlier if where == "earlier" else last)[:, :3] += 1.5 * np.eye(3)[labels]
    return np.concatenate([earlier, last], 1).astype(np.float32), labels


@pytest.mark.parametrize(
    ("signal", "scales"), [("earlier", SCALES[1:]), ("last", (0.0,)), ("last+earlier", SCALES[1:])]
)
def test_earlier_stages_are_read_where_they_say_something(signal: str, scales: tuple[float, ...]) -> None:
    features, labels = drawn(signal)
    found = choose_scale([features], LAST, labels, 3, np.arange(len(labels)), 0)
    assert found.scale in scales
    assert "240 photos" in found.reason


def test_noise_is_hardly_ever_chosen() -> None:
    chosen = []
    for seed in range(20):
        features, labels = drawn("last", 120, seed)
        chosen.append(choose_scale([features], LAST, labels, 3, np.arange(len(labels)), seed).scale)
    assert np.count_nonzero(chosen) <= 3


def test_photos_of_one_unit_do_not_speak_for_each_other() -> None:
    """Each photo four times, and earlier columns that know the photo but not the class."""
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3
    own = rng.normal(size=(60, 60))
    last = rng.normal(size=(60, LAST)) + np.pad(1.5 * np.eye(3)[labels], ((0, 0), (0, LAST - 3)))
    features = np.repeat(np.concatenate([4 * own, last], 1), 4, 0).astype(np.float32)
    features[:, 60:] += rng.normal(size=(240, LAST))
    labels, units = np.repeat(labels, 4), np.repeat(np.arange(60), 4)
    assert choose_scale([features], LAST, labels, 3, np.arange(240), 0).scale > 0
    assert choose_scale([features], LAST, labels, 3, units, 0).scale == 0


def test_too_few_photos_leave_the_last_stage() -> None:
    features, labels = drawn("earlier", 3 * (FEWEST - 1))
    found = choose_scale([features], LAST, labels, 3, np.arange(len(labels)), 0)
    assert found.scale == 0
    assert "too few" in found.reason


def test_of_many_photos_a_sample_decides() -> None:
    features, labels = drawn("earlier", 3000)
    found = choose_scale([features], LAST, labels, 3, np.arange(len(labels)), 0)
    assert found.scale > 0
    assert "999 photos" in found.reason  # 333 of each class
    parts = [features[:2500], features[2500:]]  # train and val
    assert choose_scale(parts, LAST, labels, 3, np.arange(len(labels)), 0) == found


def test_scales_are_of_the_earlier_columns() -> None:
    assert column_scales(0.5, 5, 2).tolist() == [0.5, 0.5, 0.5, 1.0, 1.0]
