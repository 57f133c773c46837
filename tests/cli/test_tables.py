"""Tables on the command line: the options that say what a column is, for every command that takes DATA."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.errors import OptionError
from headstart.runs.folder import RunFolder

Cli = Callable[..., Any]
ASKED = ("--path-column", "Datei", "--label-column", "Klasse", "--split-column", "Teil", "--group-column", "none")


@pytest.fixture
def table(photos: Path, tmp_path: Path) -> Path:
    """A table of the photos, in another folder, with columns that cannot be told by their names, and ids for names."""
    path = tmp_path / "tables" / "list.csv"
    path.parent.mkdir()
    rows = ["Datei,Klasse,Ort,Teil"]
    for label in sorted(folder.name for folder in photos.iterdir()):
        for i, photo in enumerate(sorted((photos / label).iterdir())):
            split = ("train", "train", "val", "test")[i % 4]
            rows.append(f"{photo.relative_to(photos).with_suffix('').as_posix()},{label},{'ab'[i // 2 % 2]},{split}")
    path.write_text("\n".join(rows))
    return path


@pytest.mark.slow
def test_every_option_goes_through_to_the_run_and_back(
    train: Cli, cli: Cli, table: Path, photos: Path, tmp_path: Path
) -> None:
    where = ("--images", photos, "--suffix", ".png")
    answer = train(table, *ASKED, *where)
    assert answer.code == 0, answer
    told = answer.err.replace("\n", " ")
    assert "columns of list.csv: Datei as path, Klasse as label, Teil as split; not used: Ort ('a' and 'b')" in told
    request = RunFolder.open(tmp_path / "run")[1]
    assert (request.label_column, request.images, request.suffix) == ("Klasse", str(photos), ".png")
    again = cli("evaluate", tmp_path / "run", table, *ASKED, *where, "--json")
    assert json.loads(again.out)["split"] == "test", again
    exported = cli("export", tmp_path / "run", "--format", "torch")  # finds the photos of the run again
    assert exported.code == 0, exported


@pytest.mark.parametrize("command", ["train", "check", "recommend", "forecast", "compare"])
def test_a_column_that_is_not_there(cli: Cli, starter: tuple[str, ...], table: Path, command: str) -> None:
    words = () if command == "recommend" else starter
    answer = cli(command, table, "--label-column", "Klase", "--device", "cpu", *words)
    assert answer.code == 2
    assert "has no column 'Klase' (--label-column); its columns: Datei, Klasse, Ort, Teil" in answer.err
    assert "Did you mean 'Klasse'?" in answer.err


def test_what_may_be_meant_is_asked_with_the_option(cli: Cli, table: Path, photos: Path) -> None:
    answer = cli("train", table, "--images", photos)
    assert answer.code == 2
    assert "several columns that may hold the labels: Klasse, Ort" in answer.err
    assert "Name it: --label-column Klasse." in answer.err


def test_check_carries_the_options_to_the_next_command(cli: Cli, table: Path, photos: Path, tmp_path: Path) -> None:
    answer = cli("check", table, "--quick", *ASKED, "--images", photos, "--out", tmp_path / "c.html")
    told = answer.err.replace("\n", " ")
    assert (
        f"--path-column Datei --label-column Klasse --split-column Teil --group-column none --images {photos}" in told
    )


def test_in_python(table: Path, photos: Path) -> None:
    found = hs.photos(table, label_column="Klasse", images=photos)
    assert set(found.counts) == {"cat", "dog", "owl"}
    with pytest.raises(OptionError, match="photos takes no option 'lable_column'"):
        hs.photos(table, lable_column="x")  # type: ignore[call-arg]
