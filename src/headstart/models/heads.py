"""Heads. In: a spec ("linear", "mlp:1024,256"), the feature dim and the number of classes. Out: a module from features
[N, dim] to logits [N, C].

Always logits: the softmax lives in the loss and in ``predict``, never here, so it cannot be applied twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from headstart.errors import OptionError, did_you_mean

_WIDEST = 65_536  # a wider layer is a typing mistake, and would cost more than the backbone


def build_head(spec: str, dim: int, classes: int, dropout: Sequence[float] = ()) -> nn.Module:
    """The head that ``spec`` describes; ``dropout`` goes in front of the linear layers, first layer first; layers
    beyond the last dropout given have none.

    ``linear`` is one Linear(dim, classes), in a Sequential only where a dropout stands before it. ``mlp:1024,256`` with
    dropouts (0.5, 0.3) is Dropout(0.5), Linear(dim, 1024), ReLU, Dropout(0.3), Linear(1024, 256), ReLU, Linear(256,
    classes). Raises OptionError.
    """
    widths = [dim, *parse_head(spec), classes]
    check_dropout(dropout, layers=len(widths) - 1, spec=spec)
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        if i:
            layers.append(nn.ReLU())
        if i < len(dropout) and dropout[i] > 0:
            layers.append(nn.Dropout(dropout[i]))
        layers.append(nn.Linear(inputs, outputs))
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def parse_head(spec: str) -> tuple[int, ...]:
    """The hidden widths: () for ``linear``, (1024, 256) for ``mlp:1024,256``. Raises OptionError."""
    kind, colon, sizes = spec.strip().lower().partition(":")
    if kind == "linear" and not colon:
        return ()
    if kind != "mlp":
        hint = did_you_mean(kind, ["linear", "mlp"])
        raise OptionError(
            f"head {spec!r} is not known", f"{hint} Heads: linear, or mlp:1024,256 (hidden widths).".strip()
        )
    widths = tuple(int(w) if w.strip().isascii() and w.strip().isdigit() else 0 for w in sizes.split(","))
    if not all(0 < w <= _WIDEST for w in widths):
        raise OptionError(
            f"head {spec!r} has a hidden width that is no number from 1 to {_WIDEST}", "Write it as mlp:1024,256."
        )
    return widths


def check_dropout(dropout: Sequence[float], layers: int, spec: str) -> None:
    """Raises OptionError for a dropout outside [0, 1) or for more dropouts than the head has linear layers."""
    if len(dropout) > layers:
        raise OptionError(
            f"{len(dropout)} dropouts for a head of {layers} linear layers ({spec})", "Give one per layer at most."
        )
    wrong = [p for p in dropout if not 0 <= p < 1]
    if wrong:
        raise OptionError(
            f"dropout {wrong[0]} is not in [0, 1)", "It is the share of features that is set to zero in training."
        )
