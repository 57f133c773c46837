"""What jobs do, called as the worker calls them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headstart.core.events import Event, Warned
from headstart.core.files import write_rows
from headstart.errors import OptionError
from headstart.workbench.tasks import TASKS


@pytest.fixture
def project(probe_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the run's own photos, with that run; in its folder, as a worker is."""
    folder = tmp_path / "pets"
    shutil.copytree(photos, folder)
    shutil.copytree(probe_run, folder / "runs" / "run-1")
    rows = [(f"{path.parent.name}/{path.name}", path.parent.name) for path in sorted(photos.rglob("*.png"))]
    write_rows(folder / "labels.csv", ["path", "label"], rows)
    monkeypatch.chdir(folder)
    return folder


def resumed(project: Path) -> list[str]:
    heard: list[Event] = []
    assert TASKS["resume"](project, project / "0001", {"run": "run-1"}, heard.append) == {"run": "run-1"}
    return [one.text for one in heard if isinstance(one, Warned)]


def test_resuming_says_what_was_relabelled_since(project: Path) -> None:
    assert resumed(project) == []
    lines = (project / "labels.csv").read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].replace(",cat", ",dog")
    (project / "labels.csv").write_text("\n".join([*lines[:-1], ""]), encoding="utf-8")  # one relabelled, one left out
    (warning,) = resumed(project)
    assert warning.startswith("2 photos of this training had another label, or none, when it began")


@pytest.mark.parametrize("kind", sorted(TASKS))
def test_a_job_that_makes_no_sense_is_refused_in_a_sentence(project: Path, kind: str) -> None:
    """Without a run where one is needed; with what the studio decides elsewhere."""
    options = {} if kind in ("resume", "forecast", "export") else {"out": "elsewhere"}
    with pytest.raises(OptionError, match=r"There is no run None|The studio decides 'out' itself|has a class"):
        TASKS[kind](project, project / "0001", options, lambda event: None)
