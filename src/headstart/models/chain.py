"""A network as a chain of named blocks. In: (dotted name, module) pairs in order. Out: modules that can be parted
anywhere between two blocks.

The names are those of the original network, so a chain's ``state_dict`` has the original's keys, whole or in part, and
two parts of one chain share their parameters.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Block = tuple[str, nn.Module]


class Chain(nn.Module):
    """Blocks run one after the other; ``layer2.0``, ``layer2.1`` become a Sequential ``layer2`` with children ``0`` and
    ``1``.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.block_names: tuple[str, ...] = tuple(name for name, _ in blocks)
        for name, module in _nest(blocks).items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x

    def named_blocks(self) -> Iterator[Block]:
        """(dotted name, module) of each block, in order."""
        return ((name, self.get_submodule(name)) for name in self.block_names)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Gives inlined parts their own prefix back: the mirror of ``Inlined.state_dict`` (torch calls this once per
        module).
        """
        for name, part in self.named_children():
            if isinstance(part, Inlined):
                for key in part.inner.state_dict():
                    if prefix + key in state_dict:
                        state_dict[f"{prefix}{name}.inner.{key}"] = state_dict.pop(prefix + key)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Inlined(nn.Module):
    """A block that is made of several members of the network: its keys in a ``state_dict`` carry no name of its own.

    A vision transformer's stem is one (patch embedding, class token and position embedding, which lie at the top of
    timm's module), as is a network that is known only as a whole.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        outer = prefix[: prefix.rstrip(".").rfind(".") + 1]
        return self.inner.state_dict(destination=destination, prefix=outer, keep_vars=keep_vars)


class GlobalPool(nn.Module):
    """The mean over all places of a feature map: [N, C, H, W], [N, H, W, C] (``channels_last``) or tokens [N, L, C] to
    [N, C].

    The first ``prefix_tokens`` tokens (class and register tokens) are no places and are left out. [N, C] passes
    through.
    """

    def __init__(self, channels_last: bool = False, prefix_tokens: int = 0) -> None:
        super().__init__()
        self.channels_last, self.prefix_tokens = channels_last, prefix_tokens

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            return x.mean((1, 2) if self.channels_last else (2, 3))
        return x[:, self.prefix_tokens :].mean(1) if x.ndim == 3 else x

    def extra_repr(self) -> str:
        return f"channels_last={self.channels_last}, prefix_tokens={self.prefix_tokens}"


def unnest(name: str, module: nn.Module) -> Iterator[Block]:
    """The blocks of a module: a plain Sequential is opened, at any depth; what does nothing (Identity, Dropout of 0) is
    left out.
    """
    if type(module).forward is nn.Sequential.forward and len(list(module.children())):
        for child, inner in module.named_children():
            yield from unnest(f"{name}.{child}", inner)
    elif not _does_nothing(module):
        yield name, module


def _does_nothing(module: nn.Module) -> bool:
    return isinstance(module, nn.Identity) or (isinstance(module, nn.Dropout) and module.p == 0)


def _nest(blocks: Sequence[Block]) -> OrderedDict[str, nn.Module]:
    """One level of the tree: blocks under a common first name become one Sequential. Blocks of one name always stand
    together.
    """
    tree: OrderedDict[str, nn.Module] = OrderedDict()
    groups: OrderedDict[str, list[Block]] = OrderedDict()
    for name, module in blocks:
        first, _, rest = name.partition(".")
        if rest:
            tree[first] = nn.Identity()  # holds the place in the order until the group is whole
            groups.setdefault(first, []).append((rest, module))
        else:
            tree[first] = module
    tree.update({first: nn.Sequential(_nest(members)) for first, members in groups.items()})
    return tree


@torch.no_grad()
def dry_run(module: nn.Module, size: int, seed: int = 0) -> Tensor:
    """What the module makes of one random photo [1, 3, size, size], in eval mode; modes and BatchNorm statistics are
    left as they were.
    """
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        place = next((p.device for p in module.parameters()), torch.device("cpu"))
        photo = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))
        out: Tensor = module(photo.to(place))
        return out
    finally:
        for each, mode in modes:
            each.training = mode
