"""The rules, as tables. Figures that experience may change are not repeated here; what must hold whatever
they are is.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from headstart.training import rules
from headstart.training.plan import Plan
from headstart.training.planning import resolve
from headstart.training.rules import Facts

FACTS = Facts(photos=500, classes=3, side=300, native_size=224, strategy="finetune", last_stage="layer4")


def plan_for(strategy: str, batch_size: int | None = None, **facts: Any) -> Plan:
    return resolve(replace(FACTS, strategy=strategy, **facts), 0, None, {"batch_size": batch_size or 32})


@pytest.mark.parametrize(
    ("side", "native", "low", "high"),
    [
        (300, 224, 224, 224),  # large photos: what the weights were trained at
        (4000, 224, 224, 224),
        (32, 224, 64, 224),  # small ones are enlarged, not to the whole
        (8, 224, 64, 64),
        (8, 32, 32, 32),  # never above the weights' own
        (32, 32, 32, 32),
    ],
)
def test_image_size(side: int, native: int, low: int, high: int) -> None:
    size = rules.image_size(replace(FACTS, side=side, native_size=native)).value
    assert low <= size <= high
    assert size % 32 == 0


def test_a_size_that_the_network_refuses_is_replaced_with_a_reason() -> None:
    small = replace(FACTS, side=32, native_size=224)
    for fitting, words in ((126, "nearest"), (224, "its own size")):
        choice = rules.image_size(replace(small, fitting_size=fitting))
        assert (choice.value, words in choice.reason, "refuses 128 px" in choice.reason) == (fitting, True, True)
    assert rules.image_size(replace(small, fitting_size=128)) == rules.image_size(small)


def test_image_size_never_falls_as_photos_grow() -> None:
    sizes = [rules.image_size(replace(FACTS, side=side)).value for side in range(4, 400, 4)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == FACTS.native_size


@pytest.mark.parametrize(("fast", "value"), [(True, "bf16"), (False, "float32")])
def test_precision_follows_the_hardware(fast: bool, value: str) -> None:
    choice = rules.precision(replace(FACTS, device="cuda", fast_bf16=fast))
    assert choice.value == value
    assert "CUDA" in choice.reason


def test_more_photos_never_mean_smaller_batches() -> None:
    batches = [rules.batch_size(replace(FACTS, photos=n)).value for n in (1, 50, 500, 5000, 50_000, 500_000)]
    assert batches == sorted(batches)
    assert batches[0] >= 2
    assert batches[0] < batches[-1]


@pytest.mark.parametrize("strategy", ["finetune", "partial", "lp-ft", "scratch", "probe"])
def test_more_photos_never_mean_more_epochs(strategy: str) -> None:
    epochs = [plan_for(strategy, 16, photos=n, closed_form=False).epochs for n in (1, 16, 100, 1000, 100_000)]
    assert all(a >= b for a, b in pairwise(epochs))
    assert epochs[-1] >= 1
    assert epochs[0] > epochs[-1]


def test_larger_batches_get_their_steps_by_more_epochs() -> None:
    assert plan_for("finetune", 128).epochs > plan_for("finetune", 8).epochs


@pytest.mark.parametrize("native", [32, 224])
def test_scratch_learns_longer_and_at_one_rate(native: int) -> None:
    scratch = plan_for("scratch", native_size=native)
    assert scratch.epochs >= plan_for("finetune", native_size=native).epochs
    assert scratch.stage_decay == 1.0
    assert scratch.lr_backbone == scratch.lr


@pytest.mark.parametrize("strategy", ["finetune", "partial"])
def test_pretrained_stages_learn_more_slowly_than_the_head(strategy: str) -> None:
    plan = plan_for(strategy)
    assert 0 < plan.lr_backbone < plan.lr
    assert 0 < plan.stage_decay <= 1


def test_lp_ft_keeps_batchnorm_and_takes_the_largest_steps_on_small_photos() -> None:
    plan, small = plan_for("lp-ft"), plan_for("lp-ft", side=32)
    assert plan.lr_backbone > plan_for("finetune").lr_backbone  # an average with the probe's weights follows
    assert small.lr_backbone > plan.lr_backbone
    assert (plan.batchnorm, plan_for("finetune").batchnorm) == ("kept", "moving")


def test_small_photos_are_cropped_less() -> None:
    assert plan_for("finetune", side=32).augment == "mild"
    assert plan_for("finetune", side=300).augment == "light"


def test_views_are_for_a_frozen_trunk_with_a_tail() -> None:
    assert plan_for("partial").views > 1
    assert all(plan_for(s).views == 1 for s in ("probe", "finetune", "scratch"))


@pytest.mark.parametrize(
    ("errors", "photos", "seconds", "minutes", "value", "words"),
    [
        (0, 100, 0.01, 10, 0, "no improvement"),
        (1, 20, 0.01, 10, 0, "no improvement"),  # one photo is chance
        (2, 20, 0.01, 10, 10, "2 of 20"),
        (10, 1000, 0.01, 10, 0, "no improvement"),  # one in a hundred
        (11, 1000, 0.01, 10, 10, "11 of 1000"),
        (50, 100, 0.59, 10, 10, "50 of 100"),  # 590 s of 600
        (50, 100, 0.61, 10, 9, "9 of 10 epochs, which would take 10 min"),
        (50, 100, 2.9, 10, 2, "2 of 10 epochs, which would take 48 min"),
        (50, 100, 3.1, 10, 0, "would take about 52 min"),  # one epoch fits, of too few steps
        (50, 100, 3.1, 60, 10, "50 of 100"),
        (50, 100, float("inf"), 10, 0, "not enough memory"),
    ],
)
def test_what_follows_the_probe(
    errors: int, photos: int, seconds: float, minutes: float, value: int, words: str
) -> None:
    choice = rules.epochs_after_probe(errors, photos, seconds, 100, 10, minutes)
    assert choice.value == value
    assert words in choice.reason


@pytest.mark.parametrize(("photos", "native", "few"), [(100, 224, True), (101, 224, False), (30, 32, False)])
def test_few_photos_of_a_large_network_are_left_to_the_probe(photos: int, native: int, few: bool) -> None:
    choice = rules.too_few_to_tune(photos, native)
    assert (choice is not None and choice.value == 0 and str(photos) in choice.reason) is few


def test_epochs_that_a_user_chose_are_all_or_none() -> None:
    assert rules.epochs_after_probe(50, 100, 0.61, 100, 10, 10, fewest=10).value == 0


def test_few_steps_are_enough_where_the_plan_has_no_more() -> None:
    assert rules.epochs_after_probe(50, 100, 10, 5, 4, 10).value == 4  # 20 steps, 200 s
    assert rules.epochs_after_probe(50, 100, 40, 5, 4, 10).value == 0


RESNET18 = replace(FACTS, strategy="probe", photos=2000, evaluated=1000, weights=11_200_000, openvino=True)


@pytest.mark.parametrize(
    ("changes", "chosen"),
    [
        ({}, "openvino"),
        ({"photos": 20, "evaluated": 20}, "torch"),  # converting would cost more than it gains
        ({"photos": 20, "evaluated": 20, "weights": 10**9}, "openvino"),  # not for so large a network
        ({"openvino": False}, "torch"),
        ({"device": "cuda"}, "torch"),
        ({"device": "mps"}, "torch"),
        (
            {"strategy": "finetune", "evaluated": 50},
            "torch",
        ),  # training itself is PyTorch's: only val and test are read
        ({"strategy": "partial", "evaluated": 50}, "openvino"),
    ],
)
def test_engine(changes: dict[str, Any], chosen: str) -> None:
    assert resolve(replace(RESNET18, **changes), overrides={"image_size": 160}).engine == chosen


def test_larger_pictures_are_worth_the_conversion_sooner() -> None:
    facts = replace(RESNET18, photos=100, evaluated=60)
    assert [rules.engine(facts, size, True).value for size in (64, 512)] == ["torch", "openvino"]


@pytest.mark.parametrize(("largest", "smallest", "value"), [(100, 100, "none"), (29, 10, "none"), (30, 10, "weights")])
@pytest.mark.parametrize("strategy", ["probe", "finetune", "partial", "lp-ft", "scratch", "auto"])
def test_uneven_classes_get_the_same_part_in_the_loss(strategy: str, largest: int, smallest: int, value: str) -> None:
    found = plan_for(strategy, largest=largest, smallest=smallest)
    assert found.balance == value
    assert "training photos" in found.reasons["balance"]


@pytest.mark.parametrize(("asked", "value"), [("auto", "weights"), ("none", "none"), ("sampler", "sampler")])
def test_the_balance_can_be_chosen_or_left_to_the_rule(asked: str, value: str) -> None:
    found = resolve(replace(FACTS, largest=90, smallest=10), overrides={"balance": asked})
    assert found.balance == value
    assert (found.reasons["balance"] == "you chose it") is (asked != "auto")
