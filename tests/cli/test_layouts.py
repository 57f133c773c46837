"""Folders as people have them, through the command line: what is trained on, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import headstart as hs
from headstart.data.split_table import read_splits
from headstart.errors import HeadstartError

Cli = Callable[..., "object"]
QUICK = ("--strategy", "probe", "--image-size", "32", "--precision", "float32")


def trained(run: Path) -> Counter[tuple[str, str]]:
    return Counter((row.split, row.label) for row in read_splits(run / "splits.csv"))


@pytest.mark.parametrize("data", ["", "  ", "\t"])
@pytest.mark.parametrize(
    "command", ["train {}", "check {} --quick", "compare {}", "recommend {}", "forecast {}", "evaluate RUN {}"]
)
def test_an_empty_data_is_refused_by_every_command(
    cli: Cli, refused: Callable, probe_run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, command: str, data: str
) -> None:
    monkeypatch.chdir(photos)
    words = [data if word == "{}" else str(probe_run) if word == "RUN" else word for word in command.split()]
    refused(cli(*words), "is empty: it must name something")


def test_an_empty_data_is_refused_in_python(probe_run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    calls = (hs.train, hs.check, hs.compare, hs.recommend, hs.forecast, hs.photos, lambda d: hs.evaluate(probe_run, d))
    for call in calls:
        with pytest.raises(HeadstartError, match="is empty: it must name something"):
            call(" ")


def test_a_run_in_the_data_is_no_class(
    cli: Cli, class_folder: Callable, starter: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(class_folder(per_class=12))
    assert cli("train", ".", *QUICK, *starter).code == 0
    (run,) = Path("runs").iterdir()
    assert cli("explain", run, "cat/cat_000.png", "dog/dog_000.png", "--out", "why").code == 0
    assert cli("check", ".", "--quick", "--fix", "clean.csv").code == 0
    again = cli("train", ".", *QUICK, *starter, "--overwrite")
    assert again.code == 0
    assert f"left out, because headstart wrote them: {run.as_posix()}/, why/" in again.err
    assert {label for _, label in trained(run)} == {"cat", "dog"}


def test_the_options_that_answer_reach_the_training_and_its_commands(
    cli: Cli, refused: Callable, class_folder: Callable, starter: tuple[str, ...], tmp_path: Path
) -> None:
    root = class_folder(splits=("amazon", "webcam"), per_class=8)
    shutil.copytree(root / "amazon", root / "extra")
    refused(cli("train", root, *QUICK, *starter), "which level are the classes", "--class-folders inner")
    options = ("--class-folders", "inner", "--ignore", "extra", "--ignore", "*_007.png")
    answer = cli("train", root, "--out", tmp_path / "run", *options, *QUICK, *starter)
    assert answer.code == 0, answer.err
    assert sum(trained(tmp_path / "run").values()) == 28
    assert "classes are the folders inside amazon/ and webcam/: cat, dog" in answer.err
    request = json.loads((tmp_path / "run" / "request.json").read_text())["options"]
    assert (request["ignore"], request["class_folders"]) == (["extra", "*_007.png"], "inner")
    command = json.loads((tmp_path / "run" / "model.json").read_text())["provenance"]["command"]
    assert "--ignore extra --ignore '*_007.png' --class-folders inner" in command
    page = ("--out", tmp_path / "page.html")
    assert json.loads(cli("check", root, *options, "--quick", *page, "--json").out)["photos"] == 28
    assert cli("evaluate", tmp_path / "run", root, *options).out.count("on 28 photos") == 1
    assert cli("explain", tmp_path / "run", root / "amazon" / "cat" / "cat_000.png").code == 0
    refused(
        cli("check", root, "--ignore", "extre", "--quick", *page, "--overwrite"),
        "--ignore extre",
        "Did you mean 'extra'",
    )


def test_most_of_a_class_that_cannot_be_read_stops_train_and_check_alike(
    cli: Cli, refused: Callable, class_folder: Callable, starter: tuple[str, ...], tmp_path: Path
) -> None:
    root = class_folder(per_class=12)
    for number in range(8):
        (root / "cat" / f"cat_{number:03d}.png").write_bytes(b"<!doctype html>")
    answer = cli("train", root, *QUICK, *starter, "--out", tmp_path / "run")
    words = ("Most photos of 1 class cannot be read (8 of 12 of 'cat')", "8 files: not an image (HTML or XML inside)")
    refused(answer, *words, "--fix clean.csv")
    assert not (tmp_path / "run").exists()
    checked = cli("check", root, "--quick", "--out", tmp_path / "page.html", "--fix", tmp_path / "clean.csv")
    assert all(word in checked.out for word in words), checked.out
    assert cli("check", root, "--quick", "--out", tmp_path / "page.html", "--overwrite").code == 1
    assert cli("train", tmp_path / "clean.csv", *QUICK, *starter, "--out", tmp_path / "run").code == 0
