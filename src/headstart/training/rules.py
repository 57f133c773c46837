"""The rules of the plan: from facts about photos, backbone and device to one value with its reason.

Pure functions, each tested by a table. These rules hold for fine-tuning; what another strategy needs stands in its
``defaults``. Where a rule rests on a measurement, its docstring names the command that repeats it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headstart.core.choice import Choice
from headstart.inference.backends import choose_engine


@dataclass(frozen=True)
class Facts:
    """All that the rules may look at.

    Attributes:
        photos: training photos.
        classes: how many.
        side: median shorter side of the photos, px.
        native_size: input size that the weights were trained at, px.
        strategy: its name.
        device: a torch device type.
        fast_bf16: whether the device multiplies bf16 in hardware.
        evaluated: photos of val and test.
        weights: parameters of the backbone.
        openvino: whether it is installed.
        closed_form: whether logistic regression can solve the head.
        batch_size: photos per step, once that is decided.
    """

    photos: int
    classes: int
    side: int
    native_size: int
    strategy: str
    device: str = "cpu"
    fast_bf16: bool = False
    evaluated: int = 0
    weights: int = 0
    openvino: bool = False
    closed_form: bool = True
    batch_size: int = 32


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


def engine(facts: Facts, image_size: int, reads_train: bool) -> Choice:
    """What computes the outputs of frozen networks; ``reads_train``: of training photos too."""
    read = facts.evaluated + (facts.photos if reads_train else 0)
    return choose_engine(facts.device, facts.openvino, read, facts.weights, image_size)


def batch_size(facts: Facts) -> Choice:
    """Small sets get small batches: the number of steps, not of epochs, is what training needs."""
    if facts.photos < 400:
        return Choice(16, f"{facts.photos} photos: small batches give enough steps")
    if facts.photos < 10_000:
        return Choice(32, f"{facts.photos} photos")
    return Choice(128, f"{facts.photos} photos: plenty of steps per epoch")


def epochs(facts: Facts, least: int = 4, most: int = 30, wanted: int = 160) -> Choice:
    """Enough steps (about ``wanted``) for the schedule to work, no more than the photos can teach."""
    steps = max(1, math.ceil(facts.photos / facts.batch_size))
    chosen = min(most, max(least, math.ceil(wanted / steps)))
    return Choice(chosen, f"{steps} steps per epoch, about {wanted} steps wanted, {least} to {most} epochs allowed")


SMALL_RATE = Choice(3e-3, "a network for small images learns fast, and has little to forget")


def small_network(facts: Facts) -> bool:
    """Networks for images of 32 or 64 px were trained on little: high rates pay there, not on ImageNet's networks."""
    return facts.native_size <= 64


def learning_rate(facts: Facts) -> Choice:
    """Peak rate of what starts from random numbers (AdamW)."""
    return SMALL_RATE if small_network(facts) else Choice(1e-3, "the new head; AdamW's usual rate")


def backbone_rate(facts: Facts) -> Choice:
    """Peak rate of the last pretrained stage. Lower ones leave photos that are unlike ImageNet's far below what a probe
    reaches (benchmarks/claims/rates.py).
    """
    if small_network(facts):
        return SMALL_RATE
    return Choice(5e-4, "half of the head's: smaller steps keep what the weights know")


def stage_decay(facts: Facts) -> Choice:
    """Factor between the rates of neighbouring stages: early stages hold what all photos share."""
    if small_network(facts):
        return Choice(1.0, "a network for small images: one rate for all stages")
    return Choice(0.7, "each earlier stage learns more slowly: early stages hold what all photos share")


BATCHNORM = ("moving", "kept")


def augment(facts: Facts) -> Choice:
    """How pictures vary in training."""
    return Choice("light", "random crops and mirror images; for text and digits, which have a side, `augment=crop`")


def next_after_probe(
    val_errors: int, val_photos: int, seconds_per_epoch: float, epochs: int, budget_minutes: float
) -> Choice:
    """Whether ``auto`` goes on to fine-tuning: only where the validation set has errors left and the time is within
    the budget.
    """
    minutes = seconds_per_epoch * epochs / 60
    if val_errors <= max(1, round(0.01 * val_photos)):
        return Choice(
            "probe",
            f"the probe is wrong on {val_errors} of {val_photos} validation photos: fine-tuning could show no"
            " improvement",
        )
    if minutes > budget_minutes:
        return Choice(
            "probe",
            f"fine-tuning would take about {minutes:.0f} min here, more than the {budget_minutes:g} allowed"
            " by `budget_minutes`",
        )
    return Choice(
        "lp-ft",
        f"{val_errors} of {val_photos} validation photos are still wrong, fine-tuning takes about {minutes:.1f} min",
    )
