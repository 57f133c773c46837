"""``probe``: a head on the frozen backbone's features. Logistic regression solves a linear one; another is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.core.choice import Choice
from headstart.core.text import plural
from headstart.data.schema import Split
from headstart.evaluation.objective import on_val
from headstart.inference.device import Machine
from headstart.models.heads import head_kind
from headstart.models.network import Network, head_logits
from headstart.training import rules
from headstart.training.batches import ArraySource
from headstart.training.cross_validation import NEVER_OUT, folds_beside
from headstart.training.linear_probe import fit_probe
from headstart.training.logistic_regression import standardiser
from headstart.training.optimization import parameter_groups
from headstart.training.plan import TRAINED_HEAD, TRAINING, Plan
from headstart.training.rules import Facts
from headstart.training.stages import Joining, choose_scale, column_scales
from headstart.training.strategies.base import FitContext, FitResult, Strategy, part
from headstart.training.strategies.together import by_first
from headstart.training.trainer import Trainer


class Probe(Strategy):
    """The whole backbone stays frozen; its features are computed once."""

    summary = "a linear probe on the frozen backbone"
    averages = True
    reads_train_features = begins_with_features = True

    def settings(self, plan: Plan) -> frozenset[str]:
        unused = {"lr_backbone", "stage_decay", "batchnorm", "augment"}
        folds = {"folds"} if plan.folds else set()
        return (TRAINING - unused | {"variant"} if plan.variant else frozenset()) | {"stages"} | folds

    def defaults(self, facts: Facts) -> dict[str, Choice]:
        if facts.closed_form:
            return {}
        return {
            "variant": Choice(TRAINED_HEAD, "logistic regression cannot solve this head"),
            "epochs": rules.epochs(facts, 10, 200, 1200),
            "lr": Choice(1e-3, "a small network on standardised features"),
            "label_smoothing": Choice(0.0, "dropout and decay regularise the head"),
            "stages": Choice("last", "a trained head can make more of one stage than a linear one"),
        }

    def takes(self, plan: Plan) -> frozenset[str]:
        return frozenset({"loss", "callbacks"}) if plan.variant else frozenset()

    def describe(self, plan: Plan) -> str:
        if plan.folds:
            return f"the average of {plan.folds} linear probes on the frozen backbone, each trained without one fold"
        return "a new head on the frozen backbone" if plan.variant else self.summary

    def fit(self, context: FitContext) -> FitResult:
        return self._fit(context) if context.world.size == 1 else by_first(self._fit, context)

    def _fit(self, context: FitContext) -> FitResult:
        context, scale = _with_stages(context)
        train, val = ((context.features(split), context.labels[split]) for split in ("train", "val"))
        head = context.new_head()
        if context.plan.variant:
            fitted = _train(context, head, train, val)
        else:
            scales = column_scales(scale, context.backbone.dim, context.backbone.facts.dim)
            fitted = _solve(context, head, train, val, scales)
        figures = on_val(context.objective, head_logits(head, val[0]), val[1])
        network = Network(context.backbone, head)
        return FitResult(network, context.plan, figures, parts=(part("probe", figures),), **fitted)


def _with_stages(context: FitContext) -> tuple[FitContext, float]:
    """The context with the stages that the probe is to read, the plan saying which and why; and the scale of the
    joined ones.
    """
    every, plan = context.joining(tuple(context.backbone.joinable_taps)), context.plan
    if plan.stages == "last":
        return context, 0.0
    if plan.stages == "all":
        return every, 1.0
    if every.backbone is context.backbone:
        found = Joining(0.0, "the network has no other stages")
    else:
        both: tuple[Split, ...] = ("train", "val")
        found = choose_scale(
            [every.features(split) for split in both], context.backbone.facts.dim,
            np.concatenate([context.labels[split] for split in both]), context.classes,
            _units(context, both), plan.seed,
        )  # fmt: skip
        context.events.message(f"Stages: {'all are joined' if found.scale else 'the last one'}: {found.reason}.")
    decided = replace(plan, stages="all" if found.scale else "last", reasons=plan.reasons | {"stages": found.reason})
    return (every if found.scale else context).with_plan(decided), found.scale


def _units(context: FitContext, splits: Sequence[Split]) -> np.ndarray:
    """The unit of each photo of these splits, which share none; without units every photo is one."""
    found, first = [], 0
    for split in splits:
        own = context.units.get(split, np.arange(len(context.labels[split])))
        found.append(own + first)
        first += int(own.max(initial=-1)) + 1
    return np.concatenate(found)


Rows = tuple[np.ndarray, np.ndarray]  # features [N, D] and targets [N]


@torch.no_grad()
def _solve(context: FitContext, head: nn.Module, train: Rows, val: Rows, scales: np.ndarray) -> dict[str, Any]:
    """Logistic regression, its strength of L2 and its temperature chosen on val, and where that is small on train too.
    It reads all photos at once: to draw each class equally often is to weight the classes.
    """
    assert isinstance(head, nn.Linear)  # what Head.closed_form promises
    folds = folds_beside(train[1], _units(context, ["train"]), len(val[1]), context.plan.seed)
    if folds is not None:
        asked = plural(int((folds != NEVER_OUT).sum()), "photo")
        context.events.message(
            f"L2: chosen by cross-validation on {asked} of train beside val, which has {len(val[1])}."
        )
    balanced = context.plan.balance != "none"
    products = context.machine.products
    probe = fit_probe(train, val, context.classes, balanced=balanced, scales=scales, folds=folds, device=products)
    head.weight.copy_(probe.weight)
    head.bias.copy_(probe.bias)
    return {"probe": probe, "temperature": probe.temperature}


def _train(context: FitContext, head: nn.Module, train: Rows, val: Rows) -> dict[str, Any]:
    """Gradient descent on features that are standardised, where the head can absorb that afterwards."""
    kind, (mean, scale) = head_kind(context.head)[0], (t.float() for t in standardiser(torch.from_numpy(train[0])))
    rows, val_rows = ((x - mean.numpy()) / scale.numpy() if kind.absorbs else x for x, _ in (train, val))
    # Small matrices: float32 costs nothing, and a GPU would wait for its launches.
    plan = replace(context.plan, precision="float32")
    machine = Machine(torch.device("cpu"), context.machine.fast_bf16, context.machine.words)
    trained = Trainer(
        head, ArraySource(rows, train[1], plan.seed, plan.balance == "sampler"),
        lambda: on_val(context.objective, head_logits(head, val_rows), val[1]), plan, machine,
        context.state / "head", parameter_groups(head.named_parameters(), plan.lr, plan.weight_decay),
        context.events, context.minimised, context.class_weights(), context.callbacks,
    ).run()  # fmt: skip
    if kind.absorbs:
        kind.absorb(head, mean, scale)
    return {"history": trained.history, "best_epoch": trained.best_epoch, "decision": trained.stopped}
