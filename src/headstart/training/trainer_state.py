"""What a training keeps beside its tensors: where it is, and the figures of its epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from headstart.core.formats import DAMAGED, check_format, checked, warn_unknown
from headstart.errors import RunError
from headstart.evaluation.objective import OnVal

FORMAT = 1  # of ``last.safetensors``; a file without a number is older and reads the same


@dataclass(frozen=True)
class EpochRow:
    """One line of history.csv. Losses are means over photos (train: as trained, smoothing and augmentation included);
    ``lr`` is the highest rate of the last step.
    """

    strategy: str
    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    seconds: float
    val_balanced_accuracy: float | None = None  # where the classes of val are uneven
    val_map: float | None = None  # where photos have any number of labels

    @property
    def on_val(self) -> OnVal:
        return OnVal(self.val_loss, self.val_accuracy, self.val_balanced_accuracy, self.val_map)

    def to_json(self) -> dict[str, Any]:
        """Without what does not apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass
class TrainerState:
    """The state of a training without its tensors. ``epoch`` and ``batch`` count from 0, ``best_epoch`` from 1 (0: none
    has ended); ``best`` is its score on val (see ``OnVal``); ``micro_batch``: photos at a time, where memory is short;
    ``stopped``: by which callback.
    """

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    micro_batch: int = 0
    stopped: str = ""
    best_epoch: int = 0
    best: tuple[float, float] = (-1.0, -math.inf)
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any], strategy: str) -> TrainerState:
        """Read ``last.safetensors``: missing facts get a default, unknown ones are ignored with a warning. Raises
        RunError where the format is newer.
        """
        file = "last.safetensors"
        check_format(file, facts, FORMAT)
        known = {f.name for f in fields(cls)}
        if unknown := sorted(facts.keys() - known - {"format"}):
            warn_unknown("The state of this training holds facts", tuple(unknown))
        state = checked(file, {name: value for name, value in facts.items() if name in known}, cls)
        if min(state.epoch, state.batch, state.seen, state.best_epoch, state.micro_batch) < 0:
            raise RunError(f"{file}: a count is negative.", DAMAGED)
        # 0.1 had another name for a probe with a trained head. One state is of one strategy.
        rows = [{**row, "strategy": strategy} for row in state.history]
        state.history = [row.to_json() for row in checked(file, rows, list[EpochRow])]
        return state


@dataclass
class TrainerResult:
    """The network holds the weights of ``best_epoch`` (1-based). ``stopped``: by which callback, before the last."""

    history: list[EpochRow]
    best_epoch: int
    stopped: str = ""
