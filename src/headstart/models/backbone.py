"""The backbone: a module from photos [N, 3, H, W] to features [N, dim].

It can be cut short, and split into the trunk before a boundary and the tail after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from headstart.errors import OptionError
from headstart.models.blocks import POOL, REFUSALS
from headstart.models.chain import Block, Chain, GlobalPool, dry_run, is_channels_last
from headstart.models.preprocessing import Preprocessing
from headstart.models.stages import boundary_index, cut_index, stage_names


@dataclass(frozen=True)
class Facts:
    """What is known of a backbone besides its weights.

    ``name`` as the user wrote it; ``architecture``: timm's full name; ``preprocessing`` that its weights expect;
    ``dim`` of the features; ``cut``: the last block kept, or None; ``trial_size`` (px): a small input it takes;
    ``classifier``: key prefixes of the classifier that was removed; ``beyond``: keys of the original network that the
    cut removed; ``prefix_tokens``: tokens of a transformer that have no position.
    """

    name: str
    architecture: str
    preprocessing: Preprocessing
    dim: int
    cut: str | None = None
    trial_size: int = 96
    classifier: tuple[str, ...] = ()
    beyond: frozenset[str] = field(default=frozenset(), repr=False)
    prefix_tokens: int = 0


class Backbone(Chain):
    """A pretrained network without its classifier; ``state_dict`` has timm's keys. Created in eval mode; ``freeze``
    decides what trains.

    ``source`` names the origin of the weights, ``pretrained`` is False for random ones.
    """

    def __init__(self, blocks: Sequence[Block], facts: Facts) -> None:
        super().__init__(blocks)
        self.facts = facts
        self.name, self.dim, self.cut = facts.name, facts.dim, facts.cut
        self.preprocessing = facts.preprocessing
        self.source, self.pretrained = "random weights", False
        self.eval()

    @property
    def weights_digest(self) -> str:
        """blake2b-128 hex of all parameters and buffers, as float32, with their keys: computed at each call (0.1 s for
        25 M).
        """
        digest = hashlib.blake2b(digest_size=16)
        for key, tensor in sorted(self.state_dict().items()):
            digest.update(f"{key} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
        return digest.hexdigest()

    def stage_names(self) -> tuple[str, ...]:
        """The stages in order (``conv1``, ..., ``layer4``, ``pool``); each may be a boundary, as may each of
        ``block_names``.
        """
        return stage_names(self.block_names)

    def split_at(self, boundary: str) -> tuple[nn.Module, nn.Module]:
        """(trunk, tail): all before the boundary, and the boundary to the end; ``tail(trunk(x))`` is ``self(x)``.
        Parameters are shared.

        ``start`` and ``end``, or a stage or block. An empty side is an Identity, a side that holds all is the backbone
        itself. Raises OptionError.
        """
        at = boundary_index(boundary, self.block_names, self.name)
        blocks = list(self.named_blocks())
        if at == 0:
            return nn.Identity(), self
        if at == len(blocks):
            return self, nn.Identity()
        first: Any = blocks[at][1]
        if getattr(first, "inplace", False):  # an activation that opens the tail would overwrite the trunk's outputs
            first.inplace = False
        return Chain(blocks[:at]), Chain(blocks[at:])

    def truncated(self, cut: str) -> Backbone:
        """The backbone up to and including a stage or block, then a global mean; parameters are shared. Raises
        OptionError.
        """
        kept = list(self.named_blocks())[: cut_index(cut, self.block_names, self.name)]
        body = Chain(kept)
        made = dry_run(body, self.facts.trial_size)
        pool = GlobalPool(is_channels_last(made), self.facts.prefix_tokens)
        beyond = self.facts.beyond | (self.state_dict().keys() - body.state_dict().keys())
        facts = replace(self.facts, cut=kept[-1][0], dim=pool(made).shape[1], beyond=frozenset(beyond))
        short = Backbone([*kept, (POOL, pool)] if made.ndim > 2 else kept, facts)
        short.preprocessing, short.source, short.pretrained = self.preprocessing, self.source, self.pretrained
        return short

    def check_image_size(self, size: int) -> None:
        """Raises OptionError unless the network takes photos of ``size`` x ``size`` px (patches and windows need
        multiples).
        """
        try:
            dry_run(self, size)
        except REFUSALS as refusal:
            raise OptionError(
                f"{self.name} does not run at {size} px ({str(refusal) or type(refusal).__name__})",
                f"Its own size is {self.preprocessing.image_size} px. Convolutions take multiples of 32, transformers"
                " of their patch.",
            ) from None
