"""The uncertainty of a ranking (the bootstrap against its theory), order and ties, and budgets."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import OptionError
from headstart.workflows.recommend.ranking import Budget, chances, order, resample
from headstart.workflows.recommend.text import answer


def test_the_spread_is_that_of_a_share() -> None:
    right = np.arange(400) % 10 < 8
    found = resample(right[None], np.arange(400), 0)
    assert found.accuracy.mean() == pytest.approx(0.8, abs=0.003)
    assert found.accuracy.std() == pytest.approx(np.sqrt(0.8 * 0.2 / 400), rel=0.06)
    low, high = found.band(0)
    assert (low, high) == pytest.approx((0.76, 0.84), abs=0.006)


def test_draws_are_paired() -> None:
    """Two that differ on two photos only: one is ahead unless both are missed, or never."""
    worse = np.arange(300) % 3 > 0
    better = worse.copy()
    better[[0, 3]] = True
    found = resample(np.stack([better, worse]), np.arange(300), 0)
    missed = (1 - 2 / 300) ** 300  # the chance that neither of the two is drawn: then they tie
    assert found.ahead(0, 1) == pytest.approx(1 - missed / 2, abs=0.02)
    assert found.ahead(1, 0) == pytest.approx(missed / 2, abs=0.02)
    assert found.ahead(0, 0) == 0.5


def test_what_belongs_together_is_drawn_together() -> None:
    right = np.repeat(np.arange(40) % 2 == 0, 10)
    alone = resample(right[None], np.arange(400), 0).accuracy.std()
    together = resample(right[None], np.repeat(np.arange(40), 10), 0).accuracy.std()
    assert together == pytest.approx(np.sqrt(10) * alone, rel=0.1)


def test_order_is_by_accuracy_and_of_equals_by_speed() -> None:
    assert order([0.8, 0.9, 0.8, 0.7], [5, 9, 4, 1]) == [1, 2, 0, 3]


@pytest.mark.parametrize(
    ("share", "words"),
    [(1.0, "in all"), (0.999, "in 99 of 100"), (0.62, "in 62 of 100"), (0.001, "in 1 of 100"), (0.0, "in none of the")],
)
def test_chances_in_words(share: float, words: str) -> None:
    assert chances(share) == f"{words} resamples"


def rows(*triples: tuple[str, float | None, float]) -> list[dict[str, object]]:
    return [{"backbone": name, "ahead": ahead, "ms": ms, "accuracy": 0.9} for name, ahead, ms in triples]


def test_a_clear_first_is_said() -> None:
    words, take = answer(rows(("big", None, 9.0), ("small", 0.97, 2.0)), 100)
    assert words == "As a probe big does best on these photos: it is ahead of small in 97 of 100 resamples."
    assert take == 0


def test_of_those_that_cannot_be_told_apart_the_fastest_is_taken() -> None:
    words, take = answer(rows(("big", None, 9.0), ("mid", 0.6, 4.0), ("small", 0.9, 2.0), ("tiny", 1.0, 1.0)), 100)
    assert words == (
        "big, mid and small cannot be told apart by these 100 photos (big is ahead of mid in 60 of 100 resamples, of "
        "small in 90 of 100 resamples): take small, the fastest of them (2 ms per photo)."
    )
    assert take == 2


def test_a_first_that_is_the_fastest_too() -> None:
    words, take = answer(rows(("small", None, 2.0), ("big", 0.6, 9.0)), 100)
    assert words.endswith("take small, which leads and is also the fastest of them (2 ms per photo).")
    assert take == 0


def test_one_alone() -> None:
    assert answer(rows(("big", None, 9.0)), 9) == (
        "big is the only one that was measured: a linear probe reaches 90.0%.", 0
    )  # fmt: skip


def test_reasons() -> None:
    budget = Budget(ms=5, mb=50, seconds=600)
    assert budget.too_large(50) == ""
    assert budget.too_large(94.2) == "94 MB, above 50 MB"
    assert budget.too_slow(5, 600) == ""
    assert budget.too_slow(7.25, 10) == "7.25 ms per photo, above 5 ms"
    assert budget.too_slow(4, 1200) == "20 min for all photos, above 10 min"
    assert Budget().too_large(1e9) == Budget().too_slow(1e9, 1e9) == ""


def test_nothing_may_cost_less_than_nothing() -> None:
    with pytest.raises(OptionError, match="`max_ms=0` must be above 0; `max_mb=-1` must be above 0"):
        Budget(ms=0, mb=-1)
