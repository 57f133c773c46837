"""Numbers, lists and times in words."""

from __future__ import annotations

import pytest

from headstart.core.text import duration, listed


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.52, "4.5 s"), (45, "45 s"), (89.4, "89 s"), (96, "1.6 min"), (600, "10 min"), (5400, "1.5 h"), (36000, "10 h")],
    ids=str,
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_long_lists_are_cut_short() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
