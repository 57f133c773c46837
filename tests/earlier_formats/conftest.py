"""What headstart 0.1.0 left on disk, laid out for a test as if it had been made there."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import said_by
from helpers.earlier import (
    INTERRUPTED,
    STORED,
    TEXT,
    Answer,
    Earlier,
    Headstart,
)


@pytest.fixture
def headstart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Headstart:
    """``headstart("train", folder)`` is ``python -m headstart train folder``, in this process."""

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["headstart", *map(str, words)])
        return Answer(*said_by(lambda: runpy.run_module("headstart", run_name="__main__"), capsys))

    return run


@pytest.fixture
def earlier(tmp_path: Path) -> Earlier:
    """``earlier("photos", "run")`` lays these out in ``tmp_path``, as if they had been made there, and gives the place
    of the last.
    """

    def lay_out(*names: str) -> Path:
        for name in names:
            if (STORED / name).is_dir():
                shutil.copytree(STORED / name, tmp_path / name)
            elif (STORED / f"{name}.zip").exists():
                with zipfile.ZipFile(STORED / f"{name}.zip") as packed:
                    packed.extractall(tmp_path)
            else:
                shutil.copy(STORED / name, tmp_path / name)
        for path in tmp_path.rglob("*"):
            if path.suffix in TEXT and "@HERE@" in (text := path.read_text(encoding="utf-8")):
                path.write_text(text.replace("@HERE@", tmp_path.as_posix()), encoding="utf-8")
        return tmp_path / names[-1].removesuffix("-interrupted" if names[-1] not in INTERRUPTED else "")

    return lay_out


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """What the earlier headstart was told and what it answered."""
    return json.loads((STORED / "recorded.json").read_text(encoding="utf-8"))


@pytest.fixture
def again(recorded: dict[str, Any], tmp_path: Path, headstart: Headstart) -> Callable[..., Answer]:
    """``again("study")`` gives the command with which the earlier headstart made the study."""

    def give(name: str, *more: str) -> Answer:
        return headstart(*(word.replace("@HERE@", tmp_path.as_posix()) for word in recorded["commands"][name]), *more)

    return give


@pytest.fixture
def study(earlier: Earlier) -> Path:
    """A finished study, with its photos and its recipe."""
    return earlier("photos", "recipe.yaml", "study")
