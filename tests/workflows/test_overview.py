"""``headstart runs``: a table of what is in the files of runs, whole or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.runs.folder import RunFolder

Cli = Callable[..., Any]
Refused = Callable[..., None]


@pytest.fixture
def several(cli: Cli, probe_run: Path, photos: Path, starter: tuple[str, ...], tmp_path: Path) -> Path:
    """A probe, a fine-tuning, a run that was interrupted, one that is damaged, one whose request is not JSON."""
    folder = tmp_path / "runs"
    for name in ("a-probe", "d-interrupted", "e-damaged", "f-no-json"):
        shutil.copytree(probe_run, folder / name)
    words = ("--strategy", "finetune", "--epochs", 1, "--seed", 4)
    assert cli("train", photos, *words, *starter, "--out", folder / "study" / "arms" / "tuned", "-q").code == 0
    (folder / "d-interrupted" / "report.html").unlink()
    (folder / "e-damaged" / "metrics.json").write_text('{"val": 3}')
    (folder / "f-no-json" / "request.json").write_text("{")
    (folder / "notes").mkdir()
    return folder


def test_the_table_and_its_json_say_what_the_files_say(cli: Cli, several: Path) -> None:
    answer = cli("runs", several)
    assert (answer.code, answer.err) == (0, "")
    rows = {Path(row["run"]).name: row for row in json.loads(cli("runs", several, "--json").out)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "a-probe": "finished", "d-interrupted": "unfinished", "e-damaged": "broken", "f-no-json": "broken",
        "tuned": "finished",
    }  # fmt: skip
    for name, place in (("a-probe", several / "a-probe"), ("tuned", several / "study" / "arms" / "tuned")):
        test = json.loads((place / "metrics.json").read_text(encoding="utf-8"))["test"]["accuracy"]
        row = rows[name]
        assert (row["accuracy"], row["low"], row["high"]) == (test["value"], test["low"], test["high"])
        assert (row["photos"], row["backbone"], row["split"]) == (36, "starter", "test")
        assert f"{test['value']:.3f} ({test['low']:.3f} to {test['high']:.3f})" in answer.out
        made = json.loads((place / "model.json").read_text(encoding="utf-8"))["provenance"]["created"]
        assert row["created"][14:19] == made[14:19]  # minutes and seconds, whatever the zone
    differ = rows["tuned"]["differences"]
    plans = [json.loads((p / "plan.json").read_text()) for p in (several / "a-probe", several / "study/arms/tuned")]
    assert differ["seed"] == [plans[0]["seed"], 4]
    assert differ["boundary"] == ["end", "start"]
    assert all(pair == [plans[0][name], plans[1][name]] for name, pair in differ.items())
    assert rows["a-probe"]["differences"] == {}
    lines = answer.out.splitlines()
    below = lines[next(i for i, line in enumerate(lines) if "/tuned" in line) + 1]
    assert below.startswith("    boundary start (first: end)")
    assert "headstart train --resume" in answer.out
    assert "metrics.json" in answer.out


def test_no_runs(cli: Cli, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(cli("runs"), "runs is no folder", "headstart train")
    refused(cli("runs", tmp_path), "no run")


def test_python_has_the_same(probe_run: Path) -> None:
    (row,) = hs.list_runs(probe_run).rows
    assert row.state == "finished"
    assert row.accuracy == hs.open_run(probe_run).metrics["test"]["accuracy"]["value"]


def test_default_folders_are_numbered(
    cli: Cli, photos: Path, starter: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("train", photos, "--strategy", "probe", *starter)
    assert cli(*words, "-q").code == 0
    first = tmp_path / "runs" / "photos-starter-probe"
    before = (first / "request.json").read_bytes()
    (first / "report.html").unlink()
    (first / "state").mkdir()
    answer = cli(*words)
    said = " ".join(answer.err.split())
    assert "this run is runs/photos-starter-probe-2" in said
    assert "headstart train --resume runs/photos-starter-probe continues it" in said
    assert RunFolder(first.with_name("photos-starter-probe-2")).finished
    assert (first / "request.json").read_bytes() == before
    assert cli(*words, "-q", "--overwrite").code == 0  # the one without a number
    assert RunFolder(first).finished
    assert not first.with_name("photos-starter-probe-3").exists()
    assert cli(*words, "-q", "--out", first).code == 2


def test_a_run_of_folds_has_the_accuracy_out_of_fold(
    cli: Cli, photos: Path, starter: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "folds"
    assert cli("train", photos, "--folds", 3, *starter, "--out", out, "-q").code == 0
    row = json.loads(cli("runs", tmp_path / "runs", "--json").out)[0]
    folds = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["folds"]["accuracy"]
    assert (row["state"], row["split"]) == ("finished", "folds")
    assert (row["accuracy"], row["low"], row["high"]) == (folds["value"], folds["low"], folds["high"])
