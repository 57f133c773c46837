"""A network as a chain of named blocks that can be split between any two.

The names are those of the original network, so a chain's ``state_dict`` has the original's keys, and two parts of one
chain share their parameters.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
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
        """Restores the prefix that ``Inlined.state_dict`` omits (torch calls this once per module)."""
        for name, part in self.named_children():
            if isinstance(part, Inlined):
                for key in part.inner.state_dict():
                    if prefix + key in state_dict:
                        state_dict[f"{prefix}{name}.inner.{key}"] = state_dict.pop(prefix + key)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Inlined(nn.Module):
    """A block of several members of the network, whose keys in a ``state_dict`` have no prefix for the block itself.

    Examples: a vision transformer's stem (patch embedding, class token and position embedding are direct members of
    timm's module), and a network that could not be divided.
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


def named_originally(chain: nn.Module) -> Iterator[tuple[str, str, nn.Parameter]]:
    """(name, key, parameter) of each parameter of a chain: keys in a ``state_dict`` lack the name of ``Inlined``."""
    inlined = tuple(name for name, module in chain.named_modules() if isinstance(module, Inlined))
    for name, parameter in chain.named_parameters():
        part = next((part for part in inlined if name.startswith(f"{part}.inner.")), None)
        key = name if part is None else part[: part.rfind(".") + 1] + name.removeprefix(f"{part}.inner.")
        yield name, key, parameter


class GlobalPool(nn.Module):
    """The mean over all positions: [N, C, H, W], [N, H, W, C] (``channels_last``) or tokens [N, L, C] to [N, C].

    The first ``prefix_tokens`` tokens (class and register tokens) have no position and are left out. [N, C] passes
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


def is_channels_last(outputs: Tensor) -> bool:
    """Whether outputs for square photos are [N, H, W, C]: the two equal sides of a map are its height and width."""
    return outputs.ndim == 4 and outputs.shape[1] == outputs.shape[2] != outputs.shape[3]


def prefix_of(tokens: Tensor, prefix_tokens: int) -> int:
    """How many of the tokens [N, L, C] of a square photo have no position: ``prefix_tokens``, or none before the class
    token has joined them.
    """

    def is_square(count: int) -> bool:
        return count > 0 and math.isqrt(count) ** 2 == count

    count = tokens.shape[1]
    return 0 if is_square(count) and not is_square(count - prefix_tokens) else prefix_tokens


def unnest(name: str, module: nn.Module) -> Iterator[Block]:
    """The blocks of a module: a plain Sequential is opened, at any depth; Identity and Dropout(0) are left out."""
    if type(module).forward is nn.Sequential.forward and len(list(module.children())):
        for child, inner in module.named_children():
            yield from unnest(f"{name}.{child}", inner)
    elif not isinstance(module, nn.Identity) and not (isinstance(module, nn.Dropout) and module.p == 0):
        yield name, module


def _nest(blocks: Sequence[Block]) -> OrderedDict[str, nn.Module]:
    """One level of the tree: blocks with a common first name, which are always adjacent, become one Sequential."""
    tree: OrderedDict[str, nn.Module] = OrderedDict()
    groups: dict[str, list[Block]] = {}
    for name, module in blocks:
        first, _, rest = name.partition(".")
        tree[first] = module  # of a group: holds its place in the order
        if rest:
            groups.setdefault(first, []).append((rest, module))
    return tree | {first: nn.Sequential(_nest(members)) for first, members in groups.items()}


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """The module in eval mode; afterwards each of its parts is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def photo(size: int) -> Tensor:
    """One random photo [1, 3, size, size], always the same."""
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def dry_call(module: nn.Module, x: Any) -> Any:
    """The module's output, in eval mode."""
    with eval_mode(module):
        return module(x)


def device_of(module: nn.Module) -> torch.device:
    """Where a module computes: where its parameters or buffers are; the CPU for one that has none."""
    tensors = (*islice(module.parameters(), 1), *islice(module.buffers(), 1))
    return tensors[0].device if tensors else torch.device("cpu")


def dry_run(module: nn.Module, size: int) -> Tensor:
    """The module's output for one random photo [1, 3, size, size], in eval mode."""
    out: Tensor = dry_call(module, photo(size).to(device_of(module)))
    return out
