"""Learning curves: known ones are found again, and bands mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation.learning_curve import FAR, LearningCurve, Points, fit, points

SIZES = np.array([40.0, 80.0, 160.0, 320.0, 640.0])
PHOTOS = 800


def law(n: np.ndarray, floor: float, scale: float, decay: float) -> np.ndarray:
    return floor + scale * n**-decay


def answers(error: np.ndarray, photos: int, rng: np.random.Generator) -> np.ndarray:
    """Right or wrong [1, S, N]: a photo that is hard at one size is mostly hard at the others."""
    hard = rng.random(photos)
    anew = rng.random((len(error), photos))
    by_chance = rng.random((len(error), photos)) < 0.3
    return (np.where(by_chance, anew, hard) >= error[:, None])[None].astype(np.float32)


def simulated(error: np.ndarray, photos: int = PHOTOS, seed: int = 0) -> Points:
    return points(SIZES, answers(error, photos, np.random.default_rng(seed)), np.arange(photos))


@pytest.fixture(scope="module")
def curve() -> LearningCurve:
    return fit(simulated(law(SIZES, 0.03, 0.8, 0.5)))


def test_bands_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)
    inside = {0.5: 0, 0.9: 0}
    for seed in range(100):
        last, share, decay = rng.uniform(0.03, 0.3), rng.random(), 0.5 * np.exp(0.6 * rng.standard_normal())
        scale = last * (1 - share) * SIZES[-1] ** decay
        found = fit(simulated(law(SIZES, last * share, scale, decay), seed=seed), drift=0.0, luck=0.0)
        truth = 1 - law(np.array([4.0 * PHOTOS]), last * share, scale, decay)[0]
        for level in inside:
            band = found.bands(np.array([4.0 * PHOTOS]), level)[0]
            inside[level] += band.low <= truth <= band.high
    assert 38 <= inside[0.5] <= 62  # 95 % of binomial(100, 0.5) lie from 40 to 60
    assert 84 <= inside[0.9] <= 97


def test_with_many_photos_a_known_curve_is_found_again() -> None:
    found = fit(simulated(law(SIZES, 0.05, 1.2, 0.5), photos=40_000), drift=0.0, luck=0.0)
    ahead = np.array([640.0, 2560.0, 10_240.0])
    bands = found.bands(ahead, 0.9)
    assert [band.value for band in bands] == pytest.approx(list(1 - law(ahead, 0.05, 1.2, 0.5)), abs=0.006)
    assert float(np.median(found.decay)) == pytest.approx(0.5, abs=0.1)


def test_more_photos_never_make_it_worse_and_bands_widen_with_distance(curve: LearningCurve) -> None:
    bands = curve.bands(np.array([800.0, 1600.0, 3200.0, 12_800.0]), 0.9)
    values, widths = [b.value for b in bands], [b.high - b.low for b in bands]
    assert values == sorted(values)
    relative = [width / (1 - value) for width, value in zip(widths, values, strict=True)]
    assert relative == sorted(relative)
    law_alone = curve.law(np.geomspace(40, 1e5, 20))
    assert (np.diff(law_alone, axis=1) <= 0).all()


def test_a_higher_level_is_a_wider_band_about_the_same_middle(curve: LearningCurve) -> None:
    ahead = np.array([800.0, 3200.0])
    for narrow, wide in zip(curve.bands(ahead, 0.8), curve.bands(ahead, 0.95), strict=True):
        assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high


def test_few_judged_photos_widen_the_band(curve: LearningCurve) -> None:
    ahead = np.array([3200.0])
    endless, some = curve.bands(ahead, 0.9)[0], curve.bands(ahead, 0.9, evaluated=500)[0]
    noise = 3.29 * np.sqrt(endless.value * (1 - endless.value) / 500)
    assert some.high - some.low == pytest.approx(np.hypot(endless.high - endless.low, noise), rel=0.1)


def test_where_a_size_stands_among_others_does_not_change_its_band() -> None:
    far = fit(simulated(law(SIZES, 0.03, 0.8, 0.5)), drift=0.3)
    alone = far.bands(np.array([3200.0]), 0.9)[0]
    among = far.bands(np.array([9000.0, 3200.0, 800.0]), 0.9)[1]
    assert (among.low, among.high) == pytest.approx((alone.low, alone.high), abs=0.004)
    assert alone.high - alone.low > 0.03


def test_what_wanders_goes_on_from_where_it_was() -> None:
    """The walk's steps add up: a far size knows of a near one."""
    far = fit(simulated(law(SIZES, 0.03, 0.8, 0.5)), drift=0.5)
    ahead = np.array([2560.0, 1280.0])  # e-folds of 1.39 and 0.69: the variance shared is half of the further one's
    strayed = np.log(far.errors(ahead) / far.law(ahead))
    assert strayed.std(0) == pytest.approx(0.5 * np.sqrt(np.log([4.0, 2.0])), rel=0.05)
    assert np.corrcoef(strayed.T)[0, 1] == pytest.approx(np.sqrt(0.5), abs=0.05)


