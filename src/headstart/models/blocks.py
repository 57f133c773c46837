"""Divide a timm network into blocks in order, verified to compute what the network computes.

Most of timm's families run their members one after the other, but nothing declares it. So the chain is built on that
assumption and compared with the network on one photo: it is used only if both agree in every bit. A network for which
the assumption fails stays whole (one block, ``body``).
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import OptionError
from headstart.models.chain import Block, Chain, Inlined, dry_call, dry_run, photo, unnest
from headstart.models.sections import POOL, Head, features_and_head, members_and_head, stem_and_sections, take_back
from headstart.models.undivided import BODY

TRIAL_SIZES = (96, 112)
"""Small inputs (px) that suit strides of 32 and patches of 14 and 16: dividing a network should not cost a second."""
REFUSALS = (AssertionError, RuntimeError, ValueError, IndexError)
"""What timm's networks raise for a size that they do not take."""


def take_apart(net: nn.Module, name: str, image_size: int) -> tuple[tuple[Block, ...], int, int]:
    """(blocks, features per photo, a small input size in px) of a network without a classifier (``num_classes=0``).

    Raises OptionError for a network that does not make [N, dim] of photos (a detector's encoder, a network of many
    outputs).
    """
    for size in (*(s for s in TRIAL_SIZES if s < image_size), image_size):
        try:
            features = dry_run(net, size)
            break
        except REFUSALS as refusal:
            reason = refusal
    else:
        raise OptionError(
            f"{name} does not run on a photo of its own size, {image_size} px ({reason})", "Choose another backbone."
        )
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise OptionError(
            f"{name} cannot be a backbone: it does not make one feature vector per photo", "Choose another."
        )
    for divide in (_transformer_blocks, member_blocks):
        if blocks := _in_order(tuple(divide(net)), features, size):
            return blocks, features.shape[1], size
    rest_by_method = partial(stem_and_sections, rest_by_method=True)
    for section in (members_and_head, stem_and_sections, rest_by_method, features_and_head):
        with suppress(*REFUSALS, TypeError, AttributeError):
            if len(blocks := _in_order(tuple(section(net, size)), features, size)) > 1:
                return blocks, features.shape[1], size
        take_back(net)
    return ((BODY, Inlined(net)),), features.shape[1], size


def _in_order(blocks: tuple[Block, ...], features: Tensor, size: int) -> tuple[Block, ...]:
    """The blocks, if they make these features one after the other, else none. Those that hand on something else than a
    tensor (SelecSLS: a list) become one block with the next ones, under the first one's name, up to one that does.
    """
    made: list[Block] = []
    waiting: list[Block] = []
    try:
        Chain(blocks)  # KeyError: a member named like an attribute of Chain
        x: Any = photo(size)
        for name, block in blocks:
            x = dry_call(block, x)
            waiting.append((name, block))
            if isinstance(x, Tensor):
                made += waiting if len(waiting) == 1 else [_as_one(waiting)]
                waiting = []
    except (*REFUSALS, TypeError, AttributeError, KeyError):
        return ()
    return tuple(made) if isinstance(x, Tensor) and torch.equal(x, features) else ()


def _as_one(blocks: list[Block]) -> Block:
    """Members of the network as one block, their keys unchanged. Raises ValueError for blocks within a member."""
    if any("." in name for name, _ in blocks):
        raise ValueError("a stage hands on lists between its blocks")
    return blocks[0][0], Inlined(nn.Sequential(OrderedDict(blocks)))


def member_blocks(net: nn.Module) -> Iterator[Block]:
    """The members in the order they were registered in. The global pool has no parameters, so its name can be chosen
    freely.
    """
    for name, member in net.named_children():
        yield from unnest(POOL if name == "global_pool" else name, member)


def _transformer_blocks(net: nn.Module) -> Iterator[Block]:
    """timm's VisionTransformer: its methods define what happens before and after its blocks, with direct members."""
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(net, VisionTransformer):
        return
    before = ("patch_embed", "pos_drop", "patch_drop", "norm_pre")
    yield "patch_embed", _Stem(_only(net, before, parameters=True))
    yield from unnest("blocks", net.blocks)
    yield from unnest("norm", net.norm)
    after = ("attn_pool", "fc_norm", "head_drop", "head")
    yield POOL, Head(_only(net, after, parameters=False))


def _only(net: nn.Module, members: tuple[str, ...], parameters: bool) -> nn.Module:
    """A shallow copy with these members alone, and with the network's own parameters or none."""
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
