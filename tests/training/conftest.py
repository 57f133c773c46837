"""What training tests share: fit contexts on a few drawn photos, and plans for tiny networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.inference.device import Machine
from headstart.training.plan import Plan
from headstart.training.planning import resolve
from headstart.training.rules import Facts
from headstart.training.strategies.base import FitContext

CPU = Machine(torch.device("cpu"), False, "a CPU for tests")


@pytest.fixture
def machine() -> Machine:
    return CPU


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """``plan(epochs=3, ...)``: the plan of a head on 40 rows, with these settings."""

    def make(strategy: str = "probe", **settings: Any) -> Plan:
        facts = Facts(
            photos=40, classes=3, side=32, native_size=32, strategy=strategy, closed_form=False, last_stage="layer4"
        )
        return resolve(facts, 5, None, {"epochs": 3, "batch_size": 8, **settings})

    return make


@pytest.fixture
def task(photos: Path, weights: Path, tmp_path: Path) -> Callable[..., FitContext]:
    """``task("partial", epochs=2, ...)``: the task of that strategy on the drawn photos."""
    from headstart.core.events import Events
    from headstart.training.config import TrainOptions
    from headstart.training.preparation import prepare
    from headstart.workflows.train.assess import make_context

    def make(
        strategy: str, boundary: str | None = None, head: str = "linear", seed: int = 0, **settings: Any
    ) -> FitContext:
        options = TrainOptions(
            data=str(photos), backbone="starter", weights=None if strategy == "scratch" else str(weights),
            strategy=strategy, boundary=boundary, head=head, seed=seed, device="cpu",
            settings={"precision": "float32", "epochs": 2, "batch_size": 8, **settings},
        )  # fmt: skip
        events = Events()
        return make_context(prepare(options, events), tmp_path / "state", events)

    return make
