"""A caller's own loss: what the steps of an optimiser minimise. Figures, choices on val and calibration keep those of
the objective, so that they mean the same in every run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from headstart.core.text import brief
from headstart.errors import OptionError
from headstart.evaluation.objective import Objective

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From logits [B, C] in float32 and targets [B] to the mean loss of the batch, a scalar."""


class OwnLoss:
    """An objective with the caller's loss. What is spread over classes, and what each weighs, is the loss's to say."""

    def __init__(self, objective: Objective, own: Loss) -> None:
        self.objective, self.own = objective, own

    def loss(
        self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        return self.own(logits, targets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.objective, name)


def checked_loss(loss: Loss, classes: int, targets: torch.Tensor, device: torch.device) -> Loss:
    """The loss on the training's device, tried on logits and these first targets. Raises OptionError."""
    if isinstance(loss, nn.Module):
        if any(p.requires_grad for p in loss.parameters()):
            problem = f"`loss`: a {type(loss).__name__} has parameters of its own, which no optimiser would train."
            raise OptionError(problem, "Write a strategy that trains them, or freeze them.", option="loss")
        loss = copy.deepcopy(loss).to(device)
    logits = torch.randn(len(targets), classes, generator=torch.Generator().manual_seed(0)).to(device)
    shapes = f"logits {list(logits.shape)} and targets {list(targets.shape)}"
    try:
        with torch.random.fork_rng(devices=[]):
            made: Any = loss(logits.requires_grad_(), targets.to(device))
    except Exception as error:
        raise OptionError(f"`loss` fails on {shapes}: {brief(error)}.", option="loss") from error
    if not isinstance(made, torch.Tensor) or made.ndim or not made.requires_grad:
        told = type(made).__name__
        if isinstance(made, torch.Tensor):
            told = f"tensor {list(made.shape)}{'' if made.requires_grad else ' without a gradient'}"
        problem = f"`loss` returns a {told} for {shapes}."
        raise OptionError(problem, "It must return one number that depends on the logits: a mean.", option="loss")
    if not bool(made.isfinite()):
        raise OptionError(f"`loss` is {made.item()} for {shapes}, which is not a finite number.", option="loss")
    return loss
