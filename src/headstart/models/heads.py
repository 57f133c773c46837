"""Heads: modules from a backbone's features [N, D] to logits [N, C].

A head is named as ``kind`` or ``kind:spec``: ``linear``, or ``mlp:1024,256`` for hidden layers of these widths. Always
logits: the softmax belongs to the loss and to predictions, so it cannot be applied twice.

To add a kind, write a ``Head`` and declare it under the entry point group ``headstart.heads`` (or call
``HEADS.register``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from headstart.core.registry import Registry
from headstart.errors import OptionError, did_you_mean

_WIDEST = 65_536  # a wider layer is a typing mistake, and would cost more than the backbone


class Head(ABC):
    """A kind of head. ``spec`` is what follows its name: "1024,256" of ``mlp:1024,256``, "" without a colon."""

    closed_form = False
    """Whether ``build`` makes one ``nn.Linear`` where no dropout is asked for: logistic regression then solves it."""
    absorbs = False
    """Whether ``absorb`` works: the head is then trained on standardised features, else on plain ones."""

    def parse(self, spec: str) -> tuple[int, ...]:
        """The widths of the hidden layers. Raises OptionError for a spec without a meaning."""
        if spec:
            raise OptionError(f"This head takes nothing after its name, and was given {spec!r}.", option="head")
        return ()

    @abstractmethod
    def build(self, spec: str, dim: int, outputs: int, dropout: Sequence[float] = ()) -> nn.Module:
        """A module from features [N, dim] to logits [N, outputs]; ``dropout`` goes before its layers in turn."""

    @abstractmethod
    def scale(self, module: nn.Module, temperature: float) -> None:
        """Divide the logits of a module that ``build`` made by ``temperature``, in its weights."""

    def absorb(self, module: nn.Module, mean: torch.Tensor, scale: torch.Tensor) -> None:
        """Change a module that was trained on ``(features - mean) / scale`` [D] so that it takes plain features."""
        raise NotImplementedError


class Mlp(Head):
    """Linear layers with ReLU between them: Dropout(0.5), Linear(D, 1024), ReLU, Dropout(0.3), Linear(1024, C) for
    ``mlp:1024`` with the dropouts 0.5 and 0.3.
    """

    absorbs = True

    def parse(self, spec: str) -> tuple[int, ...]:
        widths = tuple(int(w) if w.strip().isascii() and w.strip().isdigit() else 0 for w in spec.split(","))
        if not all(0 < w <= _WIDEST for w in widths):
            raise OptionError(
                f"The head mlp:{spec} has a hidden width that is no number from 1 to {_WIDEST}.",
                "Write it as mlp:1024,256.",
                option="head",
            )
        return widths

    def build(self, spec: str, dim: int, outputs: int, dropout: Sequence[float] = ()) -> nn.Module:
        layers: list[nn.Module] = []
        for i, (width, following) in enumerate(pairwise([dim, *self.parse(spec), outputs])):
            if i:
                layers.append(nn.ReLU())
            if i < len(dropout) and dropout[i] > 0:
                layers.append(nn.Dropout(dropout[i]))
            layers.append(nn.Linear(width, following))
        return layers[0] if len(layers) == 1 else nn.Sequential(*layers)

    @torch.no_grad()
    def scale(self, module: nn.Module, temperature: float) -> None:
        last = _linears(module)[-1]
        last.weight.div_(temperature)
        last.bias.div_(temperature)

    @torch.no_grad()
    def absorb(self, module: nn.Module, mean: torch.Tensor, scale: torch.Tensor) -> None:
        first = _linears(module)[0]
        weight = first.weight.double() / scale.double()
        first.bias.sub_((weight @ mean.double()).float())
        first.weight.copy_(weight.float())


class Linear(Mlp):
    """One linear layer, in a Sequential only where a dropout stands before it."""

    closed_form = True

    def parse(self, spec: str) -> tuple[int, ...]:
        return Head.parse(self, spec)


def _linears(module: nn.Module) -> list[nn.Linear]:
    return [m for m in module.modules() if isinstance(m, nn.Linear)]


HEADS: Registry[Head] = Registry(
    "head",
    "headstart.heads",
    {"linear": "headstart.models.heads:Linear", "mlp": "headstart.models.heads:Mlp"},
    option="head",
)


def head_kind(head: str) -> tuple[Head, str]:
    """The kind that ``head`` names, and the spec after it. Raises OptionError."""
    kind, colon, spec = head.strip().lower().partition(":")
    if kind not in HEADS:
        known = f"Heads: {', '.join(HEADS.names())}; with hidden widths: mlp:1024,256."
        raise OptionError(
            f"head {head!r} is not known", f"{did_you_mean(kind, HEADS.names())} {known}".strip(), option="head"
        )
    if colon and not spec:
        raise OptionError(
            f"Nothing follows the colon of the head {head!r}.", "Write it like mlp:1024,256.", option="head"
        )
    return HEADS.get(kind), spec


def check_head(head: str, dropout: Sequence[float] = ()) -> None:
    """Raises OptionError for a head that does not exist, a dropout outside [0, 1), or more dropouts than layers."""
    kind, spec = head_kind(head)
    layers = len(kind.parse(spec)) + 1
    if len(dropout) > layers:
        raise OptionError(
            f"{len(dropout)} dropouts for a head of {layers} linear layers ({head})",
            "Give one per layer at most.",
            option="dropout",
        )
    wrong = [p for p in dropout if not 0 <= p < 1]
    if wrong:
        raise OptionError(
            f"dropout {wrong[0]} is not in [0, 1)",
            "It is the share of features that is set to zero in training.",
            option="dropout",
        )


def build_head(head: str, dim: int, classes: int, dropout: Sequence[float] = ()) -> nn.Module:
    """A head with random weights.

    Args:
        head: "linear", "mlp:1024,256", or a kind that another package brings.
        dim: features per photo.
        classes: logits per photo.
        dropout: shares for the layers in turn, the first layer first; layers beyond the last one given have none.

    Raises:
        OptionError: see ``check_head``.
    """
    check_head(head, dropout)
    kind, spec = head_kind(head)
    return kind.build(spec, dim, classes, dropout)


def is_closed_form(head: str, dropout: Sequence[float] = ()) -> bool:
    """Whether logistic regression can solve the head. Raises OptionError."""
    return head_kind(head)[0].closed_form and not any(dropout)
