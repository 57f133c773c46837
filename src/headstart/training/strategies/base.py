"""The interface of a strategy: its input, its result and its properties.

To add a strategy, write a ``Strategy`` and declare it under the entry point group ``headstart.strategies``, or call
``STRATEGIES.register``. Plan, report, model card, comparisons and forecasts then use its properties.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from headstart.core.choice import Choice
from headstart.core.events import Events
from headstart.core.world import ALONE, World
from headstart.data.images import DecodedImages
from headstart.data.schema import Fold, Split
from headstart.evaluation.objective import MULTICLASS, Objective, OnVal
from headstart.inference.device import Machine
from headstart.inference.features import FeatureExtractor
from headstart.models.backbone import Backbone
from headstart.models.heads import build_head
from headstart.models.network import Network
from headstart.training.balance import class_weights, label_weights
from headstart.training.callbacks import AnyCallback
from headstart.training.linear_probe import Probe
from headstart.training.own_loss import Loss, OwnLoss
from headstart.training.own_transform import Transform
from headstart.training.plan import TRAINING, Plan
from headstart.training.rules import Facts
from headstart.training.trainer_state import EpochRow

LAST = "last"
"""As a default boundary: the network's last stage, whatever that is called. A plan never holds it."""


class Boundary(NamedTuple):
    """Where a strategy begins to train. ``use``: whether a user can choose it ("none", "optional") or the strategy is
    meaningless without one ("required"); ``default``, which may be ``LAST``, with its reason.
    """

    use: Literal["none", "optional", "required"]
    default: str
    reason: str


@dataclass(frozen=True)
class FitContext:
    """What a strategy works with. The test split is here, and no strategy may read it."""

    classes: int
    pixels: dict[Split, DecodedImages]
    labels: dict[Split, np.ndarray]  # targets [N]
    backbone: Backbone  # pretrained (random for a strategy that is not); to be copied before it is trained
    head: str  # as models.heads.build_head takes it
    dropout: tuple[float, ...]  # likewise
    plan: Plan
    plan_for: Callable[[str], Plan]  # of another strategy on the same data, for strategies that are made of others
    machine: Machine
    state: Path  # where an interrupted training keeps its state
    extractor: FeatureExtractor  # features of the frozen backbone, through the cache
    objective: Objective = MULTICLASS
    events: Events = field(default_factory=Events)
    units: dict[Split, np.ndarray] = field(default_factory=dict)  # [N] photos of one number are alike, or of one group
    folds: tuple[Fold, ...] = ()  # of train, which then holds all photos but test
    transform: Transform | None = None  # the caller's own augmentation, instead of the plan's
    loss: Loss | None = None  # the caller's own, which steps of an optimiser minimise (see ``minimised``)
    callbacks: tuple[AnyCallback, ...] = ()  # the caller's, for ``Trainer``
    remember: Callable[[str, Any], None] = lambda *_: None  # keeps a decision that a resumed run must not make again
    recall: Callable[[str], Any] = lambda _: None  # a decision that was kept, or None
    deliberate_bugs: tuple[str, ...] = ()  # made by a study alone
    world: World = ALONE  # the processes that do this work together, each with a context of its own

    def with_plan(self, plan: Plan) -> FitContext:
        """The same work by another plan."""
        return replace(self, plan=plan)

    def features(self, split: Split) -> np.ndarray:
        """The frozen backbone's features of a split, float32 [N, D], from the cache where it has them."""
        return self.extractor.pooled(self.pixels[split], partial(self.events.progress, f"features of {split}"))

    def among(self, world: World) -> FitContext:
        """The same work by these processes."""
        return replace(self, world=world, extractor=replace(self.extractor, world=world))

    def compute(self, split: Split) -> None:
        """Let all processes compute what ``features`` reads."""
        self.extractor.computed(self.pixels[split], partial(self.events.progress, f"features of {split}"))

    def joining(self, stages: Sequence[str]) -> FitContext:
        """The same work on the backbone with these stages joined."""
        return replace(self, backbone=self.backbone.joining(stages), extractor=self.extractor.joining(stages))

    def class_weights(self) -> torch.Tensor | None:
        """The weight of each class in the loss, as ``Objective.loss`` takes them, where the plan asks for weights."""
        if self.plan.balance != "weights":
            return None
        if self.objective.several:
            return torch.from_numpy(label_weights(self.labels["train"])).float()
        return torch.from_numpy(class_weights(self.labels["train"], self.classes)).float()

    @property
    def minimised(self) -> Objective:
        """The objective for ``Trainer``: with the caller's loss, where there is one."""
        return self.objective if self.loss is None else cast(Objective, OwnLoss(self.objective, self.loss))

    def new_head(self) -> nn.Module:
        """The head with random weights that the seed decides."""
        torch.manual_seed(self.plan.seed)
        return build_head(self.head, self.backbone.dim, self.classes, self.dropout)


