"""The run's folder: refuses to cost anyone anything, and can always be begun again."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.core.files import write_rows
from headstart.errors import RunError
from headstart.runs import folder as module
from headstart.runs.folder import CONTENTS, RunFolder, write_history
from headstart.training.config import TrainOptions
from headstart.training.linear_probe import ProbeStep
from headstart.training.trainer_state import EpochRow

ASKED = TrainOptions("photos", seed=4)


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_new_folder_holds_the_request(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "deep" / "run", ASKED)
    folder, options = RunFolder.open(tmp_path / "deep" / "run")
    assert options == ASKED
    assert not folder.finished
    assert names(folder.path) == {"request.json"}


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path, ASKED).path == tmp_path


def finished_run(path: Path) -> Path:
    RunFolder.create(path, ASKED)
    for name in CONTENTS:
        if name != "request.json":
            (path / name).write_text("old")
    return path


def test_a_run_is_not_replaced_unless_asked(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    with pytest.raises(RunError, match="exists") as caught:
        RunFolder.create(run, TrainOptions("other"))
    assert "`overwrite=True`" in caught.value.hint
    assert (run / "report.html").read_text() == "old"
    assert RunFolder.open(run)[1] == ASKED
    RunFolder.create(run, TrainOptions("other"), overwrite=True)
    assert names(run) == {"request.json"}
    assert RunFolder.open(run)[1] == TrainOptions("other")


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", ASKED).remember("auto", ["probe", "why"])
    with pytest.raises(RunError, match="resume"):
        RunFolder.create(tmp_path / "run", ASKED)
    RunFolder.create(tmp_path / "run", ASKED, overwrite=True)
    assert RunFolder(tmp_path / "run").recall("auto") is None


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("run_too", [False, True])
def test_a_folder_with_anything_else_is_never_touched(tmp_path: Path, overwrite: bool, run_too: bool) -> None:
    place = finished_run(tmp_path / "place") if run_too else tmp_path / "place"
    (place / "holiday").mkdir(parents=True)
    (place / "holiday" / "beach.jpg").write_bytes(b"dear")
    before = names(place)
    with pytest.raises(RunError, match="holiday"):
        RunFolder.create(place, ASKED, overwrite)
    assert names(place) == before
    assert (place / "holiday" / "beach.jpg").read_bytes() == b"dear"


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError):
            RunFolder.create(place, ASKED, overwrite=True)
    assert (tmp_path / "file").read_text() == "dear"


def test_a_name_too_long_for_the_disk_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be made"):
        RunFolder.create(tmp_path / ("long" * 100), ASKED)


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(RunError, match="cannot be made"):
        RunFolder.create(tmp_path / "locked" / "run", ASKED)


@pytest.mark.parametrize("survivors", range(len(CONTENTS)))
def test_killed_while_it_clears_a_run_it_can_be_cleared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    run = finished_run(tmp_path / "run")
    count, unlink = iter(range(100)), Path.unlink

    def killed(self: Path, missing_ok: bool = False) -> None:
        if next(count) == survivors:
            raise SystemExit("killed")
        unlink(self, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(SystemExit):
            RunFolder.create(run, ASKED, overwrite=True)
    folder = RunFolder(run)
    assert folder.finished == (survivors == 0)  # half a run must not pass for a whole one
    RunFolder.create(run, ASKED, overwrite=True)
    assert names(run) == {"request.json"}


def test_killed_before_the_request_was_written_it_can_be_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, value: object) -> None:
        path.with_name(".request.json.tmp").write_text("{")
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_json", killed)
        with pytest.raises(SystemExit):
            RunFolder.create(tmp_path / "run", ASKED)
    RunFolder.create(tmp_path / "run", ASKED)
    assert RunFolder.open(tmp_path / "run")[1] == ASKED


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"options": 3}', b'{"options": {"seed": 1}}', b"\xff"])
def test_nothing_to_resume_is_said(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "request.json").write_bytes(content)
    with pytest.raises(RunError):
        RunFolder.open(tmp_path)


def test_decisions_are_kept_until_the_run_is_closed(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", ASKED)
    assert folder.recall("auto") is None
    folder.remember("auto", ["probe", "why"])
    assert RunFolder(folder.path).recall("auto") == ["probe", "why"]
    folder.close()
    assert folder.recall("auto") is None
    assert names(folder.path) == {"request.json"}


def test_rows_are_what_csv_readers_read(tmp_path: Path) -> None:
    write_rows(tmp_path / "r.csv", ("a", "b"), [['x,"y"', 1], ["größe", ""]])
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["a", "b"], ['x,"y"', "1"], ["größe", ""]]


def test_history_has_a_line_per_strength_and_per_epoch(tmp_path: Path) -> None:
    write_history(
        tmp_path / "h.csv", [ProbeStep(0.1, 1.0, 0.5, 1.1, 0.4)], [EpochRow("lp-ft", 1, 0.9, 0.6, 1.0, 0.5, 1e-3, 2.0)]
    )
    with (tmp_path / "h.csv").open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["strategy"], first["l2"], first["epoch"], first["val_accuracy"]) == ("probe", "0.1", "", "0.4")
    assert (second["strategy"], second["l2"], second["epoch"], second["lr"]) == ("lp-ft", "", "1", "0.001")


def test_json_of_a_run_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"metrics\.json"):
        RunFolder(tmp_path).read_json("metrics.json")
    (tmp_path / "metrics.json").write_text(json.dumps({"a": 1}))
    assert RunFolder(tmp_path).read_json("metrics.json") == {"a": 1}


def test_what_is_recorded_goes_with_the_run_and_nothing_else_does(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    made = [run / "pets.onnx", run / "deep" / "why" / "1.png", tmp_path / "outside.onnx"]
    for file in made:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("made")
    module.record(made[:1])
    module.record(made)
    assert module.recorded_files(run) == ["deep/why/1.png", "pets.onnx"]
    RunFolder.create(run, ASKED, overwrite=True)
    assert names(run) == {"request.json"}
    assert made[2].read_text() == "made"


def test_a_record_cannot_name_files_outside_the_run_or_folders(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    (tmp_path / "beach.jpg").write_text("dear")
    (run / "explained").mkdir()
    (run / "link").symlink_to(tmp_path)
    (run / "holiday").mkdir()
    (run / "holiday" / "beach.jpg").write_text("dear")
    listed = ["../beach.jpg", str(tmp_path / "beach.jpg"), "link/beach.jpg", "holiday", "."]
    (run / "exports.json").write_text(json.dumps({"format": 1, "files": listed}))
    with pytest.raises(RunError, match="link"):
        RunFolder.create(run, ASKED, overwrite=True)
    (run / "link").unlink()
    RunFolder.create(run, ASKED, overwrite=True)
    assert (tmp_path / "beach.jpg").read_text() == (run / "holiday" / "beach.jpg").read_text() == "dear"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"files": 3}', b"\xff"])
def test_a_damaged_record_counts_as_none(tmp_path: Path, content: bytes) -> None:
    run = finished_run(tmp_path / "run")
    (run / "exports.json").write_bytes(content)
    RunFolder.create(run, ASKED, overwrite=True)
    assert names(run) == {"request.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_every_file_of_a_run_has_the_mode_that_the_umask_gives(
    train: Callable[..., Any], photos: Path, tmp_path: Path, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        assert train(photos).code == 0
    finally:
        os.umask(before)
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in (tmp_path / "run").iterdir() if p.is_file()} == {
        name: oct(mode) for name in CONTENTS
    }


def test_a_file_that_another_program_holds_open_is_said_before_anything_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.create(tmp_path / "run", TrainOptions("photos"))
    (folder.path / "report.html").write_text("whole")
    (folder.path / "history.csv").write_text("a")
    before = sorted(os.listdir(folder.path))
    rename = os.rename

    def held(source: Path, target: Path) -> None:
        if Path(source).name == "history.csv":  # as Windows answers
            raise PermissionError(13, "The process cannot access the file")
        rename(source, target)

    monkeypatch.setattr(os, "rename", held)
    with pytest.raises(RunError, match=r"history\.csv cannot be replaced: The process cannot access"):
        RunFolder.create(tmp_path / "run", TrainOptions("photos"), overwrite=True)
    assert sorted(os.listdir(folder.path)) == before
