"""The rules, as tables. Figures that experience may change are not repeated here; what must hold whatever
they are is.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from headstart.training import rules
from headstart.training.config import STRATEGIES
from headstart.training.rules import Facts

FACTS = Facts(photos=500, classes=3, side=300, native_size=224, strategy="finetune")
PARTS = (*STRATEGIES, "head")
RULES = (
    rules.image_size,
    rules.precision,
    rules.batch_size,
    rules.learning_rate,
    rules.backbone_rate,
    rules.stage_decay,
    rules.weight_decay,
    rules.label_smoothing,
    rules.augment,
    rules.views,
    lambda f: rules.epochs(f, 32),
    lambda f: rules.engine(f, 160),
)


@pytest.mark.parametrize("strategy", PARTS)
@pytest.mark.parametrize("photos", [2, 30, 1000, 50_000])
def test_every_rule_answers_with_a_reason(strategy: str, photos: int) -> None:
    for rule in RULES:
        choice = rule(replace(FACTS, strategy=strategy, photos=photos))
        assert choice.value is not None
        assert len(choice.reason) > 5


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


@pytest.mark.parametrize("strategy", ["finetune", "partial", "lp-ft", "scratch", "head"])
def test_more_photos_never_mean_more_epochs(strategy: str) -> None:
    epochs = [rules.epochs(replace(FACTS, strategy=strategy, photos=n), 16).value for n in (1, 16, 100, 1000, 100_000)]
    assert all(a >= b for a, b in pairwise(epochs))
    assert epochs[-1] >= 1
    assert epochs[0] > epochs[-1]


def test_larger_batches_get_their_steps_by_more_epochs() -> None:
    assert rules.epochs(FACTS, 128).value > rules.epochs(FACTS, 8).value


def test_scratch_learns_longer_and_at_one_rate() -> None:
    scratch = replace(FACTS, strategy="scratch")
    assert rules.epochs(scratch, 32).value >= rules.epochs(FACTS, 32).value
    assert rules.stage_decay(scratch).value == 1.0
    assert rules.backbone_rate(scratch).value == rules.learning_rate(scratch).value


@pytest.mark.parametrize("strategy", ["finetune", "partial"])
def test_pretrained_stages_learn_more_slowly_than_the_head(strategy: str) -> None:
    facts = replace(FACTS, strategy=strategy)
    assert 0 < rules.backbone_rate(facts).value < rules.learning_rate(facts).value
    assert 0 < rules.stage_decay(facts).value <= 1


def test_views_are_for_a_frozen_trunk_with_a_tail() -> None:
    assert rules.views(replace(FACTS, strategy="partial")).value > 1
    assert all(rules.views(replace(FACTS, strategy=s)).value == 1 for s in ("probe", "finetune", "scratch"))


@pytest.mark.parametrize(
    ("errors", "photos", "seconds", "epochs", "minutes", "value", "words"),
    [
        (0, 100, 1, 10, 10, "probe", "nothing"),
        (1, 20, 1, 10, 10, "probe", "nothing"),  # one photo is chance
        (2, 20, 1, 10, 10, "lp-ft", "2 of 20"),
        (10, 1000, 1, 10, 10, "probe", "nothing"),  # one in a hundred
        (11, 1000, 1, 10, 10, "lp-ft", "11 of 1000"),
        (50, 100, 61, 10, 10, "probe", "10 min"),  # 610 s of 600
        (50, 100, 59, 10, 10, "lp-ft", "50 of 100"),
        (50, 100, 61, 10, 11, "lp-ft", "50 of 100"),
    ],
)
def test_what_follows_the_probe(
    errors: int, photos: int, seconds: float, epochs: int, minutes: float, value: str, words: str
) -> None:
    choice = rules.next_after_probe(errors, photos, seconds, epochs, minutes)
    assert choice.value == value
    assert words in choice.reason


RESNET18 = replace(FACTS, strategy="probe", photos=2000, judged=1000, weights=11_200_000, openvino=True)


@pytest.mark.parametrize(
    ("changes", "chosen"),
    [
        ({}, "openvino"),
        ({"photos": 20, "judged": 20}, "torch"),  # converting would cost more than it gains
        ({"photos": 20, "judged": 20, "weights": 10**9}, "openvino"),  # not for so large a network
        ({"openvino": False}, "torch"),
        ({"device": "cuda"}, "torch"),
        ({"device": "mps"}, "torch"),
        ({"strategy": "finetune", "judged": 50}, "torch"),  # training itself is PyTorch's: only val and test are read
    ],
)
def test_engine(changes: dict[str, object], chosen: str) -> None:
    assert rules.engine(replace(RESNET18, **changes), 160).value == chosen  # type: ignore[arg-type]


def test_larger_pictures_are_worth_the_conversion_sooner() -> None:
    facts = replace(RESNET18, photos=100, judged=60)
    assert [rules.engine(facts, size).value for size in (64, 512)] == ["torch", "openvino"]
