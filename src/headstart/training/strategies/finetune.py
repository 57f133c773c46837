"""``finetune``, ``partial``, ``scratch`` and ``lp-ft``: the backbone is trained, or the part after a boundary."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from headstart.core.array_store import RowStore
from headstart.core.choice import Choice
from headstart.data.augment import Augmentation, View
from headstart.data.images import DecodedImages, reader_threads
from headstart.data.schema import Split
from headstart.evaluation.objective import OnVal, on_val
from headstart.inference.features import photo_batches
from headstart.inference.memory import InParts, enough_memory
from headstart.inference.row_exchange import in_order, own_photos
from headstart.inference.runner import Normalise
from headstart.models.freeze import freeze, thaw
from headstart.models.network import Network
from headstart.training import rules
from headstart.training.averaging import average_weights, mixture
from headstart.training.batches import MapSource, PictureSource, Source, as_tensor
from headstart.training.device_pictures import DevicePictures, fits
from headstart.training.optimization import network_groups
from headstart.training.own_transform import TransformedSource
from headstart.training.plan import TRAINING, Plan
from headstart.training.rules import Facts
from headstart.training.strategies.base import LAST, Boundary, FitContext, FitResult, Strategy, part
from headstart.training.strategies.probe import Probe
from headstart.training.trainer import Trainer

Selection = Callable[[str, nn.Parameter], bool]


class FineTune(Strategy):
    """Everything after the boundary is trained, from pretrained weights, on fresh augmentations in every epoch."""

    summary = "fine-tuning of the whole network"
    boundary = Boundary("optional", "start", "every stage is trained")
    trains_backbone = True
    parallel = True

    def takes(self, plan: Plan) -> frozenset[str]:
        return frozenset({"transform", "loss", "callbacks"})

    def describe(self, plan: Plan) -> str:
        return self.summary if plan.boundary == "start" else f"fine-tuning from {plan.boundary} on"

    def fit(self, context: FitContext) -> FitResult:
        return fine_tune(context)


class Partial(FineTune):
    """Layers before the boundary are frozen and computed once per photo and view; the rest is trained on that."""

    summary = "partial fine-tuning: stages before the boundary are frozen"
    boundary = Boundary("required", LAST, "the last stage: the one most particular to the old task")
    reads_train_features = True

    def settings(self, plan: Plan) -> frozenset[str]:
        return TRAINING | {"views"}

    def takes(self, plan: Plan) -> frozenset[str]:
        return frozenset({"loss", "callbacks"})  # its views are computed once

    def defaults(self, facts: Facts) -> dict[str, Choice]:
        count = 4 if facts.photos < 10_000 else 2
        reason = "centre, mirror image and random crops, each computed once by the frozen stages"
        return {"views": Choice(count, reason)}

    def describe(self, plan: Plan) -> str:
        return self.summary

    def fit(self, context: FitContext) -> FitResult:
        # Of an undivided network nothing can be computed up to the boundary.
        return fine_tune(context, cached=context.plan.boundary != "start" and not context.backbone.undivided)


class Scratch(FineTune):
    """Everything is trained from random weights."""

    summary = "training from random weights"
    boundary = Boundary("none", "start", "every stage is trained")
    pretrained = False

    def defaults(self, facts: Facts) -> dict[str, Choice]:
        longer = {"epochs": rules.epochs(facts, 10, 60, 1500)}
        if rules.rates(facts)["stage_decay"].value == 1.0:  # a network for small images
            return longer
        return longer | {
            "lr": Choice(2e-3, "all weights are random and batch-normalised"),
            "lr_backbone": Choice(2e-3, "nothing is pretrained: the head's rate"),
            "stage_decay": Choice(1.0, "nothing is pretrained: one rate for all stages"),
        }


class LpFt(FineTune):
    """A linear probe, then fine-tuning from its head: large gradients of a random head would distort the features.

    Source: Kumar et al. (2022), "Fine-tuning can distort pretrained features and underperform out-of-distribution",
    ICLR.
    """

    summary = "a linear probe, then fine-tuning of the whole network from it"
    reads_train_features = begins_with_features = has_parts = True

    def settings(self, plan: Plan) -> frozenset[str]:
        return TRAINING | {"stages", "average"}

    def defaults(self, facts: Facts) -> dict[str, Choice]:
        return rules.rates_after_probe(facts) | {
            "batchnorm": Choice("kept", "the head was fitted under these statistics; batches would shift them"),
        }

    def fit(self, context: FitContext) -> FitResult:
        plan = context.plan_for("probe")
        if context.plan.boundary != "start":  # joined stages would lie on both sides of it
            plan = replace(plan, stages="last")
        return fine_tune(context, start=Probe().fit(context.with_plan(plan)))


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
    if start:
        why = {name: reason for name, reason in start.plan.reasons.items() if name == "stages"}
        plan = replace(plan, stages=start.plan.stages, reasons=plan.reasons | why)
    head = copy.deepcopy(start.network.head) if start else context.new_head()
    network = Network(copy.deepcopy(start.network.backbone if start else context.backbone), head)
    trunk, tail = network.backbone.split_at(plan.boundary)
    for name, parameter in tail.named_parameters():
        parameter.requires_grad_(trainable is None or trainable(name, parameter))
    freeze(trunk)  # last: of an undivided network the tail is all of it
    seen = tail if cached else nn.Sequential(trunk, tail)
    # A study measures what a sigmoid before the loss costs, as in the Imagewoof project. It keeps the order of the
    # logits, so the classifier that is kept predicts what this network does.
    bugs = [nn.Sigmoid() for bug in context.deliberate_bugs if bug == "sigmoid"]
    trainee = nn.Sequential(Normalise(context.extractor.preprocessing), seen, head, *bugs)
    source, read_val, at_a_time = _cached_outputs(context, trunk) if cached else _pictures(context)
    context.extractor.ready.clear()  # its memory is needed for the training

    logits = InParts(lambda inputs: _logits(trainee, inputs, context))

    def validate() -> OnVal:
        found = [logits(inputs).numpy() for inputs in read_val()]
        none = np.empty((0, context.classes), np.float32)  # of a process that has no batch of val
        every = in_order(np.concatenate([none, *found]), len(context.labels["val"]), at_a_time, context.world)
        return on_val(context.objective, every, context.labels["val"])

    groups = network_groups(tail, head, plan, network.backbone.facts.undecayed)
    state = context.state / plan.strategy
    trainer = Trainer(
        trainee, source, validate, plan, context.machine, state, groups, context.events, context.minimised,
        context.class_weights(), context.callbacks, context.world,
        recordable=context.loss is None and not network.backbone.facts.module,
    )  # fmt: skip
    averaged = start is not None and plan.average == "val"
    before = {name: tensor.clone() for name, tensor in trainee.state_dict().items()} if averaged else {}
    with enough_memory("this training"):  # the network, its gradients and two moments of each
        trainee.to(context.machine.device)
        trained = trainer.run()
        val, share = trained.history[trained.best_epoch - 1].on_val, 1.0
        if before:
            val, share = average_weights(trainee, before, validate, val, len(context.labels["val"]))
    trainee.to("cpu")
    thaw(network.backbone)
    network.eval()
    parts = (*(start.parts if start else ()), part(plan.strategy, val))
    told = (trained.stopped, mixture(share) if averaged else "")
    probe, decision = start.probe if start else None, "; ".join(filter(None, told))
    return FitResult(network, plan, val, trained.history, trained.best_epoch, probe, parts, decision)


Reading = tuple[Source, Callable[[], Iterator[torch.Tensor]], int]
"""Batches for the epochs; this process's batches of val, in order, as inputs on the CPU; and the photos of each."""
MAPS = 64
"""Cached outputs at a time, of val."""


