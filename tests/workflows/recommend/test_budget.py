"""Budgets: how they are written, what is over them."""

from __future__ import annotations

import pytest

from headstart.errors import OptionError
from headstart.workflows.recommend.budget import Budget, duration, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("10 min", 600), ("1h", 3600), ("1h30m", 5400), ("0.5h", 1800), ("45", 45), (7.5, 7.5)],
    ids=str,
)
def test_lengths_of_time(text: str | float, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "10x", "m", "-5m", "10m later"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(OptionError, match="is not a length of time"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.52, "4.5 s"), (45, "45 s"), (89.4, "89 s"), (96, "1.6 min"), (600, "10 min"), (5400, "1.5 h"), (36000, "10 h")],
    ids=str,
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_reasons() -> None:
    budget = Budget(ms=5, mb=50, seconds=600)
    assert budget.too_large(50) == ""
    assert budget.too_large(94.2) == "94 MB, above --max-mb 50"
    assert budget.too_slow(5, 600) == ""
    assert budget.too_slow(7.25, 10) == "7.25 ms per photo, above --max-ms 5"
    assert budget.too_slow(4, 1200) == "20 min for all photos, above --time 10 min"
    assert Budget().too_large(1e9) == Budget().too_slow(1e9, 1e9) == ""


def test_nothing_may_cost_less_than_nothing() -> None:
    with pytest.raises(OptionError, match="--max-ms 0 must be above 0; --max-mb -1 must be above 0"):
        Budget(ms=0, mb=-1)
