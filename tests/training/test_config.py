"""What can be asked: every mistake at once, and a request that survives JSON and the command line."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from headstart.errors import OptionError
from headstart.training.config import TrainOptions


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "finetun"}, ["--strategy 'finetun'", "Did you mean 'finetune'"]),
        ({"on_bad": "ignore"}, ["--on-bad 'ignore'", "skip, fail"]),
        ({"val": 1.0}, ["`val=1.0`"]), ({"test": -0.1}, ["`test=-0.1`"]), ({"val": float("nan")}, ["`val=nan`"]),
        ({"val": 0.0}, ["`val=0.0`"]), ({"val": 0.6, "test": 0.5}, ["nothing to train on"]),
        ({"shots": 0}, ["`shots=0`"]), ({"fraction": 0.0}, ["`fraction="]), ({"fraction": 1.5}, ["`fraction="]),
        ({"shots": 5, "fraction": 0.5}, ["`shots`", "`fraction`"]), ({"seed": -1}, ["`seed=-1`"]),
        ({"seed": 2**31}, ["`seed="]),
        ({"mean": (0.5, 0.5)}, ["--mean", "three numbers"]), ({"mean": (float("nan"), 0, 0)}, ["--mean"]),
        ({"std": (0, 1, 1)}, ["--std"]), ({"weights": "w", "from_run": "r"}, ["--weights", "--from"]),
        ({"strategy": "scratch", "weights": "w"}, ["scratch", "--weights"]),
        ({"strategy": "scratch", "from_run": "r"}, ["scratch", "--from"]),
        ({"strategy": "probe", "boundary": "layer4"}, ["--boundary", "partial"]),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        TrainOptions("photos", **options)
    for word in words:
        assert word in str(caught.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(OptionError) as caught:
        TrainOptions("photos", strategy="x", seed=-1, shots=0, mean=(1, 2))  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in ("strategy", "`seed=-1`", "`shots=0`", "mean"))


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


@pytest.mark.parametrize("options", [TrainOptions("p"), FULL, TrainOptions("p", from_run="runs/x", fraction=0.25)])
def test_a_request_survives_json(options: TrainOptions) -> None:
    assert TrainOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


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
    words = shlex.split(options.command())
    assert words[:2] == ["headstart", "train"]
    assert "far enough" in cli(*words[1:]).err
    got = arrived[0]
    assert check_overrides(got.settings) == check_overrides(options.settings)
    assert {**got.to_json(), "settings": {}} == {**options.to_json(), "settings": {}}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (TrainOptions("/data/my photos"), "my-photos-resnet18-auto"),
        (TrainOptions("/data/set.tar.gz", strategy="probe"), "set-resnet18-probe"),
        (TrainOptions("/data/a", backbone="timm/vit_tiny"), "a-vit_tiny-auto"),
        (TrainOptions("/data/a", from_run="runs/before"), "a-before-auto"),
        (TrainOptions("/"), "photos-resnet18-auto"),
    ],
)
def test_run_names_say_what_was_run(options: TrainOptions, name: str) -> None:
    assert options.run_name() == name
