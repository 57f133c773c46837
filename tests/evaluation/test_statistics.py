"""Intervals and tests against scipy and statsmodels, and against what they promise: coverage, pairing, honesty."""

from __future__ import annotations

import json

import numpy as np
import pytest

from headstart.evaluation.statistics import (
    balanced_accuracy,
    holm,
    mcnemar,
    paired_difference,
    wilson,
)


def flags(only_a: int, only_b: int, both: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Right/wrong of a and b on photos of these four kinds."""
    a = [True] * only_a + [False] * only_b + [True] * both + [False] * neither
    b = [False] * only_a + [True] * only_b + [True] * both + [False] * neither
    return np.array(a), np.array(b)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("right", "photos"), [(0, 10), (1, 1), (7, 10), (441, 450), (450, 450), (9999, 20000)])
def test_wilson_agrees_with_statsmodels(right: int, photos: int, level: float) -> None:
    from statsmodels.stats.proportion import proportion_confint

    found = wilson(right, photos, level)
    low, high = proportion_confint(right, photos, alpha=1 - level, method="wilson")
    assert found.value == right / photos
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))


@pytest.mark.parametrize(("right", "photos"), [(0, 10), (250, 300), (300, 300)])
def test_an_inflated_variance_is_that_of_fewer_photos(right: int, photos: int) -> None:
    from statsmodels.stats.proportion import proportion_confint

    found = wilson(right, photos, inflation=1.2)
    low, high = proportion_confint(right / 1.2, photos / 1.2, alpha=0.05, method="wilson")
    assert found.value == right / photos
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
    assert found.method == "Wilson 95 %, variance times 1.2"
    counts = np.array([right / 2, right / 2]), np.array([photos / 2, photos / 2])
    wide, plain = balanced_accuracy(*counts, inflation=2.0), balanced_accuracy(*(each / 2 for each in counts))
    assert (wide.value, wide.low, wide.high) == (plain.value, plain.low, plain.high)


def test_wilson_stays_within_zero_and_one_and_keeps_a_width_at_the_ends() -> None:
    perfect, hopeless = wilson(50, 50), wilson(0, 50)
    assert perfect.high == 1.0
    assert perfect.low is not None
    assert 0.92 < perfect.low < 0.94
    assert hopeless.low == 0.0
    assert hopeless.high == pytest.approx(1 - perfect.low)


@pytest.mark.parametrize(("right", "photos"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(right: int, photos: int) -> None:
    with pytest.raises(ValueError, match="correct predictions"):
        wilson(right, photos)


def test_wilson_covers_the_truth_about_as_often_as_it_says() -> None:
    truth, photos = 0.93, 120
    draws = np.random.default_rng(0).binomial(photos, truth, size=2000)
    intervals = [wilson(int(right), photos) for right in draws]
    covered = np.mean([i.low is not None and i.high is not None and i.low <= truth <= i.high for i in intervals])
    assert 0.93 <= covered <= 0.97


def test_an_interval_is_json_with_its_method() -> None:
    assert json.loads(json.dumps(wilson(9, 10).to_json())) == {
        "value": 0.9,
        "low": pytest.approx(0.5958, abs=1e-4),
        "high": pytest.approx(0.9821, abs=1e-4),
        "method": "Wilson 95 %",
    }


@pytest.mark.parametrize("kinds", [(0, 0, 5, 5), (1, 0, 5, 0), (5, 5, 10, 0), (10, 2, 80, 8), (3, 40, 50, 7)])
def test_mcnemar_agrees_with_statsmodels(kinds: tuple[int, int, int, int]) -> None:
    from statsmodels.stats.contingency_tables import mcnemar as theirs

    only_a, only_b, both, neither = kinds
    found = mcnemar(*flags(*kinds))
    expected = theirs([[both, only_a], [only_b, neither]], exact=True).pvalue if only_a + only_b else 1.0
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p_value == pytest.approx(expected)


def test_paired_difference_agrees_with_drawing_photos_one_by_one() -> None:
    a, b = flags(30, 10, 150, 10)
    found = paired_difference(a, b)
    rng = np.random.default_rng(5)
    gaps = a.astype(float) - b
    drawn = [gaps[rng.integers(0, len(gaps), len(gaps))].mean() for _ in range(4000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.006), pytest.approx(high, abs=0.006))
    assert found.p_value == mcnemar(a, b).p_value


def test_paired_difference_changes_sign_with_its_arms() -> None:
    a, b = flags(12, 3, 60, 5)
    forth, back = paired_difference(a, b), paired_difference(b, a)
    assert forth.value == pytest.approx(-back.value)
    assert forth.low is not None
    assert forth.low > 0
    assert back.high is not None
    assert back.high < 0


def test_flags_must_be_of_the_same_photos() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        mcnemar(np.array([True, False]), np.array([True]))
    with pytest.raises(ValueError, match="one flag per photo"):
        mcnemar(np.array([], dtype=bool), np.array([], dtype=bool))


@pytest.mark.parametrize("p_values", [[], [0.04], [0.01, 0.04, 0.03], [0.001, 0.001, 0.5, 0.2, 0.02], [0.9, 1.0]])
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    expected = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    assert holm(p_values) == pytest.approx(expected)


# -- balanced accuracy --


def test_balanced_accuracy_is_the_mean_recall_that_scikit_learn_computes() -> None:
    from sklearn.metrics import balanced_accuracy_score

    labels = np.repeat([0, 1, 2], [50, 9, 3])
    predicted = np.random.default_rng(0).integers(0, 3, len(labels))
    counts = np.bincount(labels, minlength=4)  # the fourth class has no photo
    found = balanced_accuracy(np.bincount(labels[labels == predicted], minlength=4), counts)
    assert found.value == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low < found.value < found.high <= 1


def test_of_one_class_it_is_wilsons_interval() -> None:
    for correct in (0, 7, 20):
        ours, theirs = balanced_accuracy(np.array([correct]), np.array([20])), wilson(correct, 20)
        assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high))


def test_the_ends_keep_a_width() -> None:
    perfect = balanced_accuracy(np.array([30, 3]), np.array([30, 3]))
    assert perfect.value == perfect.high == 1.0
    assert perfect.low is not None
    assert perfect.low < 0.75  # three photos of a class leave much open


def test_no_photos_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="no class has photos"):
        balanced_accuracy(np.zeros(3, int), np.zeros(3, int))


COVERED = {
    "one small class of three": ([30, 30, 3], [0.97, 0.97, 0.6]),
    "nearly perfect": ([30, 30, 3], [0.99, 0.99, 0.9]),
    "even": ([150, 150, 150], [0.95, 0.95, 0.95]),
    "a hard small class": ([200, 10], [0.98, 0.5]),
    "a lost small class": ([200, 10], [0.9, 0.1]),
    "five photos": ([500, 5], [0.99, 0.8]),
    "ten classes": ([100, 80, 60, 40, 30, 20, 15, 10, 7, 5], [0.95, 0.93, 0.9, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.4]),
    "a photo per class": ([1] * 100, [0.8] * 100),
    "a long tail": ([1, 2, 3, 1] * 25, np.linspace(0.2, 1, 100).tolist()),
    "1,200 classes": ([1] * 1200, np.linspace(0.2, 1, 1200).tolist()),
}


@pytest.mark.parametrize("case", COVERED)
def test_its_interval_holds_the_truth_as_often_as_it_says(case: str) -> None:
    photos, recall = (np.array(values) for values in COVERED[case])
    correct = np.random.default_rng(0).binomial(photos, recall, size=(1000, len(photos)))
    found = [balanced_accuracy(row, photos) for row in correct]
    held = np.mean([(one.low or 0) <= recall.mean() <= (one.high or 0) for one in found])
    assert held >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 1000)  # three standard errors of the simulation
