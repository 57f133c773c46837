"""Callbacks: objects of the caller's that hear of each step and each epoch of a training, and may end it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headstart.errors import OptionError

METHODS = ("on_batch_end", "on_epoch_end")


@dataclass(frozen=True)
class TrainingInfo:
    """What a callback is told, after a step or an epoch.

    ``strategy``: the part of the training; ``epoch`` of ``epochs`` and ``step`` of ``steps`` count from 1, steps
    through all epochs. ``loss``: of the batch, or the mean over the epoch's photos. After an epoch, ``val_loss`` and
    ``val_accuracy``, ``val_balanced_accuracy`` where the classes of val are uneven, and ``best_epoch`` so far, whose
    weights would be kept; None after a step.
    """

    strategy: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_balanced_accuracy: float | None = None
    best_epoch: int | None = None


class StopTraining(Exception):  # noqa: N818 - it is no error
    """Ends a training, raised or returned by a callback; ``reason`` in words. The best epoch's weights are kept, and
    calibration and evaluation follow as usual.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Callback(Protocol):
    """Hears of a training; a class with one of the two methods will do, and a function is taken for ``on_epoch_end``.

    Both are called between two steps, in the process that trains. What they return is ignored, unless it is
    ``StopTraining``. What they raise ends the training and reaches the caller as it is, after the state was saved:
    ``hs.resume`` goes on behind that step or epoch.
    """

    def on_batch_end(self, info: TrainingInfo) -> StopTraining | None:
        """After each step of the optimiser."""

    def on_epoch_end(self, info: TrainingInfo) -> StopTraining | None:
        """After each epoch, validation included."""


AnyCallback = Callback | Callable[[TrainingInfo], Any]


def check_callbacks(given: Sequence[Any]) -> None:
    """Raises OptionError for what is no callback."""
    for one in given:
        if isinstance(one, type):
            problem = f"`callbacks` holds the class {one.__name__}, not an object of it."
            raise OptionError(problem, f"Write `callbacks=[{one.__name__}()]`.", option="callbacks")
        methods = [getattr(one, name) for name in METHODS if getattr(one, name, None) is not None]
        if not (methods or callable(one)) or not all(map(callable, methods)):
            problem = f"`callbacks` holds an object of the type {type(one).__name__}, which is no callback."
            hint = f"Give functions, or objects with {' or '.join(METHODS)}."
            raise OptionError(problem, hint, option="callbacks")


def hear_batches(callbacks: Sequence[Any]) -> bool:
    """Whether one is called after each step."""
    return any(hasattr(one, METHODS[0]) for one in callbacks)


def told(callbacks: Sequence[Any], method: str, info: TrainingInfo) -> str:
    """Call ``method`` of each callback that has it. Returns who wants the training to end, and why; "" for nobody. All
    are called, also after one that wants it.
    """
    stops = []
    for one in callbacks:
        function = getattr(one, method, None)
        if function is None and method == METHODS[1] and not hasattr(one, METHODS[0]):
            function = one
        if function is None:
            continue
        try:
            answer: Any = function(info)
        except StopTraining as stop:
            answer = stop
        if answer is StopTraining:
            answer = StopTraining()
        if isinstance(answer, StopTraining):
            name = getattr(one, "__name__", type(one).__name__)
            stops.append(f"{name} ({answer.reason})" if answer.reason else name)
    if not stops:
        return ""
    when = "after" if method == METHODS[1] else "in"
    return f"stopped {when} epoch {info.epoch} of {info.epochs} by {', '.join(stops)}"
