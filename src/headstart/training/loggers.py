"""``log``: the rows of history.csv, as they come, to TensorBoard, Weights & Biases or MLflow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headstart.core.events import EpochEnd, Event
from headstart.core.text import printable
from headstart.errors import OptionError

FOLDER = "logs"  # in the run folder, unless the service's own environment variables name another place


def check(kind: str) -> None:
    """Raises OptionError where the service's package is not installed."""
    if find_spec(kind) is None:
        raise OptionError(f"`log={kind}` needs the package {kind}.", f"pip install {kind}", option="log")


class Tracker:
    """One training's scalars; steps are epochs, of a probe the strengths of L2 in the order of history.csv."""

    def __init__(self, kind: str, run: Path, settings: Mapping[str, Any]) -> None:
        plain = {name: value for name, value in settings.items() if name != "reasons"}
        self.log, self.close = SERVICES[kind](run, plain)

    def listen(self, event: Event) -> None:
        """Log the epochs among the events of a training."""
        if isinstance(event, EpochEnd):
            self._row(asdict(event.row), event.row.epoch)

    def strengths(self, rows: Iterable[Any]) -> None:
        """Log a probe's grid."""
        for step, row in enumerate(rows, 1):
            self._row({"strategy": "probe", **asdict(row)}, step)

    def _row(self, row: dict[str, Any], step: int) -> None:
        numbers = {k: v for k, v in row.items() if k not in {"strategy", "epoch"} and isinstance(v, int | float)}
        self.log({f"{row['strategy']}/{name}": value for name, value in numbers.items()}, step)


Service = tuple[Callable[[Mapping[str, float], int], None], Callable[[], None]]
"""Logs values at a step; writes what is still to be written."""


def _tensorboard(run: Path, settings: Mapping[str, Any]) -> Service:
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    writer = SummaryWriter(str(run / FOLDER))
    plain = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in settings.items()}
    file = writer._get_file_writer()  # add_hparams would begin a folder of its own
    for summary in hparams(plain, {"hp_metric": -1}):
        file.add_summary(summary)

    def log(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return log, writer.close


def _wandb(run: Path, settings: Mapping[str, Any]) -> Service:
    import wandb

    (run / FOLDER).mkdir(parents=True, exist_ok=True)
    place = {"name": printable(run.resolve().name), "dir": str(run / FOLDER)}
    project = os.environ.get("WANDB_PROJECT", "headstart")
    made = wandb.init(**place, project=project, config=dict(settings), reinit=True)
    axis = "trainer/global_step"  # its own: W&B's step must rise, and a probe's strengths follow the epochs of lp-ft
    made.define_metric(axis)
    made.define_metric("*", step_metric=axis, step_sync=True)
    return lambda values, step: made.log({**values, axis: step}), made.finish


def _mlflow(run: Path, settings: Mapping[str, Any]) -> Service:
    from mlflow import MlflowClient

    name, place = os.environ.get("MLFLOW_EXPERIMENT_NAME", "headstart"), os.environ.get("MLFLOW_TRACKING_URI")
    database = (run / FOLDER / "mlflow.db").resolve()
    if not place:
        database.parent.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(place or f"sqlite:///{database.as_posix()}")
    known = client.get_experiment_by_name(name)
    experiment = known.experiment_id if known else client.create_experiment(name)
    made = client.create_run(experiment, run_name=printable(run.resolve().name)).info.run_id
    for key, value in settings.items():
        client.log_param(made, key, value)

    def log(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            client.log_metric(made, name, value, step=step)

    return log, partial(client.set_terminated, made)


SERVICES: dict[str, Callable[[Path, Mapping[str, Any]], Service]] = {
    "tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow,
}  # fmt: skip
"""By the option's value, which is also the name of the package."""
