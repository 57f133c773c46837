"""Command lines for people: what they say arrives."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import pytest
from helpers.requests import FULL

from headstart.errors import OptionError
from headstart.reporting.command import command_line
from headstart.training.config import TrainOptions

OF_BASH = pytest.mark.skipif(sys.platform == "win32", reason="quoted for bash")


@pytest.mark.parametrize("options", [TrainOptions("p"), FULL, TrainOptions("p2", from_run="runs/x", fraction=0.25)])
def test_the_command_asks_for_exactly_this(
    options: TrainOptions, cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The command of the report, given to the real command line, arrives as the same request."""
    from headstart.training.plan import check_overrides
    from headstart.workflows.train import train as module

    arrived: list[TrainOptions] = []

    def stop(asked: TrainOptions, *_: object) -> None:
        arrived.append(asked)
        raise OptionError("far enough")

    monkeypatch.setattr(module, "prepare_together", stop)
    words = shlex.split(command_line("train", options.data, options.given()))
    assert words[:2] == ["headstart", "train"]
    assert "far enough" in cli(*words[1:]).err
    got = arrived[0]
    assert check_overrides(got.settings) == check_overrides(options.settings)
    assert {**got.to_json(), "settings": {}} == {**options.to_json(), "settings": {}}


@OF_BASH
def test_options_are_written_as_a_shell_reads_them() -> None:
    options = {
        "from_run": "runs/x", "quick": True, "overwrite": False, "out": None, "seed": 0, "shots": [5, 10], "arms": (),
        "data": {"": "a b", "cats": "c"}, "settings": {"lr": 0.1},
    }  # fmt: skip
    assert command_line("study", "my recipe", options) == (
        "headstart study 'my recipe' --from runs/x --quick --seed 0 --shots 5,10 --data 'a b' --data cats=c"
        " --set lr=0.1"
    )


@OF_BASH
def test_names_to_ignore_are_an_option_each() -> None:
    asked = {"ignore": ("a,b", "c d"), "class_folders": "inner"}
    assert command_line("train", "p", asked) == "headstart train p --ignore a,b --ignore 'c d' --class-folders inner"
    assert command_line("train", "p", {"ignore": "test"}) == "headstart train p --ignore test"
