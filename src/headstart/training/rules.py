"""The rules of the plan: from facts about photos, backbone and device to a value with its reason.

These rules hold for fine-tuning; other strategies override them in their ``defaults``. Where a rule rests on a
measurement, its docstring names the command that repeats it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headstart.core.choice import Choice
from headstart.evaluation.metrics import UNEVEN
from headstart.inference.backends import choose_engine


@dataclass(frozen=True)
class Facts:
    """All that the rules may look at."""

    photos: int  # for training
    classes: int
    side: int  # median shorter side of the photos, px
    native_size: int  # input size that the weights were trained at, px
    strategy: str
    device: str = "cpu"  # a torch device type
    fast_bf16: bool = False  # whether the device multiplies bf16 in hardware
    evaluated: int = 0  # photos of val and test
    weights: int = 0  # parameters of the backbone
    openvino: bool = False  # whether it is installed
    closed_form: bool = True  # whether logistic regression can solve the head
    batch_size: int = 32  # once that is decided
    largest: int = 1  # photos for training of the largest class
    smallest: int = 1  # of the smallest
    last_stage: str = ""  # of the backbone; none where it cannot be divided
    several: bool = False  # whether a photo has any number of labels
    fitting_size: int = 0  # what the backbone takes for the wanted input size, px; 0: that


def wanted_size(side: int, native_size: int) -> int:
    """The input size for photos of ``side`` px, whether or not the network takes it. Upscaling small photos to the size
    the weights were trained at helps (benchmarks/claims/image_size.py), up to a point.
    """
    return min(native_size, max(64, round(4 * side / 32) * 32))


def image_size(facts: Facts) -> Choice:
    """The input size, px: the wanted one, or what the network takes instead."""
    wanted, native = wanted_size(facts.side, facts.native_size), facts.native_size
    if facts.fitting_size not in (0, wanted):
        what = "its own size" if facts.fitting_size == native else "the nearest size that it takes"
        return Choice(facts.fitting_size, f"{what}: the network refuses {wanted} px, which would suit the photos")
    if wanted < native:
        return Choice(wanted, f"four times the photos' {facts.side} px: more would only cost time")
    reason = "the size the weights were trained at"
    if native > 2 * facts.side:
        reason += f"; a smaller `image_size` is faster, and the photos have {facts.side} px"
    return Choice(native, reason)


def precision(facts: Facts) -> Choice:
    """bf16 only where the hardware multiplies it: emulated it is slower than float32."""
    device = f"this {facts.device.upper()}"
    if facts.fast_bf16:
        return Choice("bf16", f"{device} multiplies bf16 in hardware")
    return Choice("float32", f"{device} has no fast bf16")


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


SMALL_PHOTO = 64  # px, of the shorter side: up to here photos were most often cut to the object


def epochs(facts: Facts, least: int = 4, most: int = 60, wanted: int = 450) -> Choice:
    """Enough steps (about ``wanted``) for the schedule to work, no more than the photos can teach."""
    steps = max(1, math.ceil(facts.photos / facts.batch_size))
    chosen = min(most, max(least, math.ceil(wanted / steps)))
    return Choice(chosen, f"{steps} steps per epoch, about {wanted} steps wanted, {least} to {most} epochs allowed")


def augment(facts: Facts) -> Choice:
    """Small crops of a small photo, which most often shows its object alone, leave out what names it: on CIFAR-10 fewer
    photos are classified correctly after them (benchmarks/claims/fine_tuning.py, docs/explanation/studies.md).
    """
    if facts.side <= SMALL_PHOTO:
        return Choice("mild", f"photos of {facts.side} px show little beside the object: crops of most of the photo")
    return Choice("light", "random crops and mirror images; `augment=crop` for text and digits: no mirroring")


def balance(facts: Facts) -> Choice:
    """Class weights in the loss from the ratio at which classes count as uneven: from there on they help a probe
    (benchmarks/claims/imbalance.py, imbalance_l2.py).
    """
    if facts.several:
        return Choice("none", "each label has a threshold of its own, which val chooses")
    if facts.largest < UNEVEN * facts.smallest:
        return Choice("none", f"no class has {UNEVEN} times the training photos of another")
    ratio = f"{facts.largest:,} training photos of the largest class, {facts.smallest:,} of the smallest"
    return Choice("weights", f"{ratio}: each class gets the same total weight in the loss")


def rates(facts: Facts) -> dict[str, Choice]:
    """Peak rates (AdamW) of the head and of the last pretrained stage, and the factor between neighbouring stages.

    Networks for images of 32 or 64 px were trained on little: high rates pay there, not on ImageNet's networks. Lower
    backbone rates leave photos that are unlike ImageNet's far below what a probe reaches (benchmarks/claims/rates.py).
    """
    if facts.native_size <= 64:
        fast = Choice(3e-3, "a network for small images learns fast, and has little to forget")
        one_rate = Choice(1.0, "a network for small images: one rate for all stages")
        return {"lr": fast, "lr_backbone": fast, "stage_decay": one_rate}
    return {
        "lr": Choice(1e-3, "the new head; AdamW's usual rate"),
        "lr_backbone": Choice(5e-4, "half of the head's: smaller steps keep what the weights know"),
        "stage_decay": Choice(0.7, "each earlier stage learns more slowly: early stages hold what all photos share"),
    }


def rates_after_probe(facts: Facts) -> dict[str, Choice]:
    """Peak rates where the head fits already and the result is averaged with the weights before: large steps find
    better averages, and small photos, which are least like those of the weights, need the largest. The rates were
    chosen on training photos of CIFAR-10, imagewoof, TrashNet and animals (docs/decisions/0047).
    """
    if facts.native_size <= 64:  # a network for small images
        return {}
    if facts.side <= SMALL_PHOTO:
        rate = Choice(2e-3, f"photos of {facts.side} px are unlike those of the weights: they have much to change")
    else:
        rate = Choice(1e-3, "large steps: the average with the probe's weights keeps what they know")
    return {"lr": rate, "lr_backbone": rate}


FEWEST_STEPS = 150
"""Fewer steps of fine-tuning than these are not worth their time, unless the plan asks for no more."""
TOO_FEW_TO_TUNE = 100
"""Training photos up to which fine-tuning an ImageNet network changed the probe's test accuracy by -0.006 to +0.005
(seven trainings of ResNet-18 on animals, imagewoof, TrashNet and CIFAR-10: benchmarks/claims/fine_tuning.jsonl)."""


def too_few_to_tune(photos: int, native_size: int) -> Choice | None:
    """What ``auto`` decides of so few training photos; None of more, and of networks for small images, which gain."""
    if photos > TOO_FEW_TO_TUNE or native_size <= 64:
        return None
    return Choice(
        0, f"of {photos} training photos fine-tuning learns no more than the probe (`strategy=lp-ft` tries it)"
    )


def epochs_after_probe(
    val_errors: int,
    val_photos: int,
    seconds_per_step: float,
    steps: int,
    epochs: int,
    budget_minutes: float,
    fewest: int = 1,
) -> Choice:
    """For how many epochs ``auto`` goes on with fine-tuning: none where val has too few errors left to show an
    improvement; of ``epochs`` of ``steps`` each those that the budget allows, if that is ``fewest`` at least.
    """
    if math.isinf(seconds_per_step):
        return Choice(0, "there is not enough memory here to fine-tune the network")
    if val_errors <= max(1, round(0.01 * val_photos)):
        errors = f"the probe is wrong on {val_errors} of {val_photos} validation photos"
        return Choice(0, f"{errors}: fine-tuning could show no improvement")
    errors = f"{val_errors} of {val_photos} validation photos are still wrong"
    minutes = seconds_per_step * steps * epochs / 60
    if minutes <= budget_minutes:
        return Choice(epochs, f"{errors}, fine-tuning takes about {minutes:.1f} min")
    fitting = int(epochs * budget_minutes / minutes)
    allowed = f"`budget_minutes` allows {budget_minutes:g}"
    if fitting < fewest or fitting * steps < min(FEWEST_STEPS, steps * epochs):
        return Choice(0, f"fine-tuning would take about {minutes:.0f} min here, and {allowed}")
    return Choice(fitting, f"{errors}; {allowed}: {fitting} of {epochs} epochs, which would take {minutes:.0f} min")