def _pictures(context: FitContext) -> Reading:
    plan, val = context.plan, context.pixels["val"]
    photos, labels, balanced = context.pixels["train"], context.labels["train"], plan.balance == "sampler"
    source: Source
    if context.transform is None:
        source = _augmented(context, photos, labels, balanced)
    else:
        source = TransformedSource(photos, labels, plan.image_size, context.transform, plan.seed, balanced)
    many = context.machine.batch

    def read_val() -> Iterator[torch.Tensor]:
        own = own_photos(len(val), many, context.world)
        for batch, photos in photo_batches(val, own, plan.image_size, View(), context.machine):
            yield torch.from_numpy(photos[: len(batch)])

    return source, read_val, many


def _augmented(context: FitContext, photos: DecodedImages, labels: np.ndarray, balanced: bool) -> Source:
    """Photos that the plan augments: on the device itself, if it is a GPU that holds them."""
    plan, device = context.plan, context.machine.device
    how = Augmentation.named(plan.augment)
    if fits(photos, context.machine):
        return DevicePictures.of(photos, labels, plan.image_size, how, plan.seed, balanced, device)
    threads = max(2, reader_threads() // 2) if device.type == "cuda" else 2
    return PictureSource(photos, labels, plan.image_size, how, plan.seed, threads, balanced)


def _cached_outputs(context: FitContext, trunk: nn.Module) -> Reading:
    """Compute the frozen layers once per view, for training and for val; the epochs then read their outputs only."""
    how, plan = Augmentation.named(context.plan.augment), context.plan

    def store(split: Split, view: View) -> RowStore:
        told = partial(context.events.progress, f"outputs of the frozen stages for {split}, view {view.number + 1}")
        return context.extractor.outputs(trunk, plan.boundary, context.pixels[split], view, told)

    # Without crops there are the centre and, where mirroring is allowed, its mirror image.
    count = plan.views if how.smallest < 1 else 1 + how.mirror
    stores = tuple(store("train", View(n, how.mirror, how.smallest)) for n in range(count))
    val_store = store("val", View())
    source = MapSource(
        stores, tuple(map(str, context.pixels["train"].digests)), context.labels["train"], plan.seed,
        plan.balance == "sampler",
    )  # fmt: skip
    digests = list(map(str, context.pixels["val"].digests))

    def read_val() -> Iterator[torch.Tensor]:
        own = own_photos(len(digests), MAPS, context.world)
        for first in range(0, len(own), MAPS):
            yield as_tensor(val_store.gather([digests[i] for i in own[first : first + MAPS]])).float()

    return source, read_val, MAPS


@torch.inference_mode()
def _logits(trainee: nn.Module, inputs: torch.Tensor, context: FitContext) -> torch.Tensor:
    """Logits [N, C] during training. BatchNorm is not folded: that would cost more than it saves in an epoch."""
    trainee.eval()
    device = context.machine.device
    with torch.autocast(device.type, torch.bfloat16, enabled=context.plan.precision == "bf16"):
        found: torch.Tensor = trainee(inputs.to(device)).float().cpu()
        return found
