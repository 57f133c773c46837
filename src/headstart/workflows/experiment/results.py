"""What one training found: read from a run's own files, or from the one small file that a comparison keeps of it."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.files import write_json
from headstart.errors import RunError
from headstart.runs.folder import RunFolder
from headstart.workflows.experiment.jobs import Job


@dataclass(frozen=True)
class JobResult:
    """One training.

    correct        bool [N]: whether photo i of the split was classified correctly
    photos_digest  equal where those photos are the same, in the same order
    history        the epochs, as in history.csv; of a comparison ``val_accuracy`` alone
    plan, metrics  of the run; empty for a comparison
    """

    job: Job
    split: str
    correct: np.ndarray
    photos_digest: str
    history: tuple[dict[str, float], ...]
    val_accuracy: float
    seconds: float
    train_photos: int
    plan: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def arm(self) -> str:
        return self.job.arm.name

    @property
    def group(self) -> str:
        """ "10 per class" in a comparison, or "" where all photos were used."""
        return group_name(self.job.point)

    @property
    def seed(self) -> int:
        return self.job.seed

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    @property
    def right(self) -> tuple[bool, ...]:
        """``correct`` as plain values."""
        return tuple(map(bool, self.correct))

    @property
    def curve(self) -> tuple[float, ...]:
        """Validation accuracy per epoch; of an arm without epochs its one value."""
        return tuple(row["val_accuracy"] for row in self.history) or (self.val_accuracy,)


def read_run(job: Job) -> JobResult:
    """The result of a job whose run is finished. Raises RunError for files that cannot be read."""
    folder = RunFolder(job.folder)
    metrics, plan = folder.read_json("metrics.json"), folder.read_json("plan.json")
    split = "test" if "test" in metrics else "val"
    try:
        predictions = [row for row in _rows(job.folder / "predictions.csv") if row["split"] == split]
        correct = np.array([row["label"] == row["predicted"] for row in predictions])
        paths = "\n".join(row["path"] for row in predictions).encode(errors="surrogateescape")
        return JobResult(
            job, split, correct, hashlib.blake2b(paths, digest_size=16).hexdigest(),
            _epochs(job.folder, plan["strategy"]), metrics["val"]["accuracy"]["value"],
            float(metrics["training"]["seconds"]["training"]),
            sum(row["split"] == "train" for row in _rows(job.folder / "splits.csv")), plan, metrics,
        )  # fmt: skip
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise RunError(
            f"{job.folder} holds a run that cannot be read ({error}).", "Remove that folder and start the study again."
        ) from None


def _epochs(folder: Path, strategy: str) -> tuple[dict[str, float], ...]:
    """The epochs that led to the network kept: not a probe's grid, nor what ``auto`` tried and left."""
    columns = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    rows = [row for row in _rows(folder / "history.csv") if row["epoch"] and row["strategy"] == strategy]
    return tuple({name: float(row[name]) for name in columns if row[name]} for row in rows)


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


_FIGURES = ("group", "arm", "seed", "split", "accuracy", "right", "curve", "seconds", "train_photos")
"""What ``arms/*.json`` of a comparison holds of a training."""


def group_name(point: str) -> str:
    return f"{point} per class" if point else ""


def figures_file(job: Job) -> Path:
    return job.folder.with_name(f"{job.folder.name}.json")


def read_figures(job: Job) -> JobResult | None:
    """What a comparison kept of a job, None where it has not ended."""
    try:
        kept = json.loads(figures_file(job).read_text(encoding="utf-8"))
        known = {name: kept[name] for name in ("split", "right", "curve", "seconds", "train_photos")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{figures_file(job)} cannot be read ({error}).", "Remove it and start again.") from None
    return from_figures(job, **known)


def from_figures(
    job: Job, split: str, right: Sequence[bool], curve: Sequence[float], seconds: float, train_photos: int
) -> JobResult:
    """A training of a comparison. Within a seed all its arms are tested on the same photos."""
    history = tuple({"val_accuracy": value} for value in curve) if len(curve) > 1 else ()
    return JobResult(job, split, np.array(right), "", history, curve[-1], seconds, train_photos, {}, {})


def write_figures(result: JobResult) -> None:
    """Keep the figures of a training."""
    write_json(figures_file(result.job), {name: getattr(result, name) for name in _FIGURES})
