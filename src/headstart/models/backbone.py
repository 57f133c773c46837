"""The backbone: a module from photos [N, 3, H, W] to features [N, dim].

It can be cut short, and split into the trunk before a boundary and the tail after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from headstart.errors import OptionError
from headstart.models.blocks import REFUSALS
from headstart.models.chain import (
    Block,
    Chain,
    GlobalPool,
    Inlined,
    device_of,
    dry_run,
    eval_mode,
    is_channels_last,
    prefix_of,
)
from headstart.models.preprocessing import Preprocessing
from headstart.models.sections import POOL
from headstart.models.stages import blocks_under, boundary_index, cut_index, joinable, last_stage, stage_names
from headstart.models.undivided import BODY, Held, inner_stages, weighty

_STEPS = (14, 16, 28, 32, 56, 64, 112, 128)
"""Sizes of patches, and of windows of patches, px."""


@dataclass(frozen=True)
class Facts:
    """What is known of a backbone besides its weights.

    ``name`` as the user wrote it; ``architecture``: timm's full name; ``preprocessing`` that its weights expect;
    ``dim`` of the features; ``cut``: the last block kept, or None; ``trial_size`` (px): a small input it takes;
    ``classifier``: key prefixes of the classifier that was removed; ``beyond``: keys of the original network that the
    cut removed; ``prefix_tokens``: tokens of a transformer that have no position; ``undecayed``: keys of parameters
    that weight decay leaves out, besides biases and normalisation; ``module``: of a network of the caller's, where its
    class is, and ``fingerprint``, of what it computes.
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
    undecayed: frozenset[str] = field(default=frozenset(), repr=False)
    module: str = ""
    fingerprint: str = ""


class Tap(NamedTuple):
    """Where a stage's outputs are read: after ``block``, averaged over ``axes``, from token ``first`` on; ``width`` is
    the number of means.
    """

    block: str
    axes: tuple[int, ...]
    first: int
    width: int

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        # In float32: of a thousand positions in bf16, a mean would lose the digits that a head tells photos apart by.
        return (outputs[:, self.first :] if self.first else outputs).mean(self.axes, dtype=torch.float32)


