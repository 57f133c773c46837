"""Messages of errors: one problem, what is listed below it, one hint, whatever they quote."""

from __future__ import annotations

import pickle

from headstart.errors import DataError, did_you_mean


def test_a_message_has_the_lines_that_it_was_given() -> None:
    error = DataError(
        "2 files of a\nb cannot\x1b[2J be used:", "Mend\nthem.", lines=["one\n.jpg: empty", "two.jpg: bad"]
    )
    assert str(error).split("\n") == [
        r"2 files of a\nb cannot\x1b[2J be used:", r"    one\n.jpg: empty", "    two.jpg: bad", r"  Mend\nthem."
    ]  # fmt: skip
    assert error.problem == r"2 files of a\nb cannot\x1b[2J be used:"


def test_it_arrives_from_another_process_as_it_was() -> None:
    error = DataError("a\nb", "hint", option="shots", lines=["x"])
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problem, again.option) == (str(error), error.problem, "shots")


def test_a_file_cannot_be_quoted_in_full() -> None:
    error = DataError("x" * 10**7, "y" * 10**7, lines=["z" * 10**6] * 5000)
    assert len(str(error)) < 1002 * 2100
    assert max(map(len, str(error).split("\n"))) <= 2004
    assert str(error).split("\n")[-2] == "    … and 4,000 more"


def test_suggestions_are_short() -> None:
    assert len(did_you_mean("x" * 10**5, ["x" * 10**5])) < 200
