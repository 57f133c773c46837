"""Files that are replaced: whole or as before, with the mode of the umask, and nothing is left beside them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart.core.files import replacing, write_json
from headstart.core.text import json_text
from headstart.errors import RunError


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
        "name": os.fsdecode(b"caf\xe9.png"), "große": "写真 \U0001f4f7", "lone \udcff": None,
    }  # fmt: skip
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_bytes().decode("utf-8")  # strictly
    found = json.loads(text, parse_constant=pytest.fail)
    assert found == {
        "nan": None, "all": [None, [None, 1.5, 10**30]], "numpy": None, "name": os.fsdecode(b"caf\xe9.png"),
        "große": "写真 \U0001f4f7", "lone \udcff": None,
    }  # fmt: skip
    assert "写真" in text
    assert json_text([1, float("nan")]) == "[1, null]"
