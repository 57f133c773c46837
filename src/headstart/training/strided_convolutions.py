"""1x1 convolutions with a stride and few input channels, as in MobileOne, FastViT and RepVGG: for photos in
channels_last order on x86 CPUs, oneDNN writes past its memory when it computes the gradient of their weights
(https://github.com/uxlfoundation/oneDNN/issues/6035). The process crashes, or goes on with wrong gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

ENOUGH_CHANNELS = 16
"""oneDNN's block of channels with AVX-512; with AVX2 it is 8."""


@contextmanager
def sampled_first(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Let such convolutions take every stride-th pixel first, then convolve without a stride: the same result, by a
    kernel that is sound. Elsewhere than on a CPU nothing changes.
    """
    convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
    found = [each for each in convolutions if device.type == "cpu" and _is_affected(each)]
    for each in found:
        each.__dict__["forward"] = partial(_sampled, each)
    try:
        yield
    finally:
        for each in found:
            del each.__dict__["forward"]


def _is_affected(module: nn.Conv2d) -> bool:
    return (
        type(module).forward is nn.Conv2d.forward
        and "forward" not in module.__dict__
        and module.weight.requires_grad
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.padding in ((0, 0), "valid")
        and module.groups == 1
        and module.in_channels < ENOUGH_CHANNELS
    )


def _sampled(module: nn.Conv2d, x: Tensor) -> Tensor:
    down, right = module.stride
    return functional.conv2d(x[..., ::down, ::right], module.weight, module.bias)
