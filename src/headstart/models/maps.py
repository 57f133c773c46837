"""Where the last feature maps of a network are: those that its features depend on at every position.

Nothing declares it. Some networks end in a pool, others in a norm, convolutions or a classifier's layers after it; one
that predicts from its class token does not read the other tokens after its last block.
"""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from headstart.models.backbone import Backbone
from headstart.models.chain import device_of, eval_mode, is_channels_last, photo, prefix_of

_FOUND: WeakKeyDictionary[Backbone, dict[int, str]] = WeakKeyDictionary()


def maps_boundary(backbone: Backbone, size: int) -> str:
    """The block that reads the last maps of photos of ``size`` px; "" where there are none."""
    known = _FOUND.setdefault(backbone, {})
    if size not in known:
        with eval_mode(backbone):
            known[size] = _search(backbone, size)
    return known[size]


def by_position(outputs: Tensor, prefix_tokens: int) -> Tensor | None:
    """Outputs as [N, C, H, W], whichever way the network orders them; None where they have no positions."""
    if outputs.ndim == 4:
        return outputs.permute(0, 3, 1, 2) if is_channels_last(outputs) else outputs
    if outputs.ndim != 3:
        return None
    placed = outputs[:, prefix_of(outputs, prefix_tokens) :]
    side = math.isqrt(placed.shape[1])
    return placed.transpose(1, 2).reshape(len(outputs), -1, side, side) if side**2 == placed.shape[1] else None


def _search(backbone: Backbone, size: int) -> str:
    blocks = [block for _, block in backbone.named_blocks()]
    outputs = [photo(size).to(device_of(backbone))]
    with torch.no_grad():
        for block in blocks:
            outputs.append(block(outputs[-1]))
    for at in range(len(blocks) - 1, 0, -1):
        placed = by_position(outputs[at], backbone.facts.prefix_tokens)
        if placed is not None and placed[0, 0].numel() > 1 and _is_read(blocks[at:], outputs[at], backbone):
            return backbone.block_names[at]
    return ""


def _is_read(blocks: list[nn.Module], outputs: Tensor, backbone: Backbone) -> bool:
    """Whether the features depend on the outputs at their positions."""
    with torch.enable_grad():
        start = outputs.detach().requires_grad_()
        x = start.clone()  # which a block may overwrite
        for block in blocks:
            x = block(x)
        # Not the sum: after a norm it is the same for all photos.
        weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x.device)
        (gradient,) = torch.autograd.grad((x * weights).sum(), start)
    placed = by_position(gradient, backbone.facts.prefix_tokens)
    return placed is not None and bool(placed.abs().sum() > 0)
