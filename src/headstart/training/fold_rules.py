"""Which trainings can be cross-validated. In: a strategy and a head. Out: why their models have no average that is one
model, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from headstart.errors import OptionError
from headstart.training.strategies import STRATEGIES


def in_folds(strategy: str) -> str:
    """The strategy that is trained in each fold: of auto the probe alone."""
    return "probe" if strategy == "auto" else strategy


def no_average(strategy: str, head: str, dropout: Sequence[float]) -> str:
    """Why the models of folds could not be averaged, and what to do; "" where they can."""
    from headstart.models.heads import is_closed_form  # with torch, which options alone do not need

    way = "the average of K linear heads on one frozen backbone is one head, K networks have none"
    averages = [name for name in STRATEGIES.names() if STRATEGIES.get(name).averages]
    if strategy in STRATEGIES and in_folds(strategy) not in averages:
        known = " and ".join(["auto", *averages])
        return (
            f"`folds` goes with the strategies {known}, not with {strategy}: {way}. Leave out `folds`, or use"
            " `strategy='probe'`"
        )
    try:
        linear = is_closed_form(head, dropout)
    except OptionError:  # told where the head is checked
        return ""
    wanted = "`head='linear'`" if not any(dropout) else "no `dropout`"
    return "" if linear else f"`folds` goes with a plain linear head: {way}. Leave out `folds`, or use {wanted}"
