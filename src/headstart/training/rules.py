"""The judgement of the plan. In: facts about photos, backbone, strategy and device. Out: one value and its reason
per rule.

Pure functions, each tested by a table. Where a rule rests on a measurement, its docstring names the command that
repeats it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headstart.core.choice import Choice
from headstart.inference.backends import choose_engine


@dataclass(frozen=True)
class Facts:
    """All that the rules may look at. ``photos``: training photos; ``side``: median shorter side of the photos, px;
    ``judged``: photos of val and test; ``weights``: how many the backbone has.
    """

    photos: int
    classes: int
    side: int
    native_size: int
    strategy: str
    device: str = "cpu"
    fast_bf16: bool = False
    head: str = "linear"
    judged: int = 0
    weights: int = 0
    openvino: bool = False


BOUNDED = ("partial", "finetune", "lp-ft")
"""The strategies that may leave the stages before a boundary as they are."""


def image_size(facts: Facts) -> Choice:
    """The input size, px. Upscaling small photos to the size the weights were trained at helps
    (benchmarks/claims/image_size.py), up to a point.
    """
    largest = max(64, round(4 * facts.side / 32) * 32)
    if largest < facts.native_size:
        return Choice(largest, f"four times the photos' {facts.side} px: more would only cost time")
    return Choice(facts.native_size, "the size the weights were trained at")


def precision(facts: Facts) -> Choice:
    """bf16 only where the hardware multiplies it: emulated it is slower than float32."""
    if facts.fast_bf16:
        return Choice("bf16", f"this {facts.device.upper()} multiplies bf16 in hardware")
    return Choice("float32", f"this {facts.device.upper()} has no fast bf16")


def engine(facts: Facts, image_size: int) -> Choice:
    """What computes the outputs of frozen networks."""
    read = facts.judged + (facts.photos if facts.strategy in {"auto", "probe", "head", "partial", "lp-ft"} else 0)
    return choose_engine(facts.device, facts.openvino, read, facts.weights, image_size)


def batch_size(facts: Facts) -> Choice:
    """Small sets get small batches: the number of steps, not of epochs, is what training needs."""
    if facts.photos < 400:
        return Choice(16, f"{facts.photos} photos: small batches give enough steps")
    if facts.photos < 10_000:
        return Choice(32, f"{facts.photos} photos")
    return Choice(128, f"{facts.photos} photos: plenty of steps per epoch")


def epochs(facts: Facts, batch: int) -> Choice:
    """Enough steps for the schedule to work, no more than the photos can teach."""
    steps = max(1, math.ceil(facts.photos / batch))
    least, most, wanted = {"scratch": (10, 60, 1500), "head": (10, 200, 1200)}.get(facts.strategy, (4, 30, 160))
    chosen = min(most, max(least, math.ceil(wanted / steps)))
    return Choice(chosen, f"{steps} steps per epoch, about {wanted} steps wanted, {least} to {most} epochs allowed")


SMALL_RATE = Choice(3e-3, "a network for small images learns fast, and has little to forget")


def _small_network(facts: Facts) -> bool:
    """Networks for images of 32 or 64 px were trained on little: high rates pay there, not on ImageNet's networks."""
    return facts.native_size <= 64


def learning_rate(facts: Facts) -> Choice:
    """Peak rate of what starts from random numbers (AdamW)."""
    if _small_network(facts) and facts.strategy not in {"head", "lp-ft"}:
        return SMALL_RATE
    if facts.strategy == "scratch":
        return Choice(2e-3, "all weights are random and batch-normalised")
    if facts.strategy == "head":
        return Choice(1e-3, "a small network on standardised features")
    if facts.strategy == "lp-ft":
        return Choice(3e-4, "the head already fits: small steps")
    return Choice(1e-3, "the new head; AdamW's usual rate")


def backbone_rate(facts: Facts) -> Choice:
    """Peak rate of the last pretrained stage. Lower ones leave photos that are unlike ImageNet's far below what a probe
    reaches (benchmarks/claims/rates.py).
    """
    if _small_network(facts) and facts.strategy != "lp-ft":
        return SMALL_RATE
    if facts.strategy == "scratch":
        return Choice(2e-3, "nothing is pretrained: the head's rate")
    if facts.strategy == "lp-ft":
        return Choice(3e-4, "the head already fits: small steps keep what the weights know")
    return Choice(5e-4, "half of the head's: smaller steps keep what the weights know")


def stage_decay(facts: Facts) -> Choice:
    """Factor between the rates of neighbouring stages: early stages hold what all photos share."""
    if _small_network(facts):
        return Choice(1.0, "a network for small images: one rate for all stages")
    if facts.strategy == "scratch":
        return Choice(1.0, "nothing is pretrained: one rate for all stages")
    return Choice(0.7, "each earlier stage learns more slowly: early stages hold what all photos share")


BATCHNORM = ("moving", "kept")


def batchnorm(facts: Facts) -> Choice:
    """Whether BatchNorm's running statistics move in training, or stay what pretraining made them."""
    if facts.strategy == "lp-ft":
        return Choice("kept", "the head was fitted to features under these statistics; batches would shift them")
    return Choice("moving", "statistics follow the new photos")


def weight_decay(facts: Facts) -> Choice:
    """AdamW's decoupled decay."""
    return Choice(0.05, "AdamW's usual decay; biases and normalisation are left out")


def label_smoothing(facts: Facts) -> Choice:
    """Smoothing keeps a long training from overconfidence."""
    if facts.strategy == "head":
        return Choice(0.0, "dropout and decay regularise the head")
    return Choice(0.1, "keeps confidence honest and forgives a wrong label")


def augment(facts: Facts) -> Choice:
    """How pictures vary in training."""
    return Choice(
        "light", "random crops and mirror images: photos have no preferred side (text and digits do: --augment crop)"
    )


def views(facts: Facts) -> Choice:
    """Fixed views cached per photo where the trunk is frozen and the tail is trained."""
    if facts.strategy != "partial":
        return Choice(
            1,
            "the trunk is read once per photo"
            if facts.strategy == "probe"
            else "not used: pictures are drawn anew each epoch",
        )
    return Choice(
        4 if facts.photos < 10_000 else 2, "centre, mirror image and random crops, each through the frozen trunk once"
    )


def next_after_probe(
    val_errors: int, val_photos: int, seconds_per_epoch: float, epochs: int, budget_minutes: float
) -> Choice:
    """Whether ``auto`` goes on to fine-tuning: only where val has errors left to mend and the time is within the
    budget.
    """
    minutes = seconds_per_epoch * epochs / 60
    if val_errors <= max(1, round(0.01 * val_photos)):
        return Choice(
            "probe",
            f"the probe is wrong on {val_errors} of {val_photos} val photos: nothing that fine-tuning could be seen to"
            " mend",
        )
    if minutes > budget_minutes:
        return Choice(
            "probe",
            f"fine-tuning would take about {minutes:.0f} min here, more than the {budget_minutes:g} allowed"
            " (--set budget_minutes=…)",
        )
    return Choice(
        "lp-ft",
        f"{val_errors} of {val_photos} val photos are still wrong, and fine-tuning takes about {minutes:.1f} min",
    )
