"""Parameter groups and the schedule of learning rates."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

from torch import nn

from headstart.models.chain import named_originally
from headstart.models.stages import stage_of
from headstart.models.undivided import BODY
from headstart.training.plan import Plan


def network_groups(
    tail: nn.Module, head: nn.Module, plan: Plan, undecayed: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Parameter groups of a network: the head at its rate, the last stage of ``tail`` at the backbone's rate, each
    earlier stage ``stage_decay`` times lower. ``undecayed``: keys of the tail's parameters without weight decay.
    """
    stages: dict[str, list[tuple[str, nn.Parameter]]] = {}
    for name, key, parameter in named_originally(tail):
        if parameter.requires_grad:
            stage = stage_of(key if name.startswith(f"{BODY}.inner.") else name)
            stage = "conv1" if stage == "bn1" else stage  # the first convolution and its normalisation are one stage
            stages.setdefault(stage, []).append((key, parameter))
    groups = parameter_groups(head.named_parameters(), plan.lr, plan.weight_decay)
    for depth, members in enumerate(reversed(stages.values())):
        groups += parameter_groups(members, plan.lr_backbone * plan.stage_decay**depth, plan.weight_decay, undecayed)
    return groups


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], lr: float, weight_decay: float, undecayed: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Two groups at one rate: matrices and filters with weight decay; biases, normalisation (1-D) and the ``undecayed``
    without.
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for key, parameter in named:
        if parameter.requires_grad:
            (others if parameter.ndim <= 1 or key in undecayed else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "lr": lr, "weight_decay": weight_decay},
        {"params": others, "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def schedule(step: int, steps: int, warmup: float) -> float:
    """Part of the peak rate at a step, in (0, 1]: a linear rise over ``warmup`` of the steps, then a cosine down to
    zero (Loshchilov and Hutter 2017, "SGDR").
    """
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
