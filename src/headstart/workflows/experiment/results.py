"""The result of one training, and what ``study`` and ``compare`` return."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct

from headstart.core.files import read_dicts, read_json
from headstart.core.formats import checked
from headstart.core.text import brief
from headstart.errors import RunError
from headstart.reporting import notebook
from headstart.runs.figures import read_metrics, read_plan
from headstart.workflows.experiment.jobs import Job
from headstart.workflows.experiment.recipe import Recipe
from headstart.workflows.experiment.rows import ArmRow, DifferenceRow

if TYPE_CHECKING:
    from pandas import DataFrame

FIGURES = ("group", "arm", "seed", "split", "accuracy", "right", "curve", "seconds", "train_photos")
"""Fields of ``arms/*.json`` of a comparison."""


@dataclass(frozen=True)
class JobResult:
    """One training.

    correct        bool [N]: whether photo i of the split was classified correctly
    photos         uint64 [N]: a number per photo, the same in every training; photos of a group share it
    pool           the number of photos that the training photos are drawn from
    history        the epochs, as in history.csv; in a comparison ``val_accuracy`` only
    plan, metrics  of the run; empty in a comparison
    """

    job: Job
    split: str
    correct: np.ndarray
    photos: np.ndarray
    pool: int
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


def read_run(job: Job, pool: int) -> JobResult:
    """The result of a job whose run is finished. Raises RunError for files that cannot be read."""
    metrics, plan = read_metrics(job.folder), read_plan(job.folder).to_json()
    split = "test" if "test" in metrics else "val"
    try:
        predictions = [row for row in read_dicts(job.folder / "predictions.csv") if row["split"] == split]
        correct = np.array([row["label"] == row["predicted"] for row in predictions])
        splits = read_dicts(job.folder / "splits.csv")
        units = {row["path"]: row["group"] or row["digest"] for row in splits}
        # The epochs that led to the network kept: not a probe's grid, nor what ``auto`` tried and left.
        epochs = [r for r in read_dicts(job.folder / "history.csv") if r["epoch"] and r["strategy"] == plan["strategy"]]
        measures = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
        history = tuple({name: float(row[name]) for name in measures if row[name]} for row in epochs)
        return JobResult(
            job, split, correct, photo_numbers(units[row["path"]] for row in predictions), pool, history,
            metrics["val"]["accuracy"]["value"], float(metrics["training"]["seconds"]["training"]),
            sum(row["split"] == "train" for row in splits), plan, metrics,
        )  # fmt: skip
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise RunError(
            f"{job.folder} holds a run that cannot be read ({brief(error)}).",
            "Remove that folder and start the study again.",
        ) from None


def photo_numbers(units: Iterable[str]) -> np.ndarray:
    """A number per photo from what it is, its group or the digest of its bytes."""
    found = [hashlib.blake2b(unit.encode(errors="surrogateescape"), digest_size=8).digest() for unit in units]
    return np.frombuffer(b"".join(found), np.uint64)


def group_name(point: str) -> str:
    return f"{point} per class" if point else ""


FORMAT = 1
"""Of the files of a comparison: comparison-request.json and those of its trainings in ``arms``."""


class KeptFigures(Struct):
    """What a training of a comparison leaves in ``arms``; see ``from_figures``."""

    split: Literal["test", "val"]
    right: Annotated[list[bool], Meta(min_length=1)]
    curve: Annotated[list[Annotated[float, Meta(ge=0, le=1)]], Meta(min_length=1)]
    seconds: Annotated[float, Meta(ge=0)]
    train_photos: Annotated[int, Meta(ge=0)]


def figures_file(job: Job) -> Path:
    return job.folder.with_name(f"{job.folder.name}.json")


def read_figures(job: Job, tested: Callable[[str], np.ndarray], pool: int) -> JobResult | None:
    """The result of a job of a comparison, None where it has not ended; ``tested``: split to numbers of its photos."""
    try:
        kept = read_json(figures_file(job))
    except FileNotFoundError:
        return None
    found = checked(figures_file(job), kept, KeptFigures, FORMAT)
    photos = tested(found.split)
    if len(photos) != len(found.right):
        raise RunError(f"{figures_file(job)} is of other photos.", "Use `overwrite=True`, or choose another folder.")
    return from_figures(job, found.split, found.right, photos, pool, found.curve, found.seconds, found.train_photos)


def from_figures(
    job: Job, split: str, right: Sequence[bool], photos: np.ndarray, pool: int, curve: Sequence[float],
    seconds: float, train_photos: int,
) -> JobResult:  # fmt: skip
    """A training of a comparison. Within a seed all its arms are tested on the same photos."""
    history = tuple({"val_accuracy": value} for value in curve) if len(curve) > 1 else ()
    return JobResult(job, split, np.array(right), photos, pool, history, curve[-1], seconds, train_photos, {}, {})


@dataclass(frozen=True)
class Study:
    """A finished study.

    results       every training
    rows          the table; ``differences``: between arms, with intervals
    answer, text  the result in a sentence; all of it for a terminal
    """

    path: Path
    recipe: Recipe
    results: tuple[JobResult, ...]
    rows: tuple[ArmRow, ...]
    differences: tuple[DifferenceRow, ...]
    answer: str
    text: str

    def frame(self) -> DataFrame:
        """The rows as a pandas frame. Raises OptionError where pandas is not installed."""
        return notebook.frame(asdict(row) for row in self.rows)

    def _repr_html_(self) -> str:
        columns = ("arm", "point", "published", "mean", "low", "high", "values", "seconds")
        rows = [{name: getattr(row, name) for name in columns} for row in self.rows]
        return notebook.answer_html(self.answer, rows, self.path / "report.html")

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "study": self.recipe.name, "answer": self.answer, "report": str(self.path / "report.html"),
            "arms": [asdict(row) for row in self.rows], "differences": [asdict(gap) for gap in self.differences],
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    results             every training: its group, arm, seed, split, accuracy, right, curve, seconds, train_photos
    rows                per number of shots ("group") and arm: accuracy with interval
    differences         every pair of arms: the better one first, with interval and p-value
    text, answer        all of it for a terminal; the result in a sentence
    """

    results: tuple[JobResult, ...]
    rows: tuple[dict[str, Any], ...]
    differences: tuple[dict[str, Any], ...]
    text: str
    answer: str
    report: Path | None = None

    def frame(self) -> DataFrame:
        """The rows as a pandas frame. Raises OptionError where pandas is not installed."""
        return notebook.frame(self.rows)

    def _repr_html_(self) -> str:
        return notebook.answer_html(self.answer, self.rows, self.report)

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        report = str(self.report) if self.report else None
        arms, differences = list(self.rows), list(self.differences)
        return {"answer": self.answer, "report": report, "arms": arms, "differences": differences}