def test_copies_count_as_one_photo() -> None:
    right = answers(law(SIZES, 0.05, 1.0, 0.5), 400, np.random.default_rng(1))
    once = points(SIZES, right, np.arange(400))
    twice = points(SIZES, np.repeat(right, 2, axis=2), np.repeat(np.arange(400), 2))
    apart = points(SIZES, np.repeat(right, 2, axis=2), np.arange(800))
    assert np.diag(twice.scatter) == pytest.approx(np.diag(once.scatter), rel=0.1)
    assert np.diag(apart.scatter) == pytest.approx(np.diag(once.scatter) / 2, rel=0.1)


def test_the_covariance_is_that_of_new_photos() -> None:
    """Against brute force: the same experiment, four thousand times."""
    error = law(SIZES, 0.05, 1.0, 0.5)
    rng = np.random.default_rng(2)
    again = np.stack([answers(error, 2000, rng).mean((0, 2)) for _ in range(4000)])
    angles = 2 * np.arcsin(np.sqrt(1 - again))
    mine = np.mean([simulated(error, 2000, seed).scatter for seed in range(20)], axis=0)
    assert mine == pytest.approx(np.cov(angles.T), rel=0.15)


@pytest.mark.parametrize("photos", [12, 60])
def test_no_mistake_at_all_is_no_certainty(photos: int) -> None:
    found = fit(points(SIZES[:2], np.ones((5, 2, photos)), np.arange(photos)))
    band = found.bands(np.array([float(SIZES[1])]), 0.9)[0]
    assert 1 - 6 / photos < band.low < 1 - 1 / photos
    assert band.high <= 1


def test_one_size_alone_gives_the_wide_band_of_the_prior() -> None:
    found = fit(points(SIZES[:1], np.ones((4, 1, 12)) * ([1.0] * 9 + [0.0] * 3), np.arange(12)))
    band = found.bands(np.array([4 * 40.0]), 0.9)[0]
    assert band.high - band.low > 0.2


def test_what_a_target_takes() -> None:
    found = fit(simulated(law(SIZES, 0.05, 1.2, 0.5), photos=40_000), drift=0.0, luck=0.0)
    needed = found.needed(0.92, 800, 0.9)  # 0.03 = 1.2 / sqrt(n) at 1600
    assert 800 < (needed.low or 0) <= (needed.value or 0) <= (needed.high or 0) < 4000
    assert needed.value == pytest.approx(1600, rel=0.15)
    assert found.needed(0.8, 800, 0.9).value == 800  # reached already
    beyond = found.needed(0.97, 800, 0.9)
    assert (beyond.value, beyond.low, beyond.high) == (None, None, None)
    assert beyond.reachable < 0.01


def test_what_lies_beyond_reach_has_no_number() -> None:
    found = fit(simulated(law(SIZES, 0.0, 0.3, 0.15), photos=40_000), drift=0.0, luck=0.0)
    late = 1 - float(law(np.array([3 * FAR * 800]), 0.0, 0.3, 0.15)[0])
    assert found.needed(late, 800, 0.9).value is None


def test_the_same_seed_gives_the_same_band() -> None:
    seen = simulated(law(SIZES, 0.05, 1.0, 0.5))
    first, second, other = (fit(seen, seed).bands(np.array([3200.0]), 0.9)[0] for seed in (3, 3, 4))
    assert first == second != other
