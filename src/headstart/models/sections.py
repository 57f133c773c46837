"""Blocks of timm's networks that compute more than their members one after the other.

timm runs nearly all of its networks as ``forward_head(forward_features(photos))``. So the pool is always
``forward_head``, and the stem is ``forward_features`` of a copy whose later members are empty: position embeddings and
class tokens are added by the network's own code. ``models.blocks`` compares what comes out with the network.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from headstart.models.chain import Block, Inlined, dry_call, photo, prefix_of, unnest
from headstart.models.undivided import BODY

POOL = "pool"
_CLASS_ATTENTION = ("blocks_token_only", "cls_attn_blocks")
"""Blocks in which the class token alone reads the others, in CaiT and XCiT."""


def members_and_head(net: nn.Module, size: int) -> Iterator[Block]:
    """The members that make the features, in the order that they are registered in, and ``forward_head``."""
    order, head = _parts(net, size)
    for name, member in net.named_children():
        if name in order:
            yield from opened(name, member)
    yield POOL, Head(_only(net, head, ()))


def stem_and_sections(net: nn.Module, size: int, rest_by_method: bool = False) -> Iterator[Block]:
    """All before the longest list of blocks, these blocks, the members that follow, and ``forward_head``.

    ``rest_by_method``: the members that follow are run by ``forward_features`` of a copy that has nothing else, for
    what it does between them.
    """
    order, head = _parts(net, size)
    lists = [name for name in order if isinstance(net.get_submodule(name), (nn.ModuleList, nn.Sequential))]
    if not lists:
        return
    longest = max(lists, key=lambda name: sum(p.numel() for p in net.get_submodule(name).parameters()))
    first = order.index(longest)
    yield (order[0] if first else "stem"), Features(_without(net, order[first:], head))
    for block in opened(longest, net.get_submodule(longest)):
        _hand_over(net, block)
        yield block
    rest = order[first + 1 :]
    if rest_by_method and rest:
        part = _without(net, order[: first + 1], head)
        part._parameters = dict.fromkeys(net._parameters)  # none of the stem's is added again
        yield rest[0], Features(part)
        rest = []
    for name in rest:
        if name in _CLASS_ATTENTION:
            yield name, _ClassAttention(_only(net, (name,), ("cls_token",)))
        else:
            yield from opened(name, net.get_submodule(name))
    yield POOL, Head(_only(net, head, ()))


def _without(net: nn.Module, members: Sequence[str], head: Sequence[str]) -> nn.Module:
    """A copy in which these members hand on what they get, without those of the head."""
    part = _only(net, [name for name, _ in net.named_children() if name not in head], net._parameters)
    part._modules |= {name: _empty(net.get_submodule(name)) for name in members}
    for name in {*members} & {*_CLASS_ATTENTION}:
        part._modules[name] = None  # the class token joins the others there
        del part._parameters["cls_token"]
    return part


def features_and_head(net: nn.Module, size: int) -> Iterator[Block]:
    """``forward_features`` as one block, and ``forward_head``."""
    _, head = _parts(net, size)
    yield BODY, Features(_without(net, (), head))
    yield POOL, Head(_only(net, head, ()))


def opened(name: str, member: nn.Module) -> Iterator[Block]:
    """The blocks of a member; those of a list too, which runs nothing by itself."""
    if isinstance(member, nn.ModuleList):
        for child, inner in member.named_children():
            yield from unnest(f"{name}.{child}", inner)
    else:
        yield from unnest(name, member)


class Features(Inlined):
    """Photos to what ``forward_features`` of the members in it makes."""

    def forward(self, x: Tensor) -> Tensor:
        net: Any = self.inner
        out: Tensor = net.forward_features(x)
        return out


class Head(Inlined):
    """Outputs of the last block to features [N, C], in the network's own way (class token, mean, attention)."""

    def forward(self, x: Tensor) -> Tensor:
        net: Any = self.inner
        out: Tensor = net.forward_head(x, pre_logits=True)
        return out


class _ClassAttention(Inlined):
    """Tokens [N, L, C] to [N, 1 + L, C]: a class token that has read them comes first."""

    def forward(self, x: Tensor) -> Tensor:
        net: Any = self.inner
        out: Tensor = net.forward_cls(x)
        return out


