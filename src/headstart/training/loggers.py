"""Scalars for dashboards. In: the rows of history.csv, as they come. Out: the same scalars in TensorBoard, Weights &
Biases or MLflow, by the loggers that Lightning's Fabric uses.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headstart.core.events import EpochEnd, Event
from headstart.errors import OptionError

FOLDER = "logs"
"""In the run folder, unless the service is told of another place by its own environment variables."""
_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
KINDS = tuple(_PACKAGES)


def check(kind: str) -> None:
    """Raises OptionError where the logger is unknown or its package is not installed."""
    if kind not in _PACKAGES:
        raise OptionError(f"--log {kind!r} is not one of {', '.join(KINDS)}.")
    if find_spec(_PACKAGES[kind]) is None:
        raise OptionError(f"--log {kind} needs the package {_PACKAGES[kind]}.", f"pip install {_PACKAGES[kind]}")


class Tracker:
    """One training's scalars; steps are epochs, of a probe the strengths of L2 in the order of history.csv."""

    def __init__(self, kind: str, run: Path, settings: dict[str, Any]) -> None:
        check(kind)
        self.logger = _LOGGERS[kind](run)
        self.logger.log_hyperparams({name: value for name, value in settings.items() if name != "reasons"})

    def listen(self, event: Event) -> None:
        """Log the epochs among the events of a training."""
        if isinstance(event, EpochEnd):
            self._log(asdict(event.row), event.row.epoch)

    def strengths(self, rows: Iterable[Any]) -> None:
        """A probe's grid."""
        for step, row in enumerate(rows, 1):
            self._log({"strategy": "probe", **asdict(row)}, step)

    def _log(self, row: dict[str, Any], step: int) -> None:
        numbers = {k: v for k, v in row.items() if k not in {"strategy", "epoch"} and isinstance(v, int | float)}
        self.logger.log_metrics({f"{row['strategy']}/{name}": value for name, value in numbers.items()}, step=step)

    def close(self) -> None:
        self.logger.save()
        self.logger.finalize("success")


def _tensorboard(run: Path) -> Any:
    from lightning.fabric.loggers import TensorBoardLogger

    return TensorBoardLogger(run / FOLDER, name="", version="")


def _wandb(run: Path) -> Any:
    from lightning.pytorch.loggers import WandbLogger

    (run / FOLDER).mkdir(parents=True, exist_ok=True)
    project = os.environ.get("WANDB_PROJECT", "headstart")
    return WandbLogger(name=run.resolve().name, save_dir=str(run / FOLDER), project=project)


def _mlflow(run: Path) -> Any:
    from lightning.pytorch.loggers import MLFlowLogger

    name, place = os.environ.get("MLFLOW_EXPERIMENT_NAME", "headstart"), os.environ.get("MLFLOW_TRACKING_URI")
    database = (run / FOLDER / "mlflow.db").resolve()
    if not place:
        database.parent.mkdir(parents=True, exist_ok=True)
    return MLFlowLogger(name, run_name=run.resolve().name, tracking_uri=place or f"sqlite:///{database.as_posix()}")


_LOGGERS = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
