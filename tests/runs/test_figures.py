"""metrics.json, plan.json, request.json and exports.json with one value changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.earlier import STORED
from helpers.tampering import CHANGES, Place, changed, places, text_of

import headstart as hs
from headstart.errors import HeadstartError, RunError
from headstart.runs.figures import read_metrics, read_plan
from headstart.runs.folder import RunFolder, recorded_files
from headstart.runs.model_card import model_card


def stored(name: str) -> Any:
    return json.loads((STORED / "run" / name).read_text(encoding="utf-8"))


def places_of(name: str) -> list[Place]:
    return [place for place in places(stored(name)) if len(place) < 6]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED / "run", tmp_path / "run"))


def each(run: Path, name: str, use: Callable[[], object]) -> dict[tuple[Place, str], str]:
    """What ``use`` is refused with, by place and change; it raises nothing but headstart's errors."""
    found = {}
    for place in places_of(name):
        for change, value in CHANGES.items():
            (run / name).write_text(text_of(changed(stored(name), place, value)), encoding="utf-8")
            try:
                use()
            except HeadstartError as error:
                found[place, change] = str(error)
    assert found
    for key, told in found.items():
        assert name in told, (key, told)
        assert len(told) < 1200, (key, len(told))
    return found


@pytest.mark.slow
def test_every_field_of_metrics(run: Path) -> None:
    described, plan = stored("model.json"), stored("plan.json")
    found = each(run, "metrics.json", lambda: model_card("pets", described, read_metrics(run), plan))
    for place in (("val",), ("test", "accuracy", "value"), ("val", "report", "macro", "f1"), ("test", "confusion", 0)):
        assert {"null", "text", "nested", "deep", "negative"} - {"null"} <= {c for p, c in found if p == place}, place


def test_every_field_of_a_plan(run: Path) -> None:
    found = each(run, "plan.json", lambda: read_plan(run))
    for place in (("strategy",), ("lr",), ("epochs",), ("image_size",), ("boundary",)):
        assert {"null", "nested", "object", "deep"} <= {change for p, change in found if p == place}, place
    assert (("lr",), "nan") in found
    assert (("image_size",), "huge") in found


def test_every_field_of_a_request(run: Path) -> None:
    found = each(run, "request.json", lambda: RunFolder.open(run)[1].given())
    for place in (("options",), ("options", "backbone"), ("options", "seed"), ("options", "settings")):
        assert {"null", "nested", "deep"} <= {change for p, change in found if p == place}, place


@pytest.mark.parametrize("name", ["metrics.json", "plan.json", "request.json", "exports.json"])
@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"5", b'"x"', b"\xff", b"[" * 10**6, b"{" * 10, b"NaN"])
def test_a_file_that_is_no_object(run: Path, name: str, content: bytes) -> None:
    (run / name).write_bytes(content)
    if name == "exports.json":
        assert recorded_files(run) == []
        return
    read: dict[str, Callable[[], object]] = {
        "metrics.json": lambda: read_metrics(run), "plan.json": lambda: read_plan(run),
        "request.json": lambda: RunFolder.open(run),
    }  # fmt: skip
    with pytest.raises(RunError, match=name):
        read[name]()


@pytest.mark.parametrize("change", CHANGES)
def test_a_record_that_names_no_files(run: Path, change: str) -> None:
    if change != "deleted":
        (run / "exports.json").write_text(text_of({"files": ["x", CHANGES[change]]}), encoding="utf-8")
        assert all(isinstance(name, str) and (run / name).parent == run for name in recorded_files(run))


def test_a_record_leads_out_of_no_folder(run: Path, tmp_path: Path) -> None:
    (run / "link").symlink_to(tmp_path)
    names = ["/etc/passwd", "../../x", "..", ".", "", "a/../../x", "link/x", "a/..", "ok", "explained/1.png"]
    (run / "exports.json").write_text(text_of({"files": names}))
    assert recorded_files(run) == ["ok", "explained/1.png"]


def test_an_opened_run_says_which_file_is_wrong(run: Path) -> None:
    whole = (run / "metrics.json").read_text(encoding="utf-8")
    (run / "metrics.json").write_text(text_of(changed(json.loads(whole), ("test", "accuracy", "low"), "x")))
    with pytest.raises(RunError, match=r"metrics\.json: test\.accuracy\.low: expected float, got str"):
        hs.open_run(run)
    (run / "metrics.json").write_text(whole)
    (run / "plan.json").write_text(text_of(changed(stored("plan.json"), ("lr",), -1.0)))
    with pytest.raises(RunError, match=r"plan\.json: The plan cannot be: lr=-1\.0: must be above zero"):
        hs.open_run(run)
