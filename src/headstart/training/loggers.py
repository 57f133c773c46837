"""``log``: the rows of history.csv, as they come, to TensorBoard, Weights & Biases or MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headstart.core.events import EpochEnd, Event
from headstart.errors import OptionError

FOLDER = "logs"
"""In the run folder, unless the service's own environment variables name another place."""


def check(kind: str) -> None:
    """Raises OptionError where the service's package is not installed."""
    if find_spec(kind) is None:
        raise OptionError(f"`log={kind}` needs the package {kind}.", f"pip install {kind}", option="log")


class Tracker:
    """One training's scalars; steps are epochs, of a probe the strengths of L2 in the order of history.csv."""

    def __init__(self, kind: str, run: Path, settings: Mapping[str, Any]) -> None:
        self.service = SERVICES[kind](run, {name: value for name, value in settings.items() if name != "reasons"})
        self.close = self.service.close  # writes what is still to be written

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
        self.service.log({f"{row['strategy']}/{name}": value for name, value in numbers.items()}, step)


class _TensorBoard:
    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self.writer = SummaryWriter(str(run / FOLDER))
        plain = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in settings.items()}
        file = self.writer._get_file_writer()  # add_hparams would begin a folder of its own
        for summary in hparams(plain, {"hp_metric": -1}):
            file.add_summary(summary)
        self.close = self.writer.close

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)


class _Wandb:
    STEP = "trainer/global_step"  # its own axis: W&B's step must rise, and a probe's strengths follow lp-ft's epochs

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        import wandb

        (run / FOLDER).mkdir(parents=True, exist_ok=True)
        place = {"name": run.resolve().name, "dir": str(run / FOLDER)}
        project = os.environ.get("WANDB_PROJECT", "headstart")
        self.run = wandb.init(**place, project=project, config=dict(settings), reinit=True)
        self.run.define_metric(self.STEP)
        self.run.define_metric("*", step_metric=self.STEP, step_sync=True)
        self.close = self.run.finish

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values, self.STEP: step})


class _Mlflow:
    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient

        name, place = os.environ.get("MLFLOW_EXPERIMENT_NAME", "headstart"), os.environ.get("MLFLOW_TRACKING_URI")
        database = (run / FOLDER / "mlflow.db").resolve()
        if not place:
            database.parent.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(place or f"sqlite:///{database.as_posix()}")
        known = self.client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self.client.create_experiment(name)
        self.run = self.client.create_run(experiment, run_name=run.resolve().name).info.run_id
        for key, value in settings.items():
            self.client.log_param(self.run, key, value)
        self.close = partial(self.client.set_terminated, self.run)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.client.log_metric(self.run, name, value, step=step)


SERVICES: dict[str, Any] = {"tensorboard": _TensorBoard, "wandb": _Wandb, "mlflow": _Mlflow}
"""By the option's value, which is also the name of the package."""
