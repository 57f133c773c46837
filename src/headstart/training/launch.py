"""Launchers: the processes and devices of one training. ``single`` is one process on one device, ``together`` several
that torchrun, SLURM, Kubernetes or ``devices`` started; another package adds one under the entry point group
``headstart.launchers``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from headstart.core.registry import Registry
from headstart.core.world import ALONE, here
from headstart.errors import OptionError
from headstart.training.folds import fit_folds
from headstart.training.strategies import STRATEGIES
from headstart.training.strategies.base import FitContext, FitResult, Strategy
from headstart.training.strategies.together import by_first


class Launcher(Protocol):
    """Where a training runs."""

    def run(self, fit: Callable[[FitContext], FitResult], context: FitContext) -> FitResult:
        """Call ``fit`` in each process that takes part, and return the result of the first."""


class Single:
    """This process, on the context's machine."""

    def run(self, fit: Callable[[FitContext], FitResult], context: FitContext) -> FitResult:
        return fit(context)


class Together:
    """This process and those that it has joined (``core.world``): each calls this with a context of its own."""

    def run(self, fit: Callable[[FitContext], FitResult], context: FitContext) -> FitResult:
        strategy = STRATEGIES.get(context.plan.strategy)
        check_parallel(strategy, context.plan.strategy)
        context = context.among(here())
        # Folds are probes, all of which read the one pass.
        return by_first(fit, context) if strategy.averages else fit(context)


def check_parallel(strategy: Strategy, name: str) -> None:
    """Raises OptionError for a strategy that several processes cannot share."""
    if not (strategy.parallel or strategy.averages):
        problem = f"`strategy={name!r}` does not say that several processes can share it."
        raise OptionError(problem, "Its class says so with `parallel = True`, or start one process.", option="strategy")


LAUNCHERS: Registry[Launcher] = Registry(
    "launcher", "headstart.launchers", {"single": f"{__name__}:Single", "together": f"{__name__}:Together"}
)


def fit(context: FitContext, launcher: str | None = None) -> FitResult:
    """Train by the plan's strategy; by default in the processes that this one has joined.

    Raises:
        TrainingError, Interrupted, RunError: see ``trainer.Trainer.run``.
    """
    launcher = launcher or ("single" if here() is ALONE else "together")
    way = STRATEGIES.get(context.plan.strategy).fit
    return LAUNCHERS.get(launcher).run(partial(fit_folds, way) if context.folds else way, context)
