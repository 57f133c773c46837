"""--log: the scalars of history.csv, where dashboards read them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
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


@pytest.mark.parametrize("kind", ["wandb", "mlflow"])
def test_the_others_are_given_the_same(
    train: Cli, photos: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their services are not here: a logger that keeps what it is given stands in for theirs."""
    given: list[tuple[int, dict[str, float]]] = []

    class Kept:
        def log_hyperparams(self, values: dict[str, Any]) -> None:
            assert values["strategy"] == "finetune"

        def log_metrics(self, values: dict[str, float], step: int) -> None:
            given.append((step, values))

        def save(self) -> None: ...

        def finalize(self, status: str) -> None:
            given.append((-1, {}))

    monkeypatch.setattr(tracking, "find_spec", lambda _: object())
    monkeypatch.setitem(tracking._LOGGERS, kind, lambda run: Kept())
    answer = train(photos, "--strategy", "finetune", "--epochs", "2", "--log", kind)
    assert answer.code == 0, answer
    assert [step for step, _ in given] == [1, 2, -1]
    assert {"finetune/val_accuracy", "finetune/train_loss", "finetune/lr"} <= given[0][1].keys()
