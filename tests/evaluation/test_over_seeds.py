"""Intervals over seeds against statsmodels, the analysis of variance, scipy, and simulations of what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation.over_seeds import accuracy_over_seeds, difference_over_seeds
from headstart.evaluation.statistics import wilson

MANY = 10**12  # a pool so large that it adds nothing
Runs = tuple[list[np.ndarray], list[np.ndarray]]


def redrawn(difficulty: np.ndarray, seeds: int, share: float, rng: np.random.Generator, arms: int = 1) -> Runs:
    """(photos, bool [arms, N]) of seeds that test on another part of one pool each."""
    tested = [rng.permutation(len(difficulty))[: round(share * len(difficulty))] for _ in range(seeds)]
    return tested, [rng.random((arms, len(ids))) < difficulty[ids] for ids in tested]


def error_of(low: float, high: float) -> float:
    """Standard error of an interval over photos alone."""
    return (high - low) / 2 / 1.959963984540054


def test_the_photos_part_is_the_cluster_robust_variance() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    ids, flags = redrawn(rng.random(400), 2, 0.5, rng, 2)  # two seeds: photos alone
    found = difference_over_seeds(ids, [f[0] for f in flags], [f[1] for f in flags], MANY)
    gaps = np.concatenate([f[0].astype(float) - f[1] for f in flags])
    fit = sm.OLS(gaps, np.kron(np.eye(2), np.ones((200, 1)))).fit(
        cov_type="cluster", cov_kwds={"groups": np.concatenate(ids), "use_correction": False}
    )
    variance = np.full(2, 0.5) @ fit.cov_params() @ np.full(2, 0.5) * 200 / 199
    each = np.unique(np.concatenate(ids), return_counts=True)[1] / 400
    variance += 2 * np.mean(each**2)  # the two photos that are added
    assert error_of(found.low, found.high) == pytest.approx(np.sqrt(variance))
    assert found.value == pytest.approx(gaps.mean())
    assert found.method == "95 % over photos only, 2 seeds"


def test_on_one_test_set_it_is_the_analysis_of_variance_of_photos_and_seeds() -> None:
    rng, seeds, photos = np.random.default_rng(3), 6, 150
    luck = rng.normal(0, 0.5, (seeds, 1))
    a, b = (rng.normal(size=(seeds, photos)) + rng.normal(size=photos) + luck * arm > 0 for arm in (1, -1))
    found = difference_over_seeds([np.arange(photos)] * seeds, list(a), list(b), MANY)
    gaps = a.astype(float) - b
    by_photo, by_seed = gaps.mean(0), gaps.mean(1)
    left = gaps - by_photo - by_seed[:, None] + gaps.mean()
    cells = (left**2).sum() / (photos - 1) / (seeds - 1) / photos / seeds
    over_photos, over_seeds = by_photo.var(ddof=1) / photos, by_seed.var(ddof=1) / seeds
    assert over_seeds > cells  # else this is no test
    variance = over_photos + over_seeds - cells + 2 / photos**2
    freedom = (seeds - 1) * (variance / over_seeds) ** 2
    from scipy import stats

    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    assert (found.low, found.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half))
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(gaps.mean()) / np.sqrt(variance), freedom))
    assert found.method == "95 % for the expected difference, 6 seeds"


def test_where_photos_say_all_it_is_students_t_over_seeds() -> None:
    from scipy import stats

    ids, none = np.arange(100_000), np.zeros(100_000, bool)
    shares = [0.5, 0.6, 0.7, 0.55]
    found = difference_over_seeds([ids] * 4, [ids < 100_000 * share for share in shares], [none] * 4, MANY)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(shares), scale=stats.sem(shares))
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))
    assert found.p_value == pytest.approx(stats.ttest_1samp(shares, 0).pvalue, rel=0.05)


def test_of_one_seed_it_is_nearly_wilsons() -> None:
    ours, theirs = accuracy_over_seeds([np.arange(200)], [np.arange(200) < 190], 900), wilson(190, 200)
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=2e-4), pytest.approx(theirs.high, abs=2e-4))
    assert ours.method == "95 % over photos only, 1 seed"


def test_a_photo_that_is_there_twice_counts_once() -> None:
    ids, flags = np.arange(60), np.arange(60) % 3 > 0
    once = accuracy_over_seeds([ids, ids], [flags, flags], MANY)
    twice = accuracy_over_seeds([np.repeat(ids, 2)] * 2, [np.repeat(flags, 2)] * 2, MANY)
    assert (twice.low, twice.high) == (pytest.approx(once.low, abs=3e-3), pytest.approx(once.high, abs=3e-3))


def test_another_seed_on_the_same_photos_adds_no_photos() -> None:
    ids, flags = np.arange(100), np.arange(100) < 80
    few, many = (accuracy_over_seeds([ids] * n, [flags] * n, MANY) for n in (3, 30))
    assert (many.low, many.high) == (pytest.approx(few.low, abs=1e-9), pytest.approx(few.high, abs=1e-9))


def test_a_small_pool_widens() -> None:
    rng = np.random.default_rng(1)
    ids, flags = redrawn(np.full(300, 0.8), 5, 0.15, rng)
    small, large = (accuracy_over_seeds(ids, [f[0] for f in flags], pool) for pool in (100, 10_000))
    assert small.high - small.low > large.high - large.low


def test_perfect_runs_and_equal_arms_keep_a_width() -> None:
    ids, right = [np.arange(50)] * 3, [np.ones(50, bool)] * 3
    perfect, equal = accuracy_over_seeds(ids, right, 200), difference_over_seeds(ids, right, right, 200)
    assert perfect.value == perfect.high == 1
    assert 0.9 < perfect.low < 0.94  # 50 of 50 is 92.9 to 100 %
    assert equal.low < -0.02 < 0.02 < equal.high
    assert equal.p_value == 1


def test_a_difference_changes_sign_with_its_arms() -> None:
    rng = np.random.default_rng(2)
    ids, flags = redrawn(rng.random(200), 3, 0.3, rng, 2)
    forth = difference_over_seeds(ids, [f[0] for f in flags], [f[1] for f in flags], 200)
    back = difference_over_seeds(ids, [f[1] for f in flags], [f[0] for f in flags], 200)
    assert (back.value, back.low, back.high) == pytest.approx((-forth.value, -forth.high, -forth.low))
    assert back.p_value == pytest.approx(forth.p_value)


@pytest.mark.parametrize(("seeds", "photos"), [(3, 300), (20, 300), (5, 1000)])
def test_it_holds_the_truth_where_students_t_does_not(seeds: int, photos: int) -> None:
    """Photos of different difficulty, one pool for all seeds."""
    from scipy import stats

    rng, ours, students, truth = np.random.default_rng(seeds), [], [], 0.8
    for _ in range(400):
        ids, flags = redrawn(rng.beta(1.6, 0.4, photos), seeds, 0.15, rng)
        runs = [f[0] for f in flags]
        found = accuracy_over_seeds(ids, runs, photos)
        ours.append(found.low <= truth <= found.high)
        error = stats.sem([r.mean() for r in runs])
        students.append(abs(found.value - truth) <= stats.t.ppf(0.975, seeds - 1) * error)
    assert np.mean(ours) >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 400)
    assert np.mean(students) < np.mean(ours)
    if seeds == 20:
        assert np.mean(students) < 0.9


def test_seeds_that_agree_by_luck_are_not_held_for_certain() -> None:
    """Three seeds with the same accuracies say little about the next: p is of few degrees of freedom."""
    from scipy import stats

    ids = [np.arange(n, n + 100) for n in (0, 100, 200)]
    a, b = [np.arange(100) % 10 < 9] * 3, [np.arange(100) % 10 < 8] * 3
    found = difference_over_seeds(ids, a, b, MANY)
    per_photo = np.var(a[0].astype(float) - b[0], ddof=1)
    variance = per_photo / 300 + 2 / 300**2
    freedom = 2 * (variance * 3 / (per_photo / 100)) ** 2
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.1 / np.sqrt(variance), freedom))
    assert found.low == pytest.approx(0.1 - 1.959963984540054 * np.sqrt(variance))


def test_equal_arms_are_rarely_called_different() -> None:
    rng, called = np.random.default_rng(9), []
    for _ in range(400):
        ids, flags = redrawn(rng.beta(2, 1, 300), 5, 0.15, rng, 2)
        p = difference_over_seeds(ids, [f[0] for f in flags], [f[1] for f in flags], 300).p_value
        called.append(p is not None and p < 0.05)
    assert np.mean(called) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_runs_that_do_not_fit_are_refused() -> None:
    ids, flags = np.arange(3), np.ones(3, bool)
    with pytest.raises(ValueError, match="no runs"):
        accuracy_over_seeds([], [], 9)
    with pytest.raises(ValueError, match="one number and one value per photo"):
        accuracy_over_seeds([ids], [flags[:2]], 9)
    with pytest.raises(ValueError, match="paired by seed and photo"):
        difference_over_seeds([ids], [flags], [flags, flags], 9)
