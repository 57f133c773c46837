"""Training where memory is short: what is computed without gradients goes on in parts, and ``auto`` knows what fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from headstart.errors import TrainingError
from headstart.training import throughput
from headstart.training.strategies import auto, finetune
from headstart.training.strategies.base import FitContext


def test_validation_during_training_is_computed_in_parts(
    task: Callable[..., FitContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = task("finetune").plan
    fitted = finetune.FineTune().fit(task("finetune"))
    plain = finetune._logits

    def call(trainee: nn.Module, inputs: torch.Tensor, context: FitContext) -> torch.Tensor:
        if len(inputs) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return plain(trainee, inputs, context)

    monkeypatch.setattr(finetune, "_logits", call)
    context = task("finetune")
    again = finetune.FineTune().fit(context)
    assert whole == context.plan
    assert [row.val_accuracy for row in again.history] == [row.val_accuracy for row in fitted.history]


def test_auto_times_what_fits_and_does_not_finetune_what_does_not(
    task: Callable[..., FitContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, sizes = task("auto"), list[int]()

    def few(network: nn.Module, photos: int, *_: Any) -> float:
        sizes.append(photos)
        if photos > holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1.0

    monkeypatch.setattr(throughput, "_seconds", few)
    holds = 2
    assert throughput.seconds_per_step(asked.backbone, asked.new_head(), asked.plan, asked.machine) == 4.0  # of 8
    assert sizes == [8, 4, 2]
    holds = 1
    assert throughput.seconds_per_step(asked.backbone, asked.new_head(), asked.plan, asked.machine) == float("inf")
    monkeypatch.setattr(auto, "seconds_per_step", lambda *_: float("inf"))
    monkeypatch.setattr(auto.rules, "epochs_after_probe", _never_enough(auto.rules.epochs_after_probe))
    found = auto.Auto().fit(asked)
    assert "not enough memory" in found.decision
    assert found.plan.strategy == "probe"


def _never_enough(plain: Callable[..., Any]) -> Callable[..., Any]:
    """As if the probe had left errors on val."""
    return lambda _, photos, *more, **named: plain(photos, photos, *more, **named)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory"), RuntimeError("a bug")])
def test_no_room_for_the_optimiser_is_one_message(
    task: Callable[..., FitContext], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch.optim.AdamW, "step", full)
    wanted, words = (RuntimeError, "a bug") if str(error) == "a bug" else (TrainingError, "memory for this training")
    with pytest.raises(wanted, match=words):
        finetune.FineTune().fit(task("finetune"))
