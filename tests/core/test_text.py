"""Numbers, lists and times in words."""

from __future__ import annotations

import pytest

from headstart.core.text import duration, listed, plural


@pytest.mark.parametrize(
    ("items", "most", "separator", "words"),
    [
        ([], 5, ", ", ""), (["a"], 5, ", ", "a"), (["a", "b"], 2, ", ", "a, b"),
        (["a", "b", "c"], 2, ", ", "a, b and 1 more"), (["a", "b", "c"], 2, "; ", "a; b; and 1 more"),
        (list("ab" * 1000), 1, ", ", "a and 1,999 more"),
    ],
)  # fmt: skip
def test_a_list_names_the_first_and_counts_the_rest(items: list[str], most: int, separator: str, words: str) -> None:
    assert listed(items, most, separator) == words


def test_a_noun_agrees_with_its_number() -> None:
    assert [plural(n, "photo") for n in (0, 1, 1200)] == ["0 photos", "1 photo", "1,200 photos"]
    assert plural(2, "label is", "labels are") == "2 labels are"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.52, "4.5 s"), (45, "45 s"), (89.4, "89 s"), (96, "1.6 min"), (600, "10 min"), (5400, "1.5 h"), (36000, "10 h")],
    ids=str,
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
