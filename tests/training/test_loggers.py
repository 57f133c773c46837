"""--log: the scalars of history.csv, where dashboards read them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from headstart.training import loggers as tracking

Cli = Callable[..., Any]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads: (step, value) by tag."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("strategy", ["finetune", "probe"])
def test_tensorboard_gets_what_history_has(train: Cli, photos: Path, tmp_path: Path, strategy: str) -> None:
    epochs = ("--epochs", "2") if strategy == "finetune" else ()
    answer = train(photos, "--strategy", strategy, "--log", "tensorboard", *epochs)
    assert answer.code == 0, answer
    found = scalars(tmp_path / "run" / "logs")
    with (tmp_path / "run" / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in ("val_accuracy", "val_loss", "train_accuracy"):
        values = [float(row[name]) for row in rows if row[name]]
        assert [value for _, value in found[f"{strategy}/{name}"]] == pytest.approx(values)
    assert [step for step, _ in found[f"{strategy}/val_accuracy"]] == list(range(1, len(rows) + 1))
    assert train(photos, "--overwrite").code == 0
    assert not (tmp_path / "run" / "logs").exists()


def test_what_cannot_be_is_said_before_training(
    train: Cli, photos: Path, tmp_path: Path, refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(train(photos, "--log", "tensorbored"), "tensorboard")
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)
    refused(train(photos, "--log", "wandb"), "pip install wandb")
    assert not (tmp_path / "run").exists()


class FakeWandb(ModuleType):
    """Keeps what W&B would be sent."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.sent: list[dict[str, float]] = []
        self.asked: dict[str, Any] = {}
        self.ended = False

    def init(self, **asked: Any) -> FakeWandb:
        self.asked = asked
        return self

    def define_metric(self, *_: Any, **__: Any) -> None: ...

    def log(self, values: dict[str, float]) -> None:
        self.sent.append(values)

    def finish(self) -> None:
        self.ended = True


class FakeMlflow(ModuleType):
    """Keeps what MLflow would be sent."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.params: dict[str, Any] = {}
        self.sent: list[tuple[str, float, int]] = []
        self.place, self.ended = "", False

    def MlflowClient(self, place: str) -> FakeMlflow:  # noqa: N802 - MLflow's name
        self.place = place
        return self

    def get_experiment_by_name(self, name: str) -> None: ...

    def create_experiment(self, name: str) -> str:
        return name

    def create_run(self, experiment: str, run_name: str) -> Any:
        assert (experiment, run_name) == ("headstart", "run")
        return SimpleNamespace(info=SimpleNamespace(run_id="1"))

    def log_param(self, run: str, key: str, value: Any) -> None:
        self.params[key] = value

    def log_metric(self, run: str, name: str, value: float, step: int) -> None:
        self.sent.append((name, value, step))

    def set_terminated(self, run: str) -> None:
        self.ended = True


def test_wandb_gets_the_same(train: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeWandb()
    monkeypatch.setattr(tracking, "find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "wandb", service)
    answer = train(photos, "--strategy", "lp-ft", "--epochs", "2", "--log", "wandb")
    assert answer.code == 0, answer
    assert service.asked["config"]["strategy"] == "lp-ft"
    assert service.asked["project"] == "headstart"
    steps = [values["trainer/global_step"] for values in service.sent]
    assert steps[:2] == [1, 2]  # epochs, then the probe's strengths
    assert steps[2:] == list(range(1, len(steps) - 1))
    assert {"lp-ft/val_accuracy", "lp-ft/train_loss", "lp-ft/lr"} <= service.sent[0].keys()
    assert service.ended


def test_mlflow_gets_the_same(train: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeMlflow()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking, "find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "mlflow", service)
    answer = train(photos, "--strategy", "finetune", "--epochs", "2", "--log", "mlflow")
    assert answer.code == 0, answer
    assert service.params["strategy"] == "finetune"
    assert service.place == f"sqlite:///{(tmp_path / 'run' / 'logs' / 'mlflow.db').as_posix()}"
    assert [step for name, _, step in service.sent if name == "finetune/val_accuracy"] == [1, 2]
    assert service.ended
