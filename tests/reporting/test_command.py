"""Command lines for people: what they say arrives."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from headstart.errors import OptionError
from headstart.reporting.command import command_line
from headstart.training.config import TrainOptions

FULL = TrainOptions(
    "my photos/",
    out="runs/it's here",
    backbone="resnet50",
    weights="w e i.pth",
    cut="layer2.2",
    head="mlp:8,4",
    dropout=(0.5, 0.3),
    strategy="partial",
    boundary="layer3",
    val=0.2,
    test=0.1,
    shots=7,
    seed=3,
    mean=(0.49140098, 0.5, 0.5),
    std=(0.1, 0.2, 0.3),
    device="cpu",
    on_bad="fail",
    settings={"lr": 0.01, "augment": "none", "image_size": 64},
)


@pytest.mark.parametrize("options", [TrainOptions("p"), FULL, TrainOptions("p2", from_run="runs/x", fraction=0.25)])
def test_the_command_asks_for_exactly_this(
    options: TrainOptions, cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The command of the report, given to the real command line, arrives as the same request."""
    from headstart.training.plan import check_overrides
    from headstart.workflows.train import train as module

    arrived: list[TrainOptions] = []

    def stop(asked: TrainOptions, events: object) -> None:
        arrived.append(asked)
        raise OptionError("far enough")

    monkeypatch.setattr(module, "prepare", stop)
    words = shlex.split(command_line("train", options.data, options.given()))
    assert words[:2] == ["headstart", "train"]
    assert "far enough" in cli(*words[1:]).err
    got = arrived[0]
    assert check_overrides(got.settings) == check_overrides(options.settings)
    assert {**got.to_json(), "settings": {}} == {**options.to_json(), "settings": {}}


def test_options_are_written_as_a_shell_reads_them() -> None:
    options = {
        "from_run": "runs/x", "quick": True, "overwrite": False, "out": None, "seed": 0, "shots": [5, 10], "arms": (),
        "data": {"": "a b", "cats": "c"}, "settings": {"lr": 0.1},
    }  # fmt: skip
    assert command_line("study", "my recipe", options) == (
        "headstart study 'my recipe' --from runs/x --quick --seed 0 --shots 5,10 --data 'a b' --data cats=c"
        " --set lr=0.1"
    )