class Backbone(Chain):
    """A pretrained network without its classifier; ``state_dict`` has timm's keys. Created in eval mode; ``freeze``
    decides what trains.

    ``source`` names the origin of the weights, ``pretrained`` is False for random ones. Features are those of the last
    stage, after the means of the stages ``joined``, if there are any (see ``joining``).
    """

    def __init__(self, blocks: Sequence[Block], facts: Facts, taps: Mapping[str, Tap] | None = None) -> None:
        super().__init__(blocks)
        self.facts, self.taps = facts, dict(taps or {})
        self.name, self.cut = facts.name, facts.cut
        self.joined = tuple(self.taps)
        self.dim = facts.dim + sum(tap.width for tap in self.taps.values())
        self.preprocessing = facts.preprocessing
        self.source, self.pretrained = "random weights", False
        self._fitting: dict[int, int] = {}
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.taps:
            return super().forward(x)
        taps, found = {tap.block: tap for tap in self.taps.values()}, []
        for name, block in self.named_blocks():
            x = block(x)
            if name in taps:
                found.append(taps[name](x))
        return torch.cat([*found, x], 1)

    def joining(self, stages: Sequence[str]) -> Backbone:
        """The backbone with the means of these stages' outputs before its own features; with none, as it was created.
        Parameters are shared. Raises OptionError for a stage that cannot be joined.
        """
        if tuple(stages) == self.joined:
            return self
        known = self.joinable_taps
        if unknown := [stage for stage in stages if stage not in known]:
            raise OptionError(f"{self.name} has no stage {unknown[0]!r} to join", f"Stages: {', '.join(known)}.")
        chosen = {stage: tap for stage, tap in known.items() if stage in stages}  # in the network's order
        other = Backbone(list(self.named_blocks()), self.facts, chosen)
        other.preprocessing, other.source, other.pretrained = self.preprocessing, self.source, self.pretrained
        other.__dict__["joinable_taps"] = known
        return other

    def joining_all(self) -> Backbone:
        """With every stage joined that can be."""
        return self.joining(tuple(self.joinable_taps))

    @cached_property
    def joinable_taps(self) -> dict[str, Tap]:
        """The stages that can be joined, in order; not one whose mean the features are already."""
        ends = {
            self.block_names[blocks_under(stage, self.block_names)[-1]]: stage for stage in joinable(self.block_names)
        }
        taps: dict[str, Tap] = {}
        means: dict[str, torch.Tensor] = {}
        x = torch.randn(1, 3, *[self.facts.trial_size] * 2, generator=torch.Generator().manual_seed(0))
        x = x.to(device_of(self))
        with torch.no_grad(), eval_mode(self):
            for name, block in self.named_blocks():
                x = block(x)
                if name in ends and isinstance(x, torch.Tensor) and x.ndim in (3, 4):
                    axes = (1,) if x.ndim == 3 else (1, 2) if is_channels_last(x) else (2, 3)
                    tap = Tap(name, axes, prefix_of(x, self.facts.prefix_tokens) if x.ndim == 3 else 0, 0)
                    means[ends[name]] = tap(x)
                    taps[ends[name]] = tap._replace(width=means[ends[name]].shape[1])
        own = [stage for stage, mean in means.items() if mean.shape == x.shape and torch.allclose(mean, x, atol=1e-5)]
        return {stage: tap for stage, tap in taps.items() if stage not in own}

    def last(self, features: Any) -> Any:
        """The last stage's columns of features [N, D]."""
        return features[:, -self.facts.dim :]

    def own_columns(self, features: np.ndarray) -> np.ndarray:
        """This backbone's features, of those with all stages joined (``joining_all``)."""
        if len(self.taps) == len(self.joinable_taps):
            return features
        first, kept = 0, []
        for stage, tap in self.joinable_taps.items():
            kept += [features[:, first : first + tap.width]] if stage in self.taps else []
            first += tap.width
        return np.concatenate([*kept, self.last(features)], 1) if kept else np.ascontiguousarray(self.last(features))

    def has_weights_of(self, other: Backbone) -> bool:
        """Whether the two share their parameters."""
        return next(self.parameters(), self) is next(other.parameters(), other)

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

    @property
    def last_stage(self) -> str:
        """Where training of the last stage alone begins: see ``stages.last_stage``."""
        if self.undivided:
            return last_stage(tuple(self.inner), weighty(self.inner))
        held = [name for name in self.stage_names() if any(p.ndim > 1 for p in self.get_submodule(name).parameters())]
        return last_stage(self.block_names, held)

    @property
    def undivided(self) -> bool:
        """Whether the network runs as one block: see ``models.undivided``."""
        return self.block_names[0] == BODY and isinstance(self.get_submodule(BODY), Inlined)

    @cached_property
    def inner(self) -> dict[str, nn.Module | nn.Parameter]:
        """The stages inside the block that an undivided network is; else none."""
        body = self.get_submodule(BODY) if self.undivided else None
        return inner_stages(body, self.facts.trial_size) if isinstance(body, Inlined) else {}

    def split_at(self, boundary: str) -> tuple[nn.Module, nn.Module]:
        """(trunk, tail): all before the boundary, and the boundary to the end; ``tail(trunk(x))`` is ``self(x)``.
        Parameters are shared.

        ``start`` and ``end``, or a stage or block. An empty side is an Identity, a side that holds all is the backbone
        itself. Of an undivided network the trunk holds what is before the boundary and computes nothing.

        Raises OptionError, and ValueError within a backbone with joined stages.
        """
        if boundary in self.inner:
            return Held(dict(list(self.inner.items())[: list(self.inner).index(boundary)])), self
        at = boundary_index(boundary, self.block_names, self.name, tuple(self.inner))
        blocks = list(self.named_blocks())
        if at == 0:
            return nn.Identity(), self
        if at == len(blocks):
            return self, nn.Identity()
        if self.taps:
            raise ValueError("joined stages lie on both sides of the boundary")
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
        pool = GlobalPool(is_channels_last(made), prefix_of(made, self.facts.prefix_tokens) if made.ndim == 3 else 0)
        beyond = self.facts.beyond | (self.state_dict().keys() - body.state_dict().keys())
        facts = replace(self.facts, cut=kept[-1][0], dim=pool(made).shape[1], beyond=frozenset(beyond))
        short = Backbone([*kept, (POOL, pool)] if made.ndim > 2 else kept, facts)
        short.preprocessing, short.source, short.pretrained = self.preprocessing, self.source, self.pretrained
        return short

    def fitting_size(self, wanted: int) -> int:
        """The input size (px) nearest to ``wanted`` that the network takes: a multiple of what patches and windows
        usually need, else its own size. Found by trial, since nothing declares it.
        """
        own = self.preprocessing.image_size
        if wanted not in self._fitting:
            multiples = {step * max(1, wanted // step + more) for step in _STEPS for more in (0, 1)}
            near = sorted((s for s in multiples if 32 <= s < own), key=lambda s: (abs(s - wanted), s))
            self._fitting[wanted] = next((s for s in (wanted, *near) if not self._refusal(s)), own)
        return self._fitting[wanted]

    def _refusal(self, size: int) -> str:
        """Why the network does not take photos of that size; "" where it does."""
        try:
            dry_run(self, size)
        except REFUSALS as refusal:
            return str(refusal) or type(refusal).__name__
        return ""

    def check_image_size(self, size: int) -> None:
        """Raises OptionError unless the network takes photos of ``size`` x ``size`` px (patches and windows need
        multiples).
        """
        if refusal := self._refusal(size):
            raise OptionError(
                f"{self.name} does not run at {size} px ({refusal})",
                f"Its own size is {self.preprocessing.image_size} px. Convolutions take multiples of 32, transformers"
                " of their patch.",
            )
