"""Files of a headstart that is a little older, a little newer, or too new."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.earlier import (
    STORED,
    Answer,
    Earlier,
    Headstart,
    assert_same_weights,
    change,
    files_below,
)
from safetensors import safe_open
from safetensors.torch import save_file

import headstart as hs
from headstart.errors import RunError

LATER = {"added_later": {"a": 1}}


@pytest.mark.parametrize(
    ("file", "within"),
    [
        pytest.param("plan.json", ""),
        pytest.param("plan.json", "reasons"),
        pytest.param("metrics.json", ""),
        pytest.param("request.json", ""),
        pytest.param("request.json", "options"),
        pytest.param("model.json", ""),
        pytest.param("model.json", "architecture"),
        pytest.param("model.json", "preprocessing"),
        pytest.param("model.json", "provenance"),
    ],
)
def test_a_run_with_a_key_more_opens(earlier: Earlier, tmp_path: Path, file: str, within: str) -> None:
    path = earlier("photos", "run")
    change(path / file, within=within, **LATER)
    run = hs.open_run(path)
    assert run.plan.strategy == "probe"
    (answer,) = hs.predict(path, [tmp_path / "photos" / "cat" / "cat-00.png"])
    assert answer.label == "cat"
    assert hs.resume(path, quiet=True).metrics == run.metrics


@pytest.mark.parametrize(
    ("file", "within"),
    [
        pytest.param("request.json", ""),
        pytest.param("request.json", "options"),
        pytest.param("state/plan.json", ""),
    ],
)
def test_an_interrupted_training_with_a_key_more_goes_on(
    earlier: Earlier, recorded: dict[str, Any], file: str, within: str
) -> None:
    run = earlier("photos", "finetune-interrupted")
    change(run / file, within=within, **LATER)
    hs.resume(run, quiet=True)
    assert_same_weights(run, STORED / "finetune-interrupted-resumed.safetensors", recorded)


def test_a_loop_whose_state_says_more_goes_on(earlier: Earlier, recorded: dict[str, Any]) -> None:
    run = earlier("photos", "finetune-interrupted")
    state = run / "state" / "finetune" / "last.safetensors"
    with safe_open(state, framework="pt") as opened:
        facts = json.loads(opened.metadata()["facts"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
    save_file(tensors, state, metadata={"facts": json.dumps({**facts, **LATER})})
    hs.resume(run, quiet=True)
    assert_same_weights(run, STORED / "finetune-interrupted-resumed.safetensors", recorded)


def test_a_plan_that_lacks_a_setting_has_its_default(earlier: Earlier) -> None:
    path = earlier("run")
    change(path / "plan.json", without="views")
    plan = hs.open_run(path).plan
    assert isinstance(plan.views, int)
    assert plan.strategy == "probe"


def test_an_interrupted_training_whose_plan_lacks_a_setting_goes_on(earlier: Earlier, recorded: dict[str, Any]) -> None:
    run = earlier("photos", "finetune-interrupted")
    change(run / "state" / "plan.json", without="views")
    hs.resume(run, quiet=True)
    assert_same_weights(run, STORED / "finetune-interrupted-resumed.safetensors", recorded)


def test_a_request_that_lacks_an_option_has_its_default(earlier: Earlier, recorded: dict[str, Any]) -> None:
    run = earlier("photos", "finetune-interrupted")
    for option in ("log", "allow_leakage", "on_bad"):
        change(run / "request.json", within="options", without=option)
    hs.resume(run, quiet=True)
    assert_same_weights(run, STORED / "finetune-interrupted-resumed.safetensors", recorded)


@pytest.mark.parametrize(
    ("file", "within"),
    [
        pytest.param("comparison.json", ""),
        pytest.param("comparison-request.json", ""),
        pytest.param("comparison-request.json", "options"),
        pytest.param("arms/4-per-class-probe-0.json", ""),
    ],
)
def test_an_interrupted_comparison_with_a_key_more_goes_on(
    earlier: Earlier, again: Callable[..., Answer], file: str, within: str
) -> None:
    path = earlier("photos", "comparison")
    for name in ("report.html", "arms/4-per-class-probe-1.json"):  # as if it had been stopped
        (path / name).unlink()
    change(path / file, within=within, **LATER)
    said = again("comparison")
    assert said.code == 0, said.err
    assert (path / "report.html").exists()


def test_a_study_whose_trainings_have_keys_more_is_gone_on_with(study: Path, again: Callable[..., Answer]) -> None:
    run = study / "arms" / "few-2-0"
    for file in ("plan.json", "metrics.json", "model.json", "request.json"):
        change(run / file, **LATER)
    change(run / "request.json", within="options", **LATER)
    change(study / "study.json", **LATER)
    said = again("study")
    assert said.code == 0, said.err


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("plan.json"),
        pytest.param("metrics.json"),
        pytest.param("model.json"),
    ],
)
def test_a_run_of_a_newer_format_is_told_to_be_one(earlier: Earlier, file: str) -> None:
    path = earlier("run")
    change(path / file, format=99)
    with pytest.raises(RunError, match="newer than this headstart") as told:
        hs.open_run(path)
    assert file in told.value.problem
    assert "Update headstart" in told.value.hint


@pytest.mark.parametrize(
    "file",
    [pytest.param("request.json"), pytest.param("state/plan.json")],
)
def test_an_interrupted_training_of_a_newer_format_is_left_as_it_is(
    earlier: Earlier, headstart: Headstart, file: str
) -> None:
    run = earlier("photos", "finetune-interrupted")
    change(run / file, format=99)
    before = files_below(run)
    said = headstart("train", "--resume", run)
    assert said.code == 2
    assert said.err.count("headstart: ") == 1
    assert "newer than this headstart" in said.err
    assert files_below(run) == before


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("comparison-request.json"),
        pytest.param("arms/4-per-class-probe-0.json"),
    ],
)
def test_a_comparison_of_a_newer_format_is_left_as_it_is(
    earlier: Earlier, again: Callable[..., Answer], file: str
) -> None:
    path = earlier("photos", "comparison")
    (path / "report.html").unlink()
    change(path / file, format=99)
    before = files_below(path / "arms")
    said = again("comparison")
    assert said.code == 2
    assert "newer than this headstart" in said.err
    assert files_below(path / "arms") == before