@dataclass(frozen=True)
class FoldResult:
    """The model of one fold: the ``logits`` [n, C] of the photos that it did not see, at the places ``held_out`` [n] of
    train, and how it was made.
    """

    held_out: np.ndarray
    logits: np.ndarray
    probe: Probe
    stages: str
    val: tuple[float, float]


@dataclass(frozen=True)
class FitResult:
    """A trained network and how it was trained."""

    network: Network  # its backbone is the context's own where that was left frozen
    plan: Plan  # of the strategy whose network this is
    val: tuple[float, float]  # (loss, accuracy), as ``OnVal`` where the classes of val are uneven
    history: Sequence[EpochRow] = ()
    best_epoch: int | None = None  # whose weights were kept, 1-based
    probe: Probe | None = None  # where one was fitted
    parts: tuple[dict[str, Any], ...] = ()  # the strategies that were tried, with their figures on val
    decision: str = ""  # why this network was chosen, where there was a choice
    temperature: float | None = None  # what the head's logits are divided by already; None: not calibrated
    objective: Objective = MULTICLASS  # with what its decisions need: see Objective.fitted
    folds: tuple[FoldResult, ...] = ()  # where the network is the average of those of folds, each with a temperature


def part(strategy: str, val: tuple[float, float]) -> dict[str, Any]:
    """A row of ``FitResult.parts``."""
    row: dict[str, Any] = {"strategy": strategy, "val_loss": val[0], "val_accuracy": val[1]}
    more = {"val_balanced_accuracy": OnVal.of(val).balanced, "val_map": OnVal.of(val).mean_ap}
    return row | {name: value for name, value in more.items() if value is not None}


class Strategy(ABC):
    """How a network is trained. A new strategy needs ``summary`` and ``fit``; the rest has defaults."""

    summary: str
    """A few words that complete "trained by ..."."""
    boundary = Boundary("none", "end", "the whole backbone is frozen")
    pretrained = True
    """Whether it starts from pretrained weights."""
    trains_backbone = False
    """Whether it changes the backbone."""
    averages = False
    """Whether it trains a head on the frozen backbone alone, so that linear ones of several folds average to one."""
    parallel = False
    """Whether several processes can call ``fit`` at once, each of which does a part (``FitContext.world``). Where
    ``averages`` holds, they share the frozen pass alone, and it need not."""
    reads_train_features = False
    """Whether a frozen network reads the training photos (which makes it worth converting that)."""
    begins_with_features = False
    """Whether its first step are pooled features of every photo: they are computed while the photos are read."""
    has_parts = False
    """Whether it is made of others, whose plans are not kept: a setting that is given to one is given to all."""

    def settings(self, plan: Plan) -> frozenset[str]:
        """Which of ``plan.OF_SOME`` it uses; the others are not shown."""
        return TRAINING

    def takes(self, plan: Plan) -> frozenset[str]:
        """Which parts of a caller's own it uses, of "transform", "loss" and "callbacks" (see ``FitContext``); others
        are refused before the training.
        """
        return frozenset()

    def defaults(self, facts: Facts) -> dict[str, Choice]:
        """Settings that it chooses differently from ``rules``, by name."""
        return {}

    def describe(self, plan: Plan) -> str:
        """The summary for one plan."""
        return self.summary

    @abstractmethod
    def fit(self, context: FitContext) -> FitResult:
        """Train on the train split, and choose on val.

        Raises:
            TrainingError, Interrupted, RunError: see ``trainer.Trainer.run``.
        """
