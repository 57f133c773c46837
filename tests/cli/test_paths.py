"""Paths as they are typed: a leading ``~`` is the home folder and an empty one is an error, in every argument and
option that takes a path.
"""

from __future__ import annotations

import inspect
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from typer import Context
from typer.models import OptionInfo

from headstart.cli.app import app
from headstart.reporting.command import flag

Cli = Callable[..., Any]
Refused = Callable[..., None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Path, probe_run: Path, weights: Path) -> Path:
    """A home folder with photos, a run, weights and a recipe; the working folder is another one."""
    made, here = tmp_path / "home", tmp_path / "here"
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(made))
    shutil.copytree(photos, made / "photos")
    shutil.copytree(probe_run, made / "run")
    shutil.copy(weights, made / "w.safetensors")
    here.mkdir()
    monkeypatch.chdir(here)
    return made


QUICK = ("--backbone", "starter", "--strategy", "probe", "-q")


@pytest.mark.parametrize(
    "words",
    [
        ("train", "~/photos", *QUICK, "--weights", "~/w.safetensors", "--out=~/new"),
        ("train", "~/photos", "--strategy", "probe", "-q", "--from=~/run", "--out", "~/new"),
        ("predict", "~/run", "~/photos/cat", "~/photos/dog/*.png"),
        ("evaluate", "~/run", "~/photos", "-q"),
        ("explain", "~/run", "~/photos/cat/cat_00.png", "--out=~/new", "-q"),
        ("describe", "~/run"),
        ("check", "~/photos", "--quick", "--out=~/new.html", "--fix=~/new.csv", "-q"),
        ("forecast", "~/run", "--out=~/new.html", "-q"),
        ("recommend", "~/photos", "--backbones", "starter --weights ~/w.safetensors", "-q"),
        ("export", "~/run", "--format", "torch", "--photos", "~/photos/cat", "--out=~/new.pt2", "-q"),
    ],
    ids=lambda words: words[0],
)
def test_a_tilde_is_the_home_folder_everywhere(home: Path, cli: Cli, words: tuple[str, ...]) -> None:
    answer = cli(*words)
    assert answer.code == 0, answer
    assert os.listdir(".") == []
    if any("~/new" in word for word in words):
        assert list(home.glob("new*"))


def test_a_study_takes_its_recipe_photos_and_weights_from_home(home: Path, cli: Cli) -> None:
    recipe = "name: one\nimages:\n  mine:\narms:\n  probe: {strategy: probe, backbone: starter}\n"
    (home / "one.yaml").write_text(recipe)
    os.rename(home / "photos", home / "a=b")
    answer = cli("study", "~/one.yaml", "--data", "mine=~/a=b", "--weights", "~/w.safetensors", "--out=~/new", "-q")
    assert answer.code == 0, answer
    answer = cli("study", "~/one.yaml", "--data", "~/a=b", "--weights", "starter=~/w.safetensors", "--out=~/new2", "-q")
    assert answer.code == 0, answer
    assert os.listdir(".") == []


def test_paths_in_lists_are_expanded_and_called_as_they_are_written(
    home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "list.csv").write_text("path\n~/photos/cat/cat_00.png\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"~/photos/cat/cat_00.png\n")))
    for source in ("-", "~/list.csv"):
        answer = cli("predict", "~/run", source)
        assert answer.code == 0, answer
        assert answer.out.startswith("~/photos/cat/cat_00.png  cat")


def test_the_cache_may_be_below_home(home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", "~/cache")
    assert cli("check", "~/photos", "--quick", "--out=~/new.html", "-q").code == 0
    assert (home / "cache").is_dir()
    assert os.listdir(".") == []


def _takes_paths() -> list[tuple[str, list[str], str]]:
    """(command, words for its arguments before, the option or argument to leave empty) of everything that is a path."""
    found = []
    for command in app.registered_commands:
        assert command.callback
        name, before = command.name or command.callback.__name__, list[str]()
        for p in inspect.signature(command.callback).parameters.values():
            if p.annotation is Context:
                continue
            kind, info = get_args(p.annotation)[:2]
            if isinstance(info, OptionInfo):
                if Path in (kind, *get_args(kind)):
                    found.append((name, ["x"] * len(before), flag(p.name)))
            elif info.metavar not in ("REPO", "PATTERN"):
                found.append((name, list(before), info.metavar.strip("[]")))
                before.append("x")
    return found


def test_the_list_is_not_empty() -> None:
    assert len(_takes_paths()) > 25
    assert ("train", ["x"], "--weights") in _takes_paths()


@pytest.mark.parametrize(("name", "before", "empty"), _takes_paths())
@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_path_is_an_error_that_names_it(
    cli: Cli, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, before: list[str],
    empty: str, blank: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = [f"{empty}={blank}"] if empty.startswith("--") else [blank]
    rest = ["x"] if name in ("predict", "evaluate", "explain", "push") and empty == "RUN" else []
    refused(cli(name, *before, *words, *rest), f"{empty} is empty", "variable")
    assert [one for one in os.listdir(tmp_path) if one != "own-cache"] == []


@pytest.mark.parametrize("words", [("study", "animals", "--data", ""), ("export", "RUN", "--photos", "")])
def test_an_empty_path_in_a_repeated_option(
    cli: Cli, refused: Refused, probe_run: Path, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(cli(*(str(probe_run) if word == "RUN" else word for word in words)), f"{words[2]} is empty")
