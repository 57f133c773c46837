"""The plan: every setting resolved with a reason, the user's word above every rule, all mistakes at once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from headstart.errors import OptionError
from headstart.training import rules
from headstart.training.config import STRATEGIES
from headstart.training.plan import SETTINGS, YOURS, Plan, check_overrides, resolve
from headstart.training.rules import Facts

FACTS = Facts(photos=500, classes=3, side=300, native_size=224, strategy="finetune")


@pytest.mark.parametrize("strategy", [*STRATEGIES, "head"])
def test_every_setting_has_a_reason(strategy: str) -> None:
    plan = resolve(replace(FACTS, strategy=strategy))
    assert plan.strategy == strategy
    for name, _, reason in plan.rows():
        assert reason, name


@pytest.mark.parametrize(
    ("strategy", "asked", "boundary"),
    [
        ("probe", None, "end"), ("head", None, "end"), ("auto", None, "end"), ("finetune", None, "start"),
        ("lp-ft", None, "start"),
        ("finetune", "layer2", "layer2"), ("lp-ft", "layer3", "layer3"),
        ("scratch", None, "start"), ("partial", None, "layer4"), ("partial", "layer2", "layer2"),
    ],
)  # fmt: skip
def test_boundary(strategy: str, asked: str | None, boundary: str) -> None:
    assert resolve(replace(FACTS, strategy=strategy), boundary=asked).boundary == boundary


@pytest.mark.parametrize("strategy", ["probe", "auto", "scratch"])
def test_a_boundary_where_none_can_be_chosen_is_refused(strategy: str) -> None:
    with pytest.raises(OptionError, match="partial, finetune, lp-ft"):
        resolve(replace(FACTS, strategy=strategy), boundary="layer3")


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
    assert resolve(FACTS, overrides={"batch_size": 8}).epochs == rules.epochs(FACTS, 8).value


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epoch": 5}, ["'epoch'", "'epochs'"]), ({"epochs": "many"}, ["'many'", "whole number"]),
        ({"epochs": 0}, ["above zero"]),
        ({"lr": -1}, ["above zero"]), ({"lr": "nan"}, ["above zero"]), ({"weight_decay": "-0.1"}, ["negative"]),
        ({"augment": "lite"}, ["'light'"]), ({"precision": "fp16"}, ["bf16", "float32"]),
        ({"warmup": 1}, ["part of one"]),
        ({"label_smoothing": 1.5}, ["part of one"]), ({"strategy": "probe"}, ["unknown"]), ({"seed": 3}, ["unknown"]),
        ({"boundary": "layer4"}, ["unknown"]), ({"lr": "inf"}, ["lr"]), ({"epochs": 2.5}, ["whole number"]),
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


def test_changed_says_why() -> None:
    plan = resolve(FACTS)
    other = plan.changed("because", batch_size=2)
    assert (other.batch_size, other.reasons["batch_size"], other.reasons["lr"]) == (2, "because", plan.reasons["lr"])
    assert plan.batch_size != 2


def test_rows_show_what_the_strategy_uses_and_nothing_else() -> None:
    shown = {
        s: {name for name, _, _ in resolve(replace(FACTS, strategy=s)).rows()} for s in ("probe", "finetune", "partial")
    }
    assert not {"lr", "epochs", "views"} & shown["probe"]
    assert {"lr", "epochs", "augment"} <= shown["finetune"]
    assert "views" in shown["partial"] - shown["finetune"]
    assert shown["partial"] <= {*SETTINGS, "strategy", "boundary", "seed"}
