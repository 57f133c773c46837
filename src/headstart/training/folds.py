"""Cross-validation. In: a strategy, and the folds of train. Out: a network that is the average of the models of all
folds, and what each of them says of the photos that it did not see.

The logits of a linear head are linear in its weights. So on one frozen backbone the mean of the heads' weights and
biases, each divided by its temperature already, gives exactly the mean of their logits: K models are one head.

A fold chooses its stages by its own photos alone, as it chooses its L2, so that nothing was chosen by the photos that
it is judged on. A head on the last stage is one on all stages joined whose other weights are zero: folds that choose
differently have an average all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from headstart.core.events import Events
from headstart.data.schema import Fold, Split
from headstart.evaluation.objective import OnVal
from headstart.models.backbone import Backbone
from headstart.models.network import Network, head_logits
from headstart.training.plan import Plan
from headstart.training.strategies.base import FitContext, FitResult, FoldResult, part


def fit_folds(fit: Callable[[FitContext], FitResult], context: FitContext) -> FitResult:
    """Train a model for each of the context's folds by ``fit``, a strategy that leaves the backbone frozen and makes a
    linear head, and average them. The photos of test have no part in it.
    """
    context.features("train")  # one pass over all photos; what follows reads the cache
    fitted, results = [], []
    for number, fold in enumerate(context.folds, 1):
        found = fit(_of_fold(context, fold))
        fitted.append(found)
        results.append(_judged(context, fold, found))
        context.events.progress("folds", number, len(context.folds))
    backbone = max((one.network.backbone for one in fitted), key=lambda one: one.dim)
    network = Network(backbone, average_heads([one.network for one in fitted], backbone)).eval()
    plan = _decided([one.plan for one in fitted], context)
    val = _mean([one.val for one in fitted])
    return FitResult(network, plan, val, parts=(part(plan.strategy, val),), folds=tuple(results))


def _of_fold(context: FitContext, fold: Fold) -> FitContext:
    """The work of one fold: the photos outside it are all there is."""
    labels, units, pixels = context.labels["train"], context.units["train"], context.pixels["train"]
    members: dict[Split, list[int]] = {"train": list(fold.train), "val": list(fold.val)}
    return replace(
        context, folds=(), events=Events(),
        pixels={split: pixels.take(own) for split, own in members.items()},
        labels={split: labels[own] for split, own in members.items()},
        units={split: units[own] for split, own in members.items()},
    )  # fmt: skip


def _judged(context: FitContext, fold: Fold, found: FitResult) -> FoldResult:
    assert found.probe is not None  # of a linear head
    held_out = np.array(fold.held_out)
    extractor = context.extractor.joining(found.network.backbone.joined)
    rows = extractor.pooled(context.pixels["train"].take(held_out.tolist()))
    logits = head_logits(found.network.head, rows)
    return FoldResult(held_out, logits, found.probe, found.plan.stages, found.val)


@torch.no_grad()
def average_heads(networks: Sequence[Network], backbone: Backbone) -> nn.Linear:
    """The linear head on ``backbone`` whose logits are the mean of those of linear heads on it. A head that reads the
    last stage alone, whose features are the last ones, has zeros for the others.
    """
    heads = [network.head for network in networks if isinstance(network.head, nn.Linear)]
    assert len(heads) == len(networks)  # what Head.closed_form promises
    classes = heads[0].out_features
    weight, bias = torch.zeros(classes, backbone.dim, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64)
    for head in heads:
        weight[:, backbone.dim - head.in_features :] += head.weight.double() / len(heads)
        bias += head.bias.double() / len(heads)
    averaged = nn.Linear(backbone.dim, classes)
    averaged.weight.copy_(weight.float())
    averaged.bias.copy_(bias.float())
    return averaged


def _decided(plans: Sequence[Plan], context: FitContext) -> Plan:
    """The plan, with the stages that the average reads."""
    chosen = Counter(plan.stages for plan in plans)
    plan = plans[0]
    if len(context.backbone.joinable_taps) == 0 or context.plan.stages != "choose":
        return plan
    why = f"{chosen['all']} of {len(plans)} folds joined all stages, each by its own photos"
    stages = "all" if chosen["all"] else "last"
    context.events.message(f"Stages: {why}.")
    return replace(plan, stages=stages, reasons=plan.reasons | {"stages": why})


def _mean(figures: Sequence[tuple[float, float]]) -> OnVal:
    """The means over folds of their figures on val."""
    every = [OnVal.of(one) for one in figures]
    balanced = [one.balanced for one in every if one.balanced is not None]
    loss, accuracy = np.mean(every, axis=0).tolist()
    return OnVal(loss, accuracy, float(np.mean(balanced)) if len(balanced) == len(every) else None)
