"""The plan: every setting resolved with a reason, the user's word above every rule, all mistakes at once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from headstart.errors import OptionError, RunError
from headstart.training import rules
from headstart.training.plan import SETTINGS, TRAINED_HEAD, YOURS, Plan, check_overrides
from headstart.training.planning import plan_rows, resolve
from headstart.training.rules import Facts
from headstart.training.strategies import STRATEGIES

FACTS = Facts(photos=500, classes=3, side=300, native_size=224, strategy="finetune", last_stage="layer4")


@pytest.mark.parametrize("strategy", STRATEGIES.names())
@pytest.mark.parametrize("closed_form", [True, False])
def test_every_setting_has_a_reason(strategy: str, closed_form: bool) -> None:
    plan = resolve(replace(FACTS, strategy=strategy, closed_form=closed_form))
    assert plan.strategy == strategy
    for name, _, reason in plan_rows(plan):
        assert reason, name


@pytest.mark.parametrize(
    ("strategy", "asked", "boundary"),
    [
        ("probe", None, "end"), ("auto", None, "end"), ("finetune", None, "start"),
        ("lp-ft", None, "start"),
        ("finetune", "layer2", "layer2"), ("lp-ft", "layer3", "layer3"),
        ("scratch", None, "start"), ("partial", None, "layer4"), ("partial", "layer2", "layer2"),
    ],
)  # fmt: skip
def test_boundary(strategy: str, asked: str | None, boundary: str) -> None:
    assert resolve(replace(FACTS, strategy=strategy), boundary=asked).boundary == boundary


def test_partial_needs_a_stage_and_names_the_one_it_takes() -> None:
    facts = replace(FACTS, strategy="partial")
    plan = resolve(replace(facts, last_stage="blocks.11"))
    assert (plan.boundary, "last stage" in plan.reasons["boundary"]) == ("blocks.11", True)
    with pytest.raises(OptionError, match="cannot be divided"):
        resolve(replace(facts, last_stage=""))
    assert resolve(replace(facts, last_stage=""), boundary="start").boundary == "start"


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("epochs", "7", 7), ("lr", "3e-4", 3e-4), ("batch_size", 24, 24), ("augment", "none", "none"),
        ("precision", "bf16", "bf16"),
        ("weight_decay", "0", 0.0), ("image_size", "96", 96), ("budget_minutes", "0.5", 0.5),
        ("label_smoothing", 0.2, 0.2),
    ],
)  # fmt: skip
def test_the_users_word_is_above_the_rule(name: str, given: object, value: object) -> None:
    plan = resolve(FACTS, overrides={name: given})
    assert getattr(plan, name) == value
    assert type(getattr(plan, name)) is type(value)
    assert plan.reasons[name] == YOURS


def test_rules_follow_the_users_values() -> None:
    assert resolve(FACTS, overrides={"image_size": 64}).resize == 64
    assert resolve(FACTS, overrides={"batch_size": 8}).epochs == rules.epochs(replace(FACTS, batch_size=8)).value


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epoch": 5}, ["'epoch'", "'epochs'"]), ({"epochs": "many"}, ["'many'", "whole number"]),
        ({"epochs": 0}, ["above zero"]),
        ({"lr": -1}, ["above zero"]), ({"lr": "nan"}, ["finite"]), ({"weight_decay": "nan"}, ["finite"]),
        ({"weight_decay": "-0.1"}, ["negative"]),
        ({"augment": "lite"}, ["'light'"]), ({"precision": "fp16"}, ["bf16", "float32"]),
        ({"warmup": 1}, ["below 1"]),
        ({"label_smoothing": 1.5}, ["below 1"]), ({"strategy": "probe"}, ["unknown"]), ({"seed": 3}, ["unknown"]),
        ({"boundary": "layer4"}, ["unknown"]), ({"lr": "inf"}, ["lr"]), ({"lr": "1e999"}, ["finite"]),
        ({"epochs": 10**30}, ["at most 1,000,000"]), ({"epochs": "9" * 5000}, ["whole number"]),
        ({"image_size": 10**6}, ["at most 4,096"]), ({"views": 10**9}, ["at most 1,000"]),
        ({"epochs": True}, ["whole"]), ({"epochs": [7] * 10**6}, ["whole number"]), ({"epochs": 2.5}, ["whole number"]),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(given: dict[str, object], words: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        check_overrides(given)
    for word in words:
        assert word in str(caught.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(OptionError) as caught:
        check_overrides({"epochs": 0, "lrr": 1, "augment": "wild"})
    assert all(word in str(caught.value) for word in ("epochs", "lrr", "wild"))


def test_a_plan_survives_json() -> None:
    plan = resolve(FACTS, 4, None, {"lr": 0.01})
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert again.reasons == plan.reasons


def test_the_file_of_an_older_headstart_may_say_less_and_needs_no_format() -> None:
    plan = resolve(FACTS)
    values = plan.to_json()
    assert values.pop("format") == 1
    del values["views"], values["batchnorm"]
    assert Plan.from_json(values) == plan


def test_the_file_of_a_newer_headstart_may_say_more_which_is_told_once_and_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan = resolve(FACTS)
    values = {**plan.to_json(), "ema_of_a_test": 0.99}
    again = [Plan.from_json(values) for _ in range(2)][1]
    assert again == plan
    assert [record.getMessage() for record in caplog.records if "ema_of_a_test" in record.getMessage()] == [
        "plan.json holds settings that this headstart does not know, and ignores: ema_of_a_test."
    ]
    assert again.to_json() == values
    assert again.differences(plan) == []


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(RunError, match="newer than this headstart"):
        Plan.from_json({**resolve(FACTS).to_json(), "format": 99})


def test_what_was_called_head_is_a_probe_with_a_trained_head() -> None:
    plan = resolve(replace(FACTS, strategy="probe", closed_form=False))
    assert (plan.strategy, plan.variant) == ("probe", TRAINED_HEAD)
    before = {k: v for k, v in plan.to_json().items() if k not in {"variant", "format"}} | {"strategy": "head"}
    assert Plan.from_json(before) == plan


def test_rows_show_what_the_strategy_uses_and_nothing_else() -> None:
    shown = {
        s: {name for name, _, _ in plan_rows(resolve(replace(FACTS, strategy=s)))}
        for s in ("probe", "finetune", "partial")
    }
    assert not {"lr", "epochs", "views"} & shown["probe"]
    assert {"lr", "epochs", "augment"} <= shown["finetune"]
    assert "views" in shown["partial"] - shown["finetune"]
    assert shown["partial"] <= {*SETTINGS, "strategy", "boundary", "seed"}


def test_a_photo_is_no_larger_than_a_model_json_may_say() -> None:
    with pytest.raises(OptionError, match="image_size=5000: must be at most 4,096"):
        resolve(FACTS, overrides={"image_size": 5000})
