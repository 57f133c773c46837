"""Heads: modules from a backbone's features [N, D] to logits [N, C].

A head is named as ``kind`` or ``kind:spec``: ``linear``, or ``mlp:1024,256`` for hidden layers of these widths. Outputs
are logits: the loss and predictions apply the softmax, so it cannot be applied twice. Another package adds a ``Head``
under the entry point group ``headstart.heads``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from headstart.core.registry import Registry
from headstart.errors import OptionError, did_you_mean

_WIDEST = 65_536  # a wider layer is a typing error, and would cost more than the backbone


class Head(ABC):
    """A kind of head. ``spec`` is what follows its name: "1024,256" of ``mlp:1024,256``, "" without a colon."""

    closed_form = False
    """Whether ``build`` makes one ``nn.Linear`` without dropout: logistic regression then solves it."""
    absorbs = False
    """Whether ``absorb`` works: the head is then trained on standardised features, else on plain ones."""

    def parse(self, spec: str) -> tuple[int, ...]:
        """The widths of the hidden layers. Raises OptionError for an invalid spec."""
        if spec:
            raise OptionError(f"This head takes nothing after its name, but {spec!r} follows.", option="head")
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
                f"The head mlp:{spec} has a hidden width that is not a number from 1 to {_WIDEST}.",
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
        last = [m for m in module.modules() if isinstance(m, nn.Linear)][-1]
        last.weight.div_(temperature)
        last.bias.div_(temperature)

    @torch.no_grad()
    def absorb(self, module: nn.Module, mean: torch.Tensor, scale: torch.Tensor) -> None:
        first = next(m for m in module.modules() if isinstance(m, nn.Linear))
        weight = first.weight.double() / scale.double()
        first.bias.sub_((weight @ mean.double()).float())
        first.weight.copy_(weight.float())


class Linear(Mlp):
    """One linear layer; in a Sequential only if a dropout comes before it."""

    closed_form = True

    def parse(self, spec: str) -> tuple[int, ...]:
        return Head.parse(self, spec)


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
        hint = f"{did_you_mean(kind, HEADS.names())} {known}".strip()
        raise OptionError(f"head {head!r} is not known", hint, option="head")
    if colon and not spec:
        problem = f"Nothing follows the colon of the head {head!r}."
        raise OptionError(problem, "Write it like mlp:1024,256.", option="head")
    return HEADS.get(kind), spec


def check_head(head: str, dropout: Sequence[float] = ()) -> None:
    """Raises OptionError for an unknown head, a dropout outside [0, 1), or more dropouts than layers."""
    kind, spec = head_kind(head)
    layers = len(kind.parse(spec)) + 1
    if len(dropout) > layers:
        problem = f"{len(dropout)} dropouts for a head of {layers} linear layers ({head})"
        raise OptionError(problem, "Give one per layer at most.", option="dropout")
    for p in dropout:
        if not 0 <= p < 1:
            hint = "It is the share of features that is set to zero in training."
            raise OptionError(f"dropout {p} is not in [0, 1)", hint, option="dropout")


def build_head(head: str, dim: int, classes: int, dropout: Sequence[float] = ()) -> nn.Module:
    """A head with random weights.

    Args:
        head: "linear", "mlp:1024,256", or a kind of another package.
        dim: features per photo.
        classes: logits per photo.
        dropout: one share per layer, the first layer first; further layers have none.

    Raises:
        OptionError: see ``check_head``.
    """
    check_head(head, dropout)
    kind, spec = head_kind(head)
    return kind.build(spec, dim, classes, dropout)


def is_closed_form(head: str, dropout: Sequence[float] = ()) -> bool:
    """Whether logistic regression can solve the head. Raises OptionError."""
    return head_kind(head)[0].closed_form and not any(dropout)
