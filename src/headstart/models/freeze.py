"""What trains and what does not: the one place that decides. In: a module. Out: the same module, frozen or thawed.

Frozen means two things that are easily taken for one: parameters get no gradient, and BatchNorm (whose running
statistics are no parameters) and Dropout stay in eval mode. The second is lost by any ``model.train()`` further up, so
a frozen module does not follow that call.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def freeze(module: M) -> M:
    """Freezes the module and all in it, in place: no gradients, eval mode, and ``train()`` on it or on a parent changes
    neither.
    """
    for each in module.modules():
        each.eval()
        each.__dict__["train"] = partial(
            _stay, each
        )  # an instance's own: its class, and other modules of that class, are untouched
    for parameter in module.parameters():
        parameter.requires_grad_(False)
        parameter.grad = (
            None  # a gradient left from before would still be applied by an optimiser that holds the parameter
        )
    return module


def thaw(module: M) -> M:
    """Takes ``freeze`` back, in place: gradients again, ``train()`` is followed again. The mode stays eval until
    someone calls ``train()``.
    """
    for each in module.modules():
        each.__dict__.pop("train", None)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return module


def is_frozen(module: nn.Module) -> bool:
    """Whether nothing in the module can change: no parameter has gradients, every submodule holds on to eval mode."""
    held = all("train" in each.__dict__ and not each.training for each in module.modules())
    return held and not any(p.requires_grad for p in module.parameters())


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that an optimiser should get, in the model's order."""
    return [p for p in model.parameters() if p.requires_grad]


def _stay(module: M, mode: bool = True) -> M:
    """Stands in for ``train`` of a frozen module (a partial and no closure, so that a frozen model can be copied and
    pickled).
    """
    return module
