"""``finetune``, ``partial`` and ``scratch``: the backbone is trained, or the part of it after a boundary."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from headstart.core.array_store import RowStore
from headstart.core.choice import Choice
from headstart.data.augment import Augmentation, View
from headstart.data.schema import Split
from headstart.evaluation.objective import loss_accuracy
from headstart.inference.features import photo_batches
from headstart.inference.runner import Normalise
from headstart.models.freeze import freeze, thaw
from headstart.models.network import Network
from headstart.training import rules
from headstart.training.batches import MapSource, PictureSource, Source, as_tensor
from headstart.training.optimization import network_groups
from headstart.training.plan import TRAINING, Plan
from headstart.training.rules import Facts
from headstart.training.strategies.base import Boundary, FitContext, FitResult, Strategy, part
from headstart.training.trainer import Trainer

Selection = Callable[[str, nn.Parameter], bool]


class FineTune(Strategy):
    """Everything after the boundary is trained, from pretrained weights, on fresh augmentations in every epoch."""

    summary = "fine-tuning of the whole network"
    boundary = Boundary("optional", "start", "every stage is trained")
    trains_backbone = True

    def describe(self, plan: Plan) -> str:
        return self.summary if plan.boundary == "start" else f"fine-tuning from {plan.boundary} on"

    def fit(self, context: FitContext) -> FitResult:
        return fine_tune(context)


class Partial(FineTune):
    """Layers before the boundary are frozen and computed once per photo and view; the rest is trained on that."""

    summary = "partial fine-tuning: stages before the boundary are frozen"
    boundary = Boundary("required", "layer4", "the last stage: the one most particular to the old task")
    reads_train_features = True

    def settings(self, plan: Plan) -> frozenset[str]:
        return TRAINING | {"views"}

    def defaults(self, facts: Facts) -> dict[str, Choice]:
        count = 4 if facts.photos < 10_000 else 2
        return {
            "views": Choice(count, "centre, mirror image and random crops, each computed once by the frozen stages")
        }

    def describe(self, plan: Plan) -> str:
        return self.summary

    def fit(self, context: FitContext) -> FitResult:
        return fine_tune(context, cached=context.plan.boundary != "start")


class Scratch(FineTune):
    """Everything is trained from random weights: what the photos alone can teach."""

    summary = "training from random weights"
    boundary = Boundary("none", "start", "every stage is trained")
    pretrained = False

    def defaults(self, facts: Facts) -> dict[str, Choice]:
        longer = {"epochs": rules.epochs(facts, 10, 60, 1500)}
        if facts.native_size <= 64:  # its rates are one for all stages already
            return longer
        return longer | {
            "lr": Choice(2e-3, "all weights are random and batch-normalised"),
            "lr_backbone": Choice(2e-3, "nothing is pretrained: the head's rate"),
            "stage_decay": Choice(1.0, "nothing is pretrained: one rate for all stages"),
        }


def fine_tune(
    context: FitContext, start: FitResult | None = None, cached: bool = False, trainable: Selection | None = None
) -> FitResult:
    """Train the layers after the plan's boundary, and the head.

    Args:
        context: see ``FitContext``.
        start: a result whose head training starts from, instead of a random one.
        cached: compute the frozen layers once per photo and fixed view, instead of once per epoch.
        trainable: says of each parameter after the boundary, by its name there, whether it is trained; all by default.
    """
    plan = context.plan
    head = copy.deepcopy(start.network.head) if start else context.new_head()
    network = Network(copy.deepcopy(context.backbone), head)
    trunk, tail = network.backbone.split_at(plan.boundary)
    freeze(trunk)
    for name, parameter in tail.named_parameters():
        parameter.requires_grad_(trainable is None or trainable(name, parameter))
    seen = tail if cached else nn.Sequential(trunk, tail)
    # A study measures what a sigmoid before the loss costs, as in the Imagewoof project. It keeps the order of the
    # logits, so the classifier that is kept predicts what this network does.
    bugs = [nn.Sigmoid() for bug in context.deliberate_bugs if bug == "sigmoid"]
    trainee = nn.Sequential(Normalise(context.extractor.preprocessing), seen, head, *bugs)
    reading = _cached_outputs(context, trunk) if cached else _pictures(context)
    context.extractor.ready = None  # its memory is needed for the training

    def validate() -> tuple[float, float]:
        return loss_accuracy(context.objective, _logits(trainee, reading.val(), context), context.labels["val"])

    groups, state = network_groups(tail, head, plan), context.state / plan.strategy
    trainer = Trainer(
        trainee, reading.train, validate, plan, context.machine, state, groups, context.events, context.objective
    )
    trainee.to(context.machine.device)
    trained = trainer.run()
    trainee.to("cpu")
    thaw(network.backbone)
    network.eval()
    best = trained.history[trained.best_epoch - 1]
    val = best.val_loss, best.val_accuracy
    parts = (*(start.parts if start else ()), part(plan.strategy, val))
    probe = start.probe if start else None
    return FitResult(network, plan, val, trained.history, trained.best_epoch, probe, parts)


@dataclass(frozen=True)
class _Reading:
    """What a training reads: batches for the epochs, and all of val, in order, as inputs on the CPU."""

    train: Source
    val: Callable[[], Iterator[torch.Tensor]]


def _pictures(context: FitContext) -> _Reading:
    plan, val = context.plan, context.pixels["val"]
    how = Augmentation.named(plan.augment)
    source = PictureSource(context.pixels["train"], context.labels["train"], plan.image_size, how, plan.seed)

    def read_val() -> Iterator[torch.Tensor]:
        for batch, photos in photo_batches(val, range(len(val)), plan.image_size, View()):
            yield torch.from_numpy(photos[: len(batch)])

    return _Reading(source, read_val)


def _cached_outputs(context: FitContext, trunk: nn.Module) -> _Reading:
    """Compute the frozen layers once per view, for training and for val; the epochs then read their outputs only."""
    how, plan = Augmentation.named(context.plan.augment), context.plan

    def store(split: Split, view: View) -> RowStore:
        task = f"outputs of the frozen stages for {split}, view {view.number + 1}"
        return context.extractor.outputs(
            trunk, plan.boundary, context.pixels[split], view, lambda d, n: context.events.progress(task, d, n)
        )

    # Without crops there are the centre and, where mirroring is allowed, its mirror image.
    count = plan.views if how.smallest < 1 else 1 + how.mirror
    stores = tuple(store("train", View(n, how.mirror, how.smallest)) for n in range(count))
    val_store = store("val", View())
    source = MapSource(stores, tuple(map(str, context.pixels["train"].digests)), context.labels["train"], plan.seed)
    digests = list(map(str, context.pixels["val"].digests))

    def read_val() -> Iterator[torch.Tensor]:
        for first in range(0, len(digests), 64):
            yield as_tensor(val_store.gather(digests[first : first + 64])).float()

    return _Reading(source, read_val)


@torch.inference_mode()
def _logits(trainee: nn.Module, inputs: Iterator[torch.Tensor], context: FitContext) -> np.ndarray:
    """Logits [N, C] of a network in the middle of its training. Not folded: to fold it for each epoch would cost more
    than it saves, and on a few dozen photos more than the epoch.
    """
    trainee.eval()
    device = context.machine.device
    with torch.autocast(device.type, torch.bfloat16, enabled=context.plan.precision == "bf16"):
        return np.concatenate([trainee(x.to(device)).float().cpu().numpy() for x in inputs])
