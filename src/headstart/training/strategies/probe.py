"""``probe``: a head on the frozen backbone's features. Logistic regression solves a linear one; another is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.core.choice import Choice
from headstart.evaluation.objective import on_val
from headstart.inference.device import Machine
from headstart.models.heads import head_kind
from headstart.models.network import Network, head_logits
from headstart.training import rules
from headstart.training.batches import ArraySource
from headstart.training.linear_probe import fit_probe
from headstart.training.logistic_regression import standardiser
from headstart.training.optimization import parameter_groups
from headstart.training.plan import TRAINED_HEAD, TRAINING, Plan
from headstart.training.rules import Facts
from headstart.training.strategies.base import FitContext, FitResult, Strategy, part
from headstart.training.trainer import Trainer


class Probe(Strategy):
    """The whole backbone stays frozen; its features are computed once."""

    summary = "a linear probe on the frozen backbone"
    reads_train_features = True

    def settings(self, plan: Plan) -> frozenset[str]:
        unused = {"lr_backbone", "stage_decay", "batchnorm", "augment"}
        return TRAINING - unused | {"variant"} if plan.variant else frozenset()

    def defaults(self, facts: Facts) -> dict[str, Choice]:
        if facts.closed_form:
            return {}
        return {
            "variant": Choice(TRAINED_HEAD, "logistic regression cannot solve this head"),
            "epochs": rules.epochs(facts, 10, 200, 1200),
            "lr": Choice(1e-3, "a small network on standardised features"),
            "label_smoothing": Choice(0.0, "dropout and decay regularise the head"),
        }

    def describe(self, plan: Plan) -> str:
        return "a new head on the frozen backbone" if plan.variant else self.summary

    def fit(self, context: FitContext) -> FitResult:
        train, val = ((context.features(split), context.labels[split]) for split in ("train", "val"))
        head = context.new_head()
        fitted = _train(context, head, train, val) if context.plan.variant else _solve(context, head, train, val)
        figures = on_val(context.objective, head_logits(head, val[0]), val[1])
        network = Network(context.backbone, head)
        return FitResult(network, context.plan, figures, parts=(part("probe", figures),), **fitted)


Rows = tuple[np.ndarray, np.ndarray]  # features [N, D] and targets [N]


@torch.no_grad()
def _solve(context: FitContext, head: nn.Module, train: Rows, val: Rows) -> dict[str, Any]:
    """Logistic regression, its strength of L2 and its temperature chosen on val. It reads all photos at once: to draw
    each class equally often is to weight the classes.
    """
    assert isinstance(head, nn.Linear)  # what Head.closed_form promises
    probe = fit_probe(train, val, context.classes, balanced=context.plan.balance != "none")
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
        context.events, context.objective, context.class_weights(),
    ).run()  # fmt: skip
    if kind.absorbs:
        kind.absorb(head, mean, scale)
    return {"history": trained.history, "best_epoch": trained.best_epoch}
