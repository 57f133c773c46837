"""Files that are replaced: whole or as before, with the mode of the umask, and nothing is left beside them. Cells of a
CSV and names of files, whatever they are made of.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.files import (
    Rows,
    file_name,
    guarded,
    read_rows,
    replacing,
    unguarded,
    write_json,
    write_rows,
    write_text,
)
from headstart.core.text import json_text
from headstart.errors import RunError


def of_bytes(name: bytes) -> str:
    """A name that need not be UTF-8, as Linux gives it."""
    return name.decode("utf-8", "surrogateescape")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_has_the_mode_of_the_umask_whoever_writes_it(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "new") as temporary:
            temporary.unlink()  # as a library that writes through a temporary file of its own
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a bug"), KeyboardInterrupt()])
def test_where_writing_fails_the_old_file_stays_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "file").write_text("old")

    def write() -> None:
        with replacing(tmp_path / "file") as draft:
            draft.write_text("half of the")
            raise error

    with pytest.raises(RunError if isinstance(error, OSError) else type(error)):
        write()
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_folders_are_made_and_a_place_that_cannot_be_is_said(tmp_path: Path) -> None:
    with replacing(tmp_path / "deep" / "down" / "file") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "deep" / "down" / "file").read_bytes() == b"new"
    with (
        pytest.raises(RunError, match="could not be written"),
        replacing(tmp_path / "deep" / "down" / "file" / "below"),
    ):
        raise AssertionError("not reached")


def test_json_is_json_whatever_the_numbers_and_names(tmp_path: Path) -> None:
    value = {
        "nan": float("nan"), "all": [float("inf"), (-float("inf"), 1.5, 10**30)], "numpy": np.float64("nan"),
        "name": of_bytes(b"caf\xe9.png"), "große": "写真 \U0001f4f7", "lone \udcff": None,
    }  # fmt: skip
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_bytes().decode("utf-8")  # strictly
    found = json.loads(text, parse_constant=pytest.fail)
    assert found == {
        "nan": None, "all": [None, [None, 1.5, 10**30]], "numpy": None, "name": of_bytes(b"caf\xe9.png"),
        "große": "写真 \U0001f4f7", "lone \udcff": None,
    }  # fmt: skip
    assert "写真" in text
    assert json_text([1, float("nan")]) == "[1, null]"


def test_json_is_valid_utf_8_whatever_a_file_is_called(tmp_path: Path) -> None:
    value = {"path": "caf\udce9", "other": ["\ud800", "写真"]}
    write_json(tmp_path / "file.json", value)
    text = (tmp_path / "file.json").read_bytes().decode("utf-8")
    assert "写真" in text
    assert json.loads(text) == value


# -- CSV --

CELLS = {
    "=1+1": "'=1+1", "+49": "'+49", "-rf": "'-rf", "@sum": "'@sum", "\tx": "'\tx", "\rx": "'\rx",
    "'=1": "''=1", "''": "'''", "'": "'", "'tis": "'tis", "a=b": "a=b", "": "", "\n=1": "\n=1",
}  # fmt: skip
ANY = st.text(st.characters(exclude_categories=())) | st.from_regex(re.compile(r"['=+\-@\t\r]{0,4}.?", re.DOTALL))
OF_FILES = st.binary().map(of_bytes) | st.text()
"""Text as the system gives it: bytes that are not UTF-8 are lone surrogates."""


def plain(cell: str) -> str:
    """The rule for readers, as docs/reference/formats.md states it."""
    return cell[1:] if cell[0:1] == "'" and cell[1:2] and cell[1:2] in "=+-@\t\r'" else cell


@pytest.mark.parametrize(("text", "cell"), CELLS.items())
def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(text: str, cell: str) -> None:
    assert guarded(text) == cell
    assert unguarded(cell) == plain(cell) == text
    assert guarded(Path("-x", text)) == f"'-x/{text}".rstrip("/").replace("/", os.sep)
    assert guarded(-1.5) == -1.5  # a figure is none


@given(ANY)
def test_no_cell_is_a_formula_and_every_cell_is_read_as_it_was(text: str) -> None:
    assert guarded(text)[:1] not in tuple("=+-@\t\r")
    assert plain(guarded(text)) == unguarded(guarded(text)) == text


@given(st.lists(st.lists(ANY, min_size=2, max_size=2)))
def test_rows_of_a_csv_are_read_as_they_were(rows: list[list[str]]) -> None:
    out = io.StringIO()
    writer = Rows(out)
    for row in rows:
        writer.write(row)
    read = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert [[plain(cell) for cell in row] for row in read] == rows


@given(st.lists(st.lists(OF_FILES, min_size=2, max_size=2)))
def test_a_table_in_a_file_keeps_names_that_are_not_utf_8(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("table") / "a.csv"
    write_rows(path, ("path", "=label"), rows)
    assert read_rows(path) == [["path", "=label"], *rows]
    assert path.read_bytes().startswith(b"path,'=label\n")  # no byte order mark, lines as on Linux


def test_json_in_a_file_keeps_them_too(tmp_path: Path) -> None:
    value = {"path": of_bytes(b"caf\xe9\x1b"), "label": "größe \ud800"}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value


# -- names --

NAMES = {
    "cat": "cat", "my photo (1)": "my photo (1)", "größe 写真": "größe 写真", "$x": "$x",
    "a/b": r"a-b-\w{8}", "../../etc/passwd": r"etc-passwd-\w{8}", "two\nlines": r"two-lines-\w{8}",
    "CON": r"_CON-\w{8}", "nul.tar": r"_nul.tar-\w{8}", "COM1": r"_COM1-\w{8}", "console": "console",
    "ends.": r"ends-\w{8}", "-rf": r"rf-\w{8}", ".hidden": r"hidden-\w{8}", "": r"_-\w{8}", "?": r"_-\w{8}",
    "\u202egpj": r"gpj-\w{8}", "caf\udce9": r"caf-\w{8}", "e\u0301": r"é-\w{8}", "a-0123abcd": r"a-0123abcd-\w{8}",
}  # fmt: skip


@pytest.mark.parametrize(("text", "name"), NAMES.items())
def test_a_file_is_named_after_any_text(text: str, name: str) -> None:
    assert file_name(text) == name if "\\w" not in name else re.fullmatch(name, file_name(text))


@given(st.lists(ANY, unique=True, max_size=8), st.integers(20, 120))
def test_names_are_safe_and_different_texts_have_different_names(texts: list[str], most: int) -> None:
    names = [file_name(text, most) for text in texts]
    assert len(set(names)) == len(names)
    for name in names:
        assert 0 < len(name.encode()) <= most
        assert not re.search(r'[\0-\x1f\x7f-\x9f<>:"/\\|?*]', name)
        assert not name.startswith(("-", ".", " "))
        assert not name.endswith((".", " "))


def test_a_name_cannot_pass_for_one_that_was_made_of_another() -> None:
    assert file_name(file_name("a/b")) != file_name("a/b")
    assert file_name("x" * 200 + "1") != file_name("x" * 200 + "2")


def test_windows_is_given_time_to_let_go_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries, replace = [], Path.replace

    def held(path: Path, target: Path) -> Path:
        tries.append(path)
        if len(tries) < 3:
            raise PermissionError(13, "Access is denied")
        return replace(path, target)

    def held_for_ever(path: Path, target: Path) -> Path:
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(Path, "replace", held)
    write_text(tmp_path / "a.txt", "new")
    assert (len(tries), (tmp_path / "a.txt").read_text()) == (3, "new")
    monkeypatch.setattr(Path, "replace", held_for_ever)
    with pytest.raises(RunError, match=r"a\.txt is read-only, or open in another program") as told:
        write_text(tmp_path / "a.txt", "newer")
    assert "Close it there" in told.value.hint
    assert (tmp_path / "a.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]
