"""Freezing: what trains and what does not.

Frozen means two things that are easily taken for one: parameters get no gradient, and BatchNorm (whose running
statistics are no parameters) and Dropout stay in eval mode. Any ``model.train()`` further up would undo the second, so
a frozen module does not follow that call.
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
        # backbone, and the trunk that was split off), so overriding train() of one parent would not hold them.
        each.__dict__["train"] = partial(_stay, each)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None  # an optimizer that holds the parameter would still apply a gradient from before
    return module


def thaw(module: M) -> M:
    """Undo ``freeze``, in place. The mode stays eval until someone calls ``train()``."""
    for each in module.modules():
        each.__dict__.pop("train", None)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return module


def _stay(module: M, mode: bool = True) -> M:
    """Stands in for ``train``. With ``partial`` and not a closure, so that a frozen model can be copied and pickled."""
    return module
