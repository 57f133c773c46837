"""Launchers: the processes and devices of one training. ``single`` is one process on one device; another package adds
one that starts several processes under the entry point group ``headstart.launchers``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from headstart.core.registry import Registry
from headstart.training.folds import fit_folds
from headstart.training.strategies import STRATEGIES
from headstart.training.strategies.base import FitContext, FitResult


class Launcher(Protocol):
    """Where a training runs."""

    def run(self, fit: Callable[[FitContext], FitResult], context: FitContext) -> FitResult:
        """Call ``fit`` in each process that takes part, and return the result of the first."""


class Single:
    """This process, on the context's machine."""

    def run(self, fit: Callable[[FitContext], FitResult], context: FitContext) -> FitResult:
        return fit(context)


LAUNCHERS: Registry[Launcher] = Registry("launcher", "headstart.launchers", {"single": f"{__name__}:Single"})


def fit(context: FitContext, launcher: str = "single") -> FitResult:
    """Train by the plan's strategy.

    Raises:
        TrainingError, Interrupted, RunError: see ``trainer.Trainer.run``.
    """
    way = STRATEGIES.get(context.plan.strategy).fit
    return LAUNCHERS.get(launcher).run(partial(fit_folds, way) if context.folds else way, context)
