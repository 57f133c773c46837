"""Words of commands: what is pasted arrives, and nothing else happens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.shell import positional, shell_word
from headstart.core.text import printable

WORDS = {
    "photos/cat.jpg": "photos/cat.jpg", "größe": "größe", "hf:owner/name": "hf:owner/name", "a b": "'a b'", "": "''",
    "a b; rm -rf ~": "'a b; rm -rf ~'", "~/x": "'~/x'", "$(id)`id`": "'$(id)`id`'", "a{b,c}[d]^!": "'a{b,c}[d]^!'",
    "two\nlines": r"$'two\nlines'", "\x1b]0;it's\x07": r"$'\x1b]0;it\'s\x07'", "\u202ex\\": r"$'\xe2\x80\xaex\\'",
    "caf\udce9 1": r"$'caf\xe9 1'",
}  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="words of bash")
@pytest.mark.parametrize(("word", "written"), WORDS.items(), ids=range(len(WORDS)))
def test_a_word_is_quoted_where_it_must_be(word: str, written: str) -> None:
    assert shell_word(word) == written


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("bash"), reason="words of bash")
@settings(max_examples=25, deadline=None)
@given(st.lists((st.binary(min_size=1).map(os.fsdecode) | st.text(min_size=1)).filter(lambda w: "\0" not in w)))
def test_bash_reads_the_words_that_were_meant(words: list[str]) -> None:
    command = " ".join(["printf", r"'%s\0'", "x", *map(shell_word, words)])
    assert printable(command) == command  # nothing in it acts on the terminal that it is copied from
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout.split(b"\0")[1:-1] == [os.fsencode(word) for word in words]


def test_a_file_that_is_named_like_an_option_is_an_argument() -> None:
    assert [positional(word) for word in ("--help", "-", "photos")] == ["./--help", "./-", "photos"]


@pytest.mark.parametrize(
    ("word", "written"),
    [
        (r"C:\photos\cat.jpg", r"C:\photos\cat.jpg"),
        (r"C:\My photos", r'"C:\My photos"'),
        ("it's", '"it\'s"'),
        ("", '""'),
        ("5,10", '"5,10"'),
        ("C:\\My photos\\", '"C:\\My photos\\\\"'),
        ('my "best" run', '"my \\"best\\" run"'),
        ("$(calc) it's", "'$(calc) it''s'"),
    ],
)
def test_windows_words_are_in_double_quotes(monkeypatch: pytest.MonkeyPatch, word: str, written: str) -> None:
    """To cmd, single quotes are letters."""
    monkeypatch.setattr("sys.platform", "win32")
    assert shell_word(word) == written
