"""Takes a timm network apart. In: the network without its classifier. Out: its blocks in order, proven to compute what
the network computes.

Most of timm's families run their members one after the other, but nothing says which. So the chain is built on that
guess and then run beside the network on one photo: only where both agree in every bit is it used. A network for which
the guess fails stays whole (one block, ``body``).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import OptionError
from headstart.models.chain import Block, Chain, Inlined, dry_run, unnest

BODY = "body"
POOL = "pool"
# Small sizes that suit strides of 32 and patches of 14 and 16: taking a network apart should not cost a second.
_TRIAL_SIZES = (96, 112)
REFUSALS = (
    AssertionError,
    RuntimeError,
    ValueError,
    IndexError,
)  # what timm's networks raise for a size they do not take


@dataclass(frozen=True)
class Parts:
    """``blocks`` in order; ``dim`` of the pooled features; ``trial_size`` (px): a small input it takes."""

    blocks: tuple[Block, ...]
    dim: int
    trial_size: int
    prefix_tokens: int = 0


def take_apart(net: nn.Module, name: str, image_size: int) -> Parts:
    """The blocks of a network whose classifier was removed (``num_classes=0``) and that makes [N, dim] of photos.

    Raises OptionError for a network that does not (a detector's encoder, a network of many outputs).
    """
    size, features = _try_sizes(net, image_size, name)
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise OptionError(
            f"{name} cannot be a backbone: it does not make one feature vector per photo", "Choose another."
        )
    tokens = int(getattr(net, "num_prefix_tokens", 0) or 0)
    for guess in (_transformer_blocks, _member_blocks):
        blocks = tuple(guess(net))
        if blocks and _computes(blocks, features, size):
            return Parts(blocks, features.shape[1], size, tokens)
    return Parts(((BODY, Inlined(net)),), features.shape[1], size, tokens)


def in_order(net: nn.Module, dim: int, image_size: int) -> Parts:
    """The same for a network of headstart's own, whose members are known to run one after the other."""
    return Parts(tuple(_member_blocks(net)), dim, min(_TRIAL_SIZES[0], image_size))


def _try_sizes(net: nn.Module, image_size: int, name: str) -> tuple[int, Tensor]:
    for size in (*(s for s in _TRIAL_SIZES if s < image_size), image_size):
        try:
            return size, dry_run(net, size)
        except REFUSALS as refusal:
            reason = refusal
    raise OptionError(
        f"{name} does not run on a photo of its own size, {image_size} px ({reason})", "Choose another backbone."
    )


def _computes(blocks: tuple[Block, ...], features: Tensor, size: int) -> bool:
    try:
        made = dry_run(Chain(blocks), size)
    except (*REFUSALS, TypeError, AttributeError, KeyError):  # KeyError: a member named like an attribute of Chain
        return False
    return isinstance(made, Tensor) and made.shape == features.shape and torch.equal(made, features)


def _member_blocks(net: nn.Module) -> Iterable[Block]:
    """The members in the order they were registered in. The global pool has no parameters, so its name is free for one
    that reads well.
    """
    for name, member in net.named_children():
        yield from unnest(POOL if name == "global_pool" else name, member)


def _transformer_blocks(net: nn.Module) -> Iterable[Block]:
    """timm's VisionTransformer: what happens before and after its blocks is written in its methods, on members that lie
    at its top.
    """
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(net, VisionTransformer):
        return
    before = ("patch_embed", "pos_drop", "patch_drop", "norm_pre")
    yield "patch_embed", _Stem(_only(net, before, parameters=True))
    yield from unnest("blocks", net.blocks)
    yield from unnest("norm", net.norm)
    after = ("attn_pool", "fc_norm", "head_drop", "head")
    yield POOL, _TokenPool(_only(net, after, parameters=False))


def _only(net: nn.Module, members: tuple[str, ...], parameters: bool) -> nn.Module:
    """The same object with fewer members: methods and settings of the network, the modules named, its own parameters or
    none.
    """
    part = copy.copy(net)
    part._modules = {name: module for name, module in net._modules.items() if name in members}
    part._parameters = dict(net._parameters) if parameters else {}
    return part


class _Stem(Inlined):
    """Photos [N, 3, H, W] to tokens [N, L, C]."""

    def forward(self, x: Tensor) -> Tensor:
        net: Any = self.inner
        out: Tensor = net.norm_pre(net.patch_drop(net._pos_embed(net.patch_embed(x))))
        return out


class _TokenPool(Inlined):
    """Tokens [N, L, C] to features [N, C], in the network's own way (class token, mean, attention)."""

    def forward(self, x: Tensor) -> Tensor:
        net: Any = self.inner
        out: Tensor = net.forward_head(x, pre_logits=True)
        return out
