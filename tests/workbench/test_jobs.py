"""Jobs: states, stopping, and processes that die."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.core.events import EpochEnd, Finding, Message, Progress, Table, Warned
from headstart.core.files import write_json
from headstart.core.locks import try_lock
from headstart.errors import OptionError, RunError
from headstart.workbench import jobs as jobs_module
from headstart.workbench import tasks
from headstart.workbench.jobs import Jobs, Spare
from headstart.workbench.project import Project
from headstart.workbench.worker import Reporter, as_json, work


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose jobs start no process."""
    Project.create(tmp_path / "pets").store.close()
    return tmp_path / "pets"


@pytest.fixture
def jobs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setattr(jobs_module, "_spawn", lambda *_: None)
    return Jobs(folder)


def run(jobs: Jobs, monkeypatch: pytest.MonkeyPatch, task: Callable[..., Any]) -> dict[str, Any]:
    """What a job came to whose task is this function."""
    monkeypatch.setitem(tasks.TASKS, "toy", task)
    number = jobs.start("toy", {"a": 1})
    here = os.getcwd()
    try:
        work(jobs.folder / f"{number:04d}")
    finally:
        os.chdir(here)
    return jobs.about(number)


def test_a_job_ends_with_its_result(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def task(project: Path, job: Path, options: dict[str, Any], listener: Any) -> dict[str, Any]:
        listener(Message(f"in {Path.cwd().name}"))
        return {"options": options, "project": project.name}

    ended = run(jobs, monkeypatch, task)
    assert (ended["state"], ended["result"]) == ("done", {"options": {"a": 1}, "project": "pets"})
    assert jobs.events(1, 0)[0] == [{"is": "message", "text": "in pets"}]
    assert jobs.active() is None


def test_errors_of_the_user_and_defects_are_told_apart(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: Any) -> Any:
        raise OptionError("That is wrong.", "Do this.")

    def defect(*_: Any) -> Any:
        raise KeyError("x")

    ended = run(jobs, monkeypatch, refused)
    assert (ended["state"], ended["error"], ended["hint"]) == ("failed", "That is wrong.", "Do this.")
    ended = run(jobs, monkeypatch, defect)
    assert ended["error"] == "A defect in headstart: KeyError."
    assert "KeyError: 'x'" in capsys.readouterr().err  # which is log.txt in a process of its own


def test_a_stop_reaches_the_next_event(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def task(project: Path, job: Path, options: dict[str, Any], listener: Any) -> dict[str, Any]:
        listener(Message("one"))
        jobs.stop(int(job.name))
        time.sleep(0.15)
        listener(Message("two"))
        raise AssertionError("it goes on")

    assert run(jobs, monkeypatch, task)["state"] == "stopped"


def test_one_job_at_a_time(jobs: Jobs) -> None:
    jobs.start("train", {})
    assert jobs.about(1)["state"] == "starting"
    with pytest.raises(OptionError, match="is running"):
        jobs.start("check", {})


def test_a_dead_process_is_not_taken_for_running(jobs: Jobs, folder: Path) -> None:
    jobs.start("train", {})
    held = try_lock(jobs.folder / "0001" / "lock")
    write_json(jobs.folder / "0001" / "process.json", {"pid": 0})
    assert jobs.about(1)["state"] == "running"
    assert held is not None
    held.release()
    assert jobs.about(1)["state"] == "interrupted"
    assert jobs.start("train", {}) == 2
    write_json(jobs.folder / "0002" / "job.json", {"kind": "train", "options": {}, "started": time.time() - 3600})
    assert jobs.about(2)["state"] == "interrupted"  # it never began


def test_a_job_that_does_not_exist(jobs: Jobs) -> None:
    with pytest.raises(RunError, match="no job 7"):
        jobs.about(7)
    assert jobs.events(7, 0) == ([], 0)
    assert jobs.recent() == []


def test_half_a_line_of_events_waits(jobs: Jobs) -> None:
    jobs.start("train", {})
    file = jobs.folder / "0001" / "events.jsonl"
    file.write_text('{"is": "message", "text": "a"}\n{"is": "mess')
    found, offset = jobs.events(1, 0)
    assert [event["text"] for event in found] == ["a"]
    with file.open("a") as more:
        more.write('age", "text": "b"}\n')
    assert [event["text"] for event in jobs.events(1, offset)[0]] == ["b"]


def test_progress_is_thinned_and_its_end_is_not(tmp_path: Path) -> None:
    reporter = Reporter(tmp_path)
    for done in range(1001):
        reporter(Progress("reading", done, 1000))
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert len(lines) < 100
    assert lines[-1]["done"] == 1000


def test_every_event_can_be_written() -> None:
    class Row:
        def __init__(self) -> None:
            self.epoch, self.val_loss = 1, float("nan")

    events = [
        Message("a"), Warned("b"), Table("t", ("x",), ((1,),)), Progress("p", 1, 2), EpochEnd(Row()),
        Finding("label", "warning", "c"),
    ]  # fmt: skip
    told = [json.loads(json.dumps(as_json(event), allow_nan=False)) for event in events]
    assert [one["is"] for one in told] == ["message", "warning", "table", "progress", "epoch", "finding"]
    assert told[4]["val_loss"] is None


@pytest.mark.slow
def test_a_spare_process_takes_one_job(folder: Path, until: Callable[..., Any]) -> None:
    jobs, spare = Jobs(folder), Spare()
    try:
        spare.prepare()
        first = spare.process
        spare.prepare()
        assert spare.process is first
        number = jobs.start("resume", {"run": "../elsewhere"}, spare)
        ended = until(lambda: (about := jobs.about(number))["state"] == "failed" and about)
        assert "no run" in ended["error"]
        assert first is not None
        assert first.wait(30) == 0
        assert spare.give(folder) is False  # it is used up
    finally:
        spare.stop()


def test_a_job_that_was_begun_by_halves_is_none(jobs: Jobs) -> None:
    (jobs.folder / "0001").mkdir(parents=True)
    assert jobs.recent() == []
    (jobs.folder / "0001" / "x").touch()
    with pytest.raises(OptionError, match="started just now"):
        jobs.start("train", {})


def test_the_last_of_a_kind(jobs: Jobs) -> None:
    assert jobs.last("check") is None
    for kind, state in (("check", "done"), ("check", "failed"), ("train", "done")):
        number = jobs.start(kind, {})
        write_json(jobs.folder / f"{number:04d}" / "end.json", {"state": state})
    assert (jobs.last("check"), jobs.last("train"), jobs.last("export")) == (1, 3, None)
