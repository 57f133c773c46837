"""What a strategy is, what it gets, and what it returns.

To add a strategy, write a ``Strategy`` and declare it under the entry point group ``headstart.strategies``, or call
``STRATEGIES.register``. Plan, report, model card, comparisons and forecasts ask it what they need to know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from headstart.core.choice import Choice
from headstart.core.events import Events
from headstart.data.images import DecodedImages
from headstart.data.schema import Split
from headstart.evaluation.objective import MULTICLASS, Objective
from headstart.inference.device import Machine
from headstart.inference.features import FeatureExtractor
from headstart.models.backbone import Backbone
from headstart.models.heads import build_head
from headstart.models.network import Network
from headstart.training.linear_probe import Probe
from headstart.training.plan import TRAINING, Plan
from headstart.training.rules import Facts
from headstart.training.trainer import EpochRow


class Boundary(NamedTuple):
    """Where a strategy begins to train. ``use``: whether a user can choose it ("none", "optional"), or the strategy
    means nothing without one ("required"); ``default`` with its reason.
    """

    use: Literal["none", "optional", "required"]
    default: str
    reason: str


FROZEN = Boundary("none", "end", "the whole backbone is frozen")


@dataclass(frozen=True)
class FitContext:
    """What a strategy works with. The test split is here, and no strategy may read it.

    Attributes:
        classes: how many.
        pixels: decoded photos per split.
        labels: targets per split, [N].
        backbone: pretrained (or random, for a strategy that is not ``pretrained``); to be copied before it is trained.
        head: as ``models.heads.build_head`` takes it.
        dropout: likewise.
        plan: every hyperparameter.
        plan_for: the plan of another strategy on the same data, for strategies that are made of others.
        machine: where to compute.
        state: where an interrupted training keeps its state.
        extractor: features of the frozen backbone, through the cache.
        objective: loss and figures.
        events: where progress is reported.
        remember: keeps a decision that a resumed run must not make again.
        recall: a decision that was kept, or None.
        deliberate_bugs: made by a study alone.
    """

    classes: int
    pixels: dict[Split, DecodedImages]
    labels: dict[Split, np.ndarray]
    backbone: Backbone
    head: str
    dropout: tuple[float, ...]
    plan: Plan
    plan_for: Callable[[str], Plan]
    machine: Machine
    state: Path
    extractor: FeatureExtractor
    objective: Objective = MULTICLASS
    events: Events = field(default_factory=Events)
    remember: Callable[[str, Any], None] = lambda *_: None
    recall: Callable[[str], Any] = lambda _: None
    deliberate_bugs: tuple[str, ...] = ()

    def with_plan(self, plan: Plan) -> FitContext:
        """The same work by another plan."""
        return replace(self, plan=plan)

    def features(self, split: Split) -> np.ndarray:
        """The frozen backbone's features of a split, float32 [N, D], from the cache where it has them."""
        return self.extractor.pooled(
            self.pixels[split], lambda done, total: self.events.progress(f"features of {split}", done, total)
        )

    def new_head(self) -> nn.Module:
        """The head with random weights that the seed decides."""
        torch.manual_seed(self.plan.seed)
        return build_head(self.head, self.backbone.dim, self.classes, self.dropout)


@dataclass(frozen=True)
class FitResult:
    """A trained network and how it came about.

    Attributes:
        network: its backbone is the context's own where that was left frozen.
        plan: of the strategy whose network this is.
        val: (loss, accuracy) on the validation set.
        history: epochs.
        best_epoch: the one whose weights were kept, 1-based.
        probe: the linear probe, where one was fitted.
        parts: the strategies that were tried, with their figures on the validation set.
        decision: why this network was chosen, where there was a choice.
        temperature: what the head's logits are divided by already; None where they have not been calibrated.
    """

    network: Network
    plan: Plan
    val: tuple[float, float]
    history: Sequence[EpochRow] = ()
    best_epoch: int | None = None
    probe: Probe | None = None
    parts: tuple[dict[str, Any], ...] = ()
    decision: str = ""
    temperature: float | None = None


def part(strategy: str, val: tuple[float, float]) -> dict[str, Any]:
    """A row of ``FitResult.parts``."""
    return {"strategy": strategy, "val_loss": val[0], "val_accuracy": val[1]}


class Strategy(ABC):
    """How a network is trained. A new strategy needs ``summary`` and ``fit``; the rest has defaults."""

    summary: str
    """In a few words, such that "trained by ..." can stand before them."""
    boundary = FROZEN
    pretrained = True
    """Whether it starts from pretrained weights."""
    trains_backbone = False
    """Whether it changes the backbone."""
    reads_train_features = False
    """Whether a frozen network reads the training photos (which makes it worth converting that)."""

    def settings(self, plan: Plan) -> frozenset[str]:
        """Which of ``plan.OF_SOME`` it uses; the others are not shown."""
        return TRAINING

    def defaults(self, facts: Facts) -> dict[str, Choice]:
        """Settings that it chooses otherwise than ``rules``, by name."""
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
