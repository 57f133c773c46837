"""Freezing: which parts train.

Frozen means two things: parameters get no gradient, and BatchNorm (whose running statistics are not parameters) and
Dropout stay in eval mode. ``model.train()`` on a parent would undo the second, so a frozen module ignores that call.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def freeze(module: M) -> M:
    """Freeze a module and all in it, in place: no gradients, eval mode, and ``train()`` on it, on a part of it or on a
    parent changes neither.
    """
    for each in module.modules():
        each.eval()
        # An attribute of the instance: other modules of its class are untouched. Blocks belong to several parents (the
        # backbone, and the trunk that was split off), so overriding train() of one parent would not be enough.
        each.__dict__["train"] = partial(_stay, each)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None  # an optimizer that holds the parameter would still apply a gradient from before
    return module


def thaw(module: M) -> M:
    """Undo ``freeze``, in place. The mode stays eval until ``train()`` is called."""
    for each in module.modules():
        each.__dict__.pop("train", None)
    return module.requires_grad_()


def keep_statistics(module: nn.Module) -> None:
    """Leave the running statistics of every BatchNorm as they are, until ``train()`` is called again."""
    for each in module.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm):
            each.eval()


def _stay(module: M, mode: bool = True) -> M:
    """Replaces ``train``. With ``partial`` and not a closure, so that a frozen model can be copied and pickled."""
    return module
