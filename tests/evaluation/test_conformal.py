"""Sets of labels: the quantile against brute force, coverage against simulation, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from headstart.errors import OptionError
from headstart.evaluation.conformal import check_coverage, label_set, least_probability, photos_needed, rank


@pytest.mark.parametrize("share", [0.07, 0.57, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [0, 1, 5, 18, 19, 20, 99, 450])
def test_the_rank_is_the_least_that_covers_enough(count: int, share: float) -> None:
    """A new score is equally likely to fall into each of the count + 1 gaps; in whole numbers, hundredths."""
    hundredths = round(100 * share)
    brute = next(k for k in range(1, count + 2) if 100 * k >= hundredths * (count + 1))
    assert rank(count, share) == brute


def test_the_threshold_is_that_of_sorted_scores() -> None:
    own = np.sort(np.random.default_rng(0).random(50))
    scores = np.sort(1 - own)
    for coverage in (0.5, 0.8, 0.9, 0.95):
        wanted = scores[int(np.ceil(51 * coverage)) - 1]
        assert 1 - least_probability(own, coverage) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_fewer_photos_than_needed_rule_nothing_out(coverage: float, needed: int) -> None:
    assert photos_needed(coverage) == needed
    own = np.linspace(0.3, 0.9, needed)
    assert least_probability(own, coverage) == 0.3
    assert least_probability(own[1:], coverage) == 0.0
    assert label_set(np.array([0.2, 0.0, 0.8]), 0.0) == [2, 0, 1]


def test_sets_hold_the_answer_and_every_label_above_the_threshold() -> None:
    assert label_set(np.array([0.2, 0.5, 0.3]), 0.3) == [1, 2]
    assert label_set(np.array([0.2, 0.5, 0.3]), 0.9) == [1]
    assert label_set(np.array([0.4, 0.4, 0.2]), 0.9) == [0]  # of equals the first, as the label is


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_simulated_coverage_is_what_the_theory_says(coverage: float) -> None:
    """Over draws of val and test the bare sets cover k / (n + 1) on average, whatever the model: here one that is
    wrong about its probabilities.
    """
    rng = np.random.default_rng(1)
    n, found = 60, []
    for _ in range(400):
        p = rng.dirichlet(np.ones(5), size=n + 200) ** 2
        p /= p.sum(1, keepdims=True)
        truth = np.sqrt(p).cumsum(1) / np.sqrt(p).sum(1, keepdims=True)
        labels = (truth < rng.random((len(p), 1))).sum(1).clip(max=4)
        own = p[np.arange(len(p)), labels]
        found.append((own[n:] >= least_probability(np.sort(own[:n]), coverage)).mean())
    wanted = rank(n, coverage) / (n + 1)
    assert np.mean(found) == pytest.approx(wanted, abs=4 * np.std(found) / np.sqrt(len(found)))
    assert wanted >= Fraction(str(coverage))


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.5, 95.0, float("nan")])
def test_a_coverage_that_is_no_share_is_refused(coverage: float) -> None:
    with pytest.raises(OptionError, match="not between 0 and 1"):
        check_coverage(coverage)
