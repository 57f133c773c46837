"""A fit on frozen features by several processes: all compute these, rank 0 fits, and the others get its network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from headstart.core.world import ALONE
from headstart.data.schema import Split
from headstart.evaluation.objective import OnVal
from headstart.models.network import Network
from headstart.training.strategies.base import FitContext, FitResult, part


def by_first(fit: Callable[[FitContext], FitResult], context: FitContext) -> FitResult:
    """What ``fit`` makes of the context's features in one process: bit for bit what that would make alone. Fitting a
    head takes seconds, and processes would only wait for each other's numbers.

    In other processes the result has the network, the plan and the figures on val, and nothing of how it was found.
    """
    world = context.world
    splits: tuple[Split, ...] = ("train", "val")
    for split in splits:
        if len(context.labels[split]):  # folds have no val
            context.compute(split)
    found = fit(context.among(ALONE)) if world.first else None
    told = world.tell(found and _facts(found, context))
    if found is None:
        found = _like(told, context)
    world.share(list(found.network.head.state_dict().values()))
    return found


def _facts(found: FitResult, context: FitContext) -> dict[str, object]:
    val = OnVal.of(found.val)
    return {
        "val": [*val, val.balanced, val.mean_ap], "stages": found.plan.stages, "reasons": found.plan.reasons,
        "joined": list(found.network.backbone.joined), "temperature": found.temperature,
    }  # fmt: skip


def _like(told: dict[str, Any], context: FitContext) -> FitResult:
    """A result with the head still to come."""
    context = context.joining(told["joined"]) if told["joined"] else context
    plan = replace(context.plan, stages=told["stages"], reasons=told["reasons"])
    val = OnVal(*told["val"])
    network = Network(context.backbone, context.new_head())
    return FitResult(network, plan, val, parts=(part("probe", val),), temperature=told["temperature"])
