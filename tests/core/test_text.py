"""Numbers, lists and times in words; text from outside as it is shown."""

from __future__ import annotations

import json
import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.text import (
    brief,
    duration,
    first_line,
    first_lines,
    joined,
    json_text,
    line,
    listed,
    numbered,
    plural,
    printable,
    quoted,
)


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


SEEN = {
    "two\nlines\r\t": r"two\nlines\r\t",
    "\x1b[31mred\x1b]0;title\x07\x7f\x9b": r"\x1b[31mred\x1b]0;title\x07\x7f\x9b",
    "\u202egpj.exe\u2066\u200f": r"\u202egpj.exe\u2066\u200f",
    "a\u200bb\ufeff\u00ad\u2028": r"a\u200bb\ufeff\xad\u2028",
    "caf\udce9 \ud800": r"caf\xe9 \ud800",
    "tag\U000e0041": r"tag\U000e0041",
    "joined\u200dletters \u200d": r"joined\u200dletters \u200d",
    "é\u200d\u200dé": r"é\u200d\u200dé",
    "C:\\new photos\\t.jpg": "C:\\new photos\\t.jpg",
    "größe 写真 📷 👨‍👩‍👧 می‌خواهم 97.8\u202f%": "größe 写真 📷 👨‍👩‍👧 می‌خواهم 97.8\u202f%",
}


@pytest.mark.parametrize(("text", "shown"), SEEN.items(), ids=range(len(SEEN)))
def test_what_would_hide_or_act_on_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


ANY = st.text(st.characters(exclude_categories=()))
"""Lone surrogates, too: a file name that is not UTF-8 has some."""


@given(ANY)
def test_nothing_unseen_is_left_and_nothing_changes_twice(text: str) -> None:
    shown = printable(text)
    assert {unicodedata.category(char) for char in shown if char not in "\u200c\u200d"}.isdisjoint(
        {"Cc", "Cf", "Cs", "Zl", "Zp"}
    )
    assert printable(shown) == shown
    shown.encode()  # whatever it was, it can be written


@given(st.lists(ANY, min_size=1, max_size=5))
def test_a_list_of_lines_has_as_many_lines(lines: list[str]) -> None:
    assert len(joined(lines).split("\n")) == len(lines)


@given(ANY.map(lambda text: text * 2000))
def test_what_a_message_quotes_is_short(text: str) -> None:
    for shown, most in ((brief(text), 120), (quoted(text), 12 * 120), (line(text), 2000)):
        assert len(shown) <= most
        assert printable(shown) == shown


def test_both_ends_of_a_long_text_are_told() -> None:
    assert brief("while  parsing\n" + "x" * 10**7 + " line 3", 30) == "while parsing x…xxxxxxx line 3"


@given(st.dictionaries(ANY, ANY | st.integers() | st.none() | st.lists(ANY)))
def test_json_says_the_same_and_shows_what_it_says(value: object) -> None:
    for indent, ascii_only in ((None, False), (1, False), (1, True)):
        text = json_text(value, indent, ascii_only)
        assert json.loads(text) == value
        assert printable(text, keep="\n") == text
        assert text.isascii() or not ascii_only
    assert json_text({"größe": "写真"}, None) == '{"größe": "写真"}'
    assert json_text([math.nan, -math.inf, 1.5], None) == "[null, null, 1.5]"


def test_a_name_that_is_taken_gets_a_number() -> None:
    names: dict[str, int] = {}
    for _ in range(3):
        names[numbered("image.jpg", names)] = 0
    assert list(names) == ["image.jpg", "image.jpg (2)", "image.jpg (3)"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("it is wrong.\nmore"), "it is wrong"), (ValueError("\n  second line"), "second line"),
        (RuntimeError(), "RuntimeError"), (AssertionError("  "), "AssertionError"),
    ],
)  # fmt: skip
def test_an_error_without_words_says_its_name(error: BaseException, said: str) -> None:
    assert first_line(error) == said


def test_lists_are_cut_with_the_number_of_the_others() -> None:
    lines = [str(n) for n in range(1_241)]
    assert first_lines(lines, 7) == [*lines[:7], "… and 1,234 more"]
    assert first_lines(lines[:7], 7) == lines[:7]
    assert first_lines([], 7) == []
