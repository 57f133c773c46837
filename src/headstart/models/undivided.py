"""Networks that run as one block, for what they hand on between their members.

Nothing can be computed up to a place inside, but what is before it can be frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from headstart.models.chain import Inlined, dry_run
from headstart.models.stages import stage_of

BODY = "body"
"""The block's name."""


class Held(nn.Module):
    """The members before a place inside the block, to be frozen; photos pass through."""

    def __init__(self, members: Mapping[str, nn.Module | nn.Parameter]) -> None:
        super().__init__()
        for name, member in members.items():
            plain = name.replace(".", "_")
            if isinstance(member, nn.Module):
                self.add_module(plain, member)
            else:
                self.register_parameter(plain, member)

    def forward(self, x: Tensor) -> Tensor:
        return x


def inner_stages(body: Inlined, size: int) -> dict[str, nn.Module | nn.Parameter]:
    """The stages inside, by their last call for a photo of ``size`` px; parameters of the network itself come first."""
    net = body.inner
    members = {stage: _member(net, stage) for stage in dict.fromkeys(map(stage_of, dict(net.named_parameters())))}
    called: list[str] = []
    hooks = [
        part.register_forward_pre_hook(partial(_note, called, name))
        for name, member in members.items()
        if isinstance(member, nn.Module)
        for part in member.modules()
    ]
    try:
        dry_run(body, size)
    finally:
        for hook in hooks:
            hook.remove()
    order = [*reversed(dict.fromkeys(reversed(called)))]
    return {name: members[name] for name in (*(name for name in members if name not in order), *order)}


def _note(called: list[str], name: str, *_: object) -> None:
    called.append(name)


def _member(net: nn.Module, stage: str) -> nn.Module | nn.Parameter:
    own = net._parameters.get(stage)
    return net.get_submodule(stage) if own is None else own


def weighty(members: Mapping[str, nn.Module | nn.Parameter]) -> tuple[str, ...]:
    """Those that hold a twentieth of the parameters or more: no norm, and no convolution that joins branches."""
    sizes = {
        name: sum(p.numel() for p in member.parameters()) if isinstance(member, nn.Module) else 0
        for name, member in members.items()
    }
    return tuple(name for name, size in sizes.items() if 20 * size >= sum(sizes.values()))
