"""What a training of a study found. In: the folder of a finished run. Out: ``JobResult``, read from the run's own
files.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import RunError
from headstart.runs.folder import RunFolder
from headstart.workflows.experiment.jobs import Job


@dataclass(frozen=True)
class JobResult:
    """One training. ``right[i]``: whether photo i of the judged split was named correctly; ``judged_digest``: equal
    where those photos are the same, in the same order; ``history``: the epochs, as in history.csv.
    """

    job: Job
    split: str
    accuracy: float
    right: np.ndarray
    judged_digest: str
    history: tuple[dict[str, float], ...]
    val_accuracy: float
    seconds: float
    train_photos: int
    plan: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def arm(self) -> str:
        return self.job.arm.name


def read_result(job: Job) -> JobResult:
    """The result of a job whose run is finished. Raises RunError for files that cannot be read."""
    folder = RunFolder(job.folder)
    metrics, plan = folder.read_json("metrics.json"), folder.read_json("plan.json")
    split = "test" if "test" in metrics else "val"
    try:
        answers = [row for row in _rows(job.folder / "predictions.csv") if row["split"] == split]
        right = np.array([row["label"] == row["predicted"] for row in answers])
        paths = "\n".join(row["path"] for row in answers).encode(errors="surrogateescape")
        judged = hashlib.blake2b(paths, digest_size=16).hexdigest()
        return JobResult(
            job, split, float(right.mean()), right, judged, _epochs(job.folder, plan["strategy"]),
            metrics["val"]["accuracy"]["value"], float(metrics["training"]["seconds"]["training"]),
            sum(row["split"] == "train" for row in _rows(job.folder / "splits.csv")), plan, metrics,
        )  # fmt: skip
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise RunError(
            f"{job.folder} holds a run that cannot be read ({error}).", "Remove that folder and give the command again."
        ) from None


def _epochs(folder: Path, strategy: str) -> tuple[dict[str, float], ...]:
    """The epochs that led to the network kept: not a probe's grid, nor what ``auto`` tried and left."""
    columns = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    rows = [row for row in _rows(folder / "history.csv") if row["epoch"] and row["strategy"] == strategy]
    return tuple({name: float(row[name]) for name in columns if row[name]} for row in rows)


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))
