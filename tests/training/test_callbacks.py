"""Callbacks hear of each step and epoch, and may end the training; what they raise is the caller's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.core.events import Events, Message
from headstart.training.batches import ArraySource
from headstart.training.callbacks import StopTraining, TrainingInfo
from headstart.training.optimization import parameter_groups
from headstart.training.plan import Plan
from headstart.training.trainer import Trainer
from headstart.training.trainer_state import TrainerResult

PHOTOS, BATCH = 40, 8
STEPS = PHOTOS // BATCH


@pytest.fixture
def fit(tmp_path: Path, machine: Any, plan: Callable[..., Plan]) -> Callable[..., Any]:
    """``fit(callback, ..., state="a")``: a head on 40 rows for three epochs, with these callbacks."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(PHOTOS, 5, generator=generator), torch.randint(0, 3, (PHOTOS,), generator=generator)

    def make(*callbacks: Any, state: str = "a", events: Events | None = None) -> tuple[TrainerResult, torch.nn.Module]:
        torch.manual_seed(0)
        head = torch.nn.Linear(5, 3)
        settings = plan()
        groups = parameter_groups(head.named_parameters(), settings.lr, 0.0)

        def validate() -> tuple[float, float]:
            with torch.no_grad():
                logits = head(x)
            return torch.nn.functional.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()

        source = ArraySource(x.numpy(), y.numpy(), settings.seed)
        trainer = Trainer(
            head, source, validate, settings, machine, tmp_path / state, groups, events, callbacks=callbacks
        )
        return trainer.run(), head

    return make


class Both:
    def __init__(self) -> None:
        self.batches: list[TrainingInfo] = []
        self.epochs: list[TrainingInfo] = []

    def on_batch_end(self, info: TrainingInfo) -> None:
        self.batches.append(info)

    def on_epoch_end(self, info: TrainingInfo) -> bool:
        self.epochs.append(info)
        return True  # as tqdm's update does: no wish to stop


def test_they_hear_of_every_step_and_epoch(fit: Any) -> None:
    both, function = Both(), list[TrainingInfo]()
    result, _ = fit(both, function.append)
    assert [(i.epoch, i.step) for i in both.batches] == [(s // STEPS + 1, s + 1) for s in range(3 * STEPS)]
    assert all((i.epochs, i.steps, i.val_loss) == (3, 3 * STEPS, None) for i in both.batches)
    assert [(i.epoch, i.step) for i in both.epochs] == [(1, STEPS), (2, 2 * STEPS), (3, 3 * STEPS)]
    assert function == both.epochs
    for info, row in zip(both.epochs, result.history, strict=True):
        assert (info.loss, info.val_loss, info.val_accuracy) == (row.train_loss, row.val_loss, row.val_accuracy)
        own = [i.loss for i in both.batches if i.epoch == info.epoch]
        assert info.loss == pytest.approx(sum(own) / len(own))
    assert both.epochs[-1].best_epoch == result.best_epoch
    with pytest.raises(dataclasses.FrozenInstanceError):
        both.epochs[0].loss = 0.0  # type: ignore[misc]


def test_they_change_nothing_by_listening(fit: Any) -> None:
    (_, plain), (_, told) = fit(state="a"), fit(Both(), state="b")
    assert torch.equal(plain.weight, told.weight)


def stops(how: str, where: str, step: int) -> Any:
    answer = StopTraining("enough") if how != "the class" else StopTraining

    def method(self: object, info: TrainingInfo) -> Any:
        if info.step >= step and how == "raised":
            raise answer
        return answer if info.step >= step else None

    return type("Early", (), {where: method})()


@pytest.mark.parametrize("how", ["raised", "returned", "the class"])
@pytest.mark.parametrize(("where", "epochs", "words"), [("on_batch_end", 2, "in"), ("on_epoch_end", 1, "after")])
def test_one_may_end_the_training(fit: Any, how: str, where: str, epochs: int, words: str) -> None:
    both, heard = Both(), []
    step = STEPS + 2 if where == "on_batch_end" else STEPS
    result, head = fit(stops(how, where, step), both, events=Events(heard.append))
    assert len(result.history) == len(both.epochs) == epochs
    assert len(both.batches) == step
    reason = "" if how == "the class" else " (enough)"
    assert result.stopped == f"stopped {words} epoch {epochs} of 3 by Early{reason}"
    assert any(isinstance(event, Message) and result.stopped in event.text for event in heard)
    assert math.isfinite(result.history[-1].val_loss)
    again, same = fit()  # the state knows that it was stopped
    assert again == result
    assert torch.equal(head.weight, same.weight)


@pytest.mark.parametrize("where", ["on_batch_end", "on_epoch_end"])
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_what_one_raises_is_passed_on_and_nothing_is_lost(fit: Any, where: str, kind: type[BaseException]) -> None:
    error, calls = kind("out of coffee"), list[int]()

    def method(self: object, info: TrainingInfo) -> None:
        calls.append(info.step)
        if len(calls) == 2:
            raise error

    failing = type("Failing", (), {where: method})()
    with pytest.raises(kind) as found:
        fit(failing)
    assert found.value is error
    assert not getattr(error, "__notes__", [])
    result, resumed = fit(failing)
    whole, plain = fit(state="other")
    assert torch.equal(resumed.weight, plain.weight)
    assert [row.val_loss for row in result.history] == [row.val_loss for row in whole.history]
    assert calls == sorted(set(calls))  # none is told twice