class _Rotation:
    """Hands a block the rotary position embedding that the network's own loop computes once for all blocks."""

    def __init__(self, rope: nn.Module, prefix_tokens: int, depth: int | None) -> None:
        self.rope, self.prefix_tokens, self.depth = rope, prefix_tokens, depth

    def __call__(self, _: nn.Module, args: tuple[Tensor], given: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        if "rope" in given:
            return None
        rope: Any = self.rope
        made: Tensor = rope.get_embed(shape=_grid(args[0], self.prefix_tokens))
        return args, {**given, "rope": (made if self.depth is None else made[self.depth]).to(args[0].device)}


class _Sides:
    """Hands a block the height and the width of the grid that its tokens are of, as two numbers or as one pair."""

    def __init__(self, prefix_tokens: int, pair: bool) -> None:
        self.prefix_tokens, self.pair = prefix_tokens, pair

    def __call__(self, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Any, ...] | None:
        if len(args) > 1:
            return None
        sides = _grid(args[0], self.prefix_tokens)
        return (args[0], sides) if self.pair else (args[0], *sides)


def _tokens_alone(_: nn.Module, __: Any, made: Any) -> Any:
    """Of tokens and the sides of their grid, the tokens."""
    return made[0] if isinstance(made, tuple) else made


def _grid(tokens: Tensor, prefix_tokens: int) -> tuple[int, int]:
    side = math.isqrt(tokens.shape[1] - prefix_of(tokens, prefix_tokens))
    return side, side


def _hand_over(net: nn.Module, block: Block) -> None:
    """Give a block whatever the network's loop passes to it beside its input, as far as photos are square."""
    name, module = block
    rope, prefix_tokens = getattr(net, "rope", None), int(getattr(net, "num_prefix_tokens", 0) or 0)
    takes = list(inspect.signature(module.forward).parameters)[1:3]
    if isinstance(rope, nn.Module):
        # Tokens that are dropped would take their rotation with them.
        if not isinstance(getattr(net, "patch_drop", None), nn.Identity | None):
            raise ValueError("tokens are dropped")
        depth = int(name.rpartition(".")[2]) if getattr(net, "rope_mixed", False) else None
        module.register_forward_pre_hook(_Rotation(rope, prefix_tokens, depth), with_kwargs=True)
    elif takes in (["H", "W"], ["Hp", "Wp"]) or takes[:1] == ["feat_size"]:
        module.register_forward_pre_hook(_Sides(prefix_tokens, takes[:1] == ["feat_size"]))
        module.register_forward_hook(_tokens_alone)


def take_back(net: nn.Module) -> None:
    """Undo what ``stem_and_sections`` gave the blocks: the network's own loop hands it over itself."""
    for module in net.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key in [
                k for k, hook in hooks.items() if isinstance(hook, _Rotation | _Sides) or hook is _tokens_alone
            ]:
                del hooks[key]
                module._forward_pre_hooks_with_kwargs.pop(key, None)


def _parts(net: nn.Module, size: int) -> tuple[list[str], list[str]]:
    """(the members that ``forward_features`` runs, by their first call; those that ``forward_head`` alone runs). Raises
    AttributeError or TypeError for a network that has not both.
    """
    whole: Any = net
    found: list[Any] = []
    order = _called(net, lambda: found.append(dry_call(_Method(whole.forward_features, net), photo(size))))
    after = _called(net, lambda: dry_call(_Method(lambda x: whole.forward_head(x, pre_logits=True), net), found[0]))
    return order, [name for name in after if name not in order]


class _Method(nn.Module):
    """A method of a network as a module."""

    def __init__(self, method: Callable[[Any], Any], net: nn.Module) -> None:
        super().__init__()
        self.method, self.net = method, net

    def forward(self, x: Any) -> Any:
        return self.method(x)


def _called(net: nn.Module, work: Callable[[], Any]) -> list[str]:
    """The members of the network that the work runs, or that it runs a part of, by their first call."""
    order: dict[str, None] = {}
    hooks = [
        part.register_forward_pre_hook(partial(_note, order, name))
        for name, member in net.named_children()
        for part in member.modules()
    ]
    try:
        work()
    finally:
        for hook in hooks:
            hook.remove()
    return list(order)


def _note(order: dict[str, None], name: str, *_: object) -> None:
    order.setdefault(name)


def _empty(member: nn.Module) -> nn.Module:
    return nn.ModuleList() if isinstance(member, nn.ModuleList) else nn.Sequential()


def _only(net: nn.Module, members: Container[str], parameters: Container[str]) -> nn.Module:
    """A shallow copy with these members and these of the network's own parameters alone; buffers go with the members
    that make features.
    """
    part = copy.copy(net)
    part._modules = {name: module for name, module in net._modules.items() if name in members}
    part._parameters = {name: p for name, p in net._parameters.items() if name in parameters}
    return part
