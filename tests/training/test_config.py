"""What can be asked: every mistake at once, requests that survive JSON, and one table that everything follows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from helpers.requests import FULL

from headstart.errors import OptionError
from headstart.training.config import (
    TAKEN,
    Augment,
    Average,
    Balance,
    BatchNorm,
    Engine,
    Log,
    Precision,
    Stages,
    TrainOptions,
    taken_by,
)
from headstart.training.plan import SETTINGS, Plan


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "finetun"}, ["`strategy='finetun'", "Did you mean 'finetune'"]),
        ({"on_bad": "ignore"}, ["`on_bad='ignore'", "skip, fail"]),
        ({"val": 1.0}, ["`val=1.0"]), ({"test": -0.1}, ["`test=-0.1"]), ({"val": float("nan")}, ["`val=nan"]),
        ({"val": 0.0}, ["`val=0"]), ({"val": 0.6, "test": 0.5}, ["nothing to train on"]),
        ({"shots": 0}, ["`shots=0"]), ({"fraction": 0.0}, ["`fraction"]), ({"fraction": 1.5}, ["`fraction"]),
        ({"shots": 5, "fraction": 0.5}, ["`shots", "`fraction"]), ({"seed": -1}, ["`seed=-1"]),
        ({"seed": 2**31}, ["`seed"]),
        ({"mean": (0.5, 0.5)}, ["`mean", "three numbers"]), ({"mean": (float("nan"), 0, 0)}, ["`mean"]),
        ({"std": (0, 1, 1)}, ["`std"]), ({"weights": "w", "from_run": "r"}, ["`weights", "`from_run`"]),
        ({"strategy": "scratch", "weights": "w"}, ["scratch", "`weights"]),
        ({"strategy": "scratch", "from_run": "r"}, ["scratch", "`from_run`"]),
        ({"strategy": "probe", "boundary": "layer4"}, ["`boundary", "partial"]),
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
    assert all(word in str(caught.value) for word in ("`strategy", "`seed", "`shots", "`mean"))


@pytest.mark.parametrize("options", [TrainOptions("p"), FULL, TrainOptions("p", from_run="runs/x", fraction=0.25)])
def test_a_request_survives_json(options: TrainOptions) -> None:
    assert TrainOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


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


def test_one_wrong_option_is_named_by_the_error() -> None:
    for wrong, name in (({"shots": 0}, "shots"), ({"strategy": "x"}, "strategy"), ({"shots": 0, "seed": -1}, None)):
        with pytest.raises(OptionError) as caught:
            TrainOptions("photos", **wrong)  # type: ignore[arg-type]
        assert caught.value.option == name


def test_the_typed_options_are_those_of_a_training_and_of_its_plan() -> None:
    own = {f.name for f in fields(TrainOptions)} - {"data", "out"}
    assert set(taken_by("train")) == own | set(SETTINGS)


def test_choices_are_those_that_the_code_knows() -> None:
    from headstart.training.loggers import SERVICES
    from headstart.training.plan import CHOICES

    asked = {
        "augment": Augment, "engine": Engine, "batchnorm": BatchNorm, "precision": Precision, "balance": Balance,
        "stages": Stages, "average": Average,
    }  # fmt: skip
    assert {name: set(get_args(choice)) for name, choice in asked.items()} == {n: set(c) for n, c in CHOICES.items()}
    assert set(get_args(Log)) == set(SERVICES)


def test_types_are_those_of_the_fields_and_of_the_plan() -> None:
    kinds = {**get_type_hints(Plan), **get_type_hints(TrainOptions)}
    for name, hint in taken_by("train").items():
        typed = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        kind = str if get_origin(typed) in (Literal, Union, UnionType) else typed
        several = (Sequence[float], Sequence[str], Mapping[str, Any])
        assert kind in (kinds[name], *several) or kinds[name] == kind | None, name


@pytest.mark.parametrize("function", sorted(set(TAKEN) - {"train"}))
def test_every_option_of_another_function_is_one_of_a_training(function: str) -> None:
    assert set(taken_by(function)) < set(taken_by("train"))


def test_what_a_function_does_not_take_is_refused_all_at_once() -> None:
    with pytest.raises(OptionError, match=r"forecast takes no option 'shots'.*forecast takes no option 'epohcs'"):
        TrainOptions.gather("p", None, {"shots": 5, "seed": 1, "epohcs": 3}, "forecast")
    asked = TrainOptions.gather("p", None, {"seed": 1, "device": None, "image_size": 32}, "forecast", strategy="probe")
    assert (asked.seed, asked.strategy, asked.settings) == (1, "probe", {"image_size": 32})


def test_given_is_what_differs_from_the_defaults() -> None:
    assert TrainOptions("p", seed=0, shots=5, weights="w").given() == {"shots": 5, "weights": "w"}
    assert TrainOptions("p", shots=5, seed=2).given("forecast") == {"seed": 2}
