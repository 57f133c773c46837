"""A run's folder. In: options, and later what training found. Out: a folder that exists whole, can be resumed, and is
never half-overwritten.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headstart._version import __version__
from headstart.core.files import write_json, write_rows
from headstart.errors import RunError
from headstart.training.config import TrainOptions

CONTENTS = {
    "model.safetensors": "the weights",
    "model.json": "classes, preprocessing, architecture, provenance",
    "certainty.safetensors": "how sure an answer is: for sets of labels and for unknown photos",
    "plan.json": "every setting with its reason",
    "history.csv": "losses and accuracies per epoch (a probe: per L2 strength)",
    "metrics.json": "accuracy with interval, classification report, confusion matrix, calibration, per split",
    "predictions.csv": "every val and test photo: true class, answer, confidence",
    "splits.csv": "which photo was in which split",
    "check.json": "what reading the photos found",
    "request.json": "what was asked for; headstart train --resume reads it",
    "MODEL_CARD.md": "what it is, how good, how trained, its limits: for whoever gets the model",
    "report.html": "this page",
}
"""Files of a finished run; ``state/`` exists only while it trains."""
_EXPORTED = [f"model{int8}{suffix}" for int8 in ("", ".int8") for suffix in (".onnx", ".pt2", ".xml", ".bin")]
ADDED = frozenset({"explained", "logs", *_EXPORTED, *(f"{name}.json" for name in _EXPORTED)})
"""What ``explain``, ``export`` and ``--log`` add by default: gone with the run that they show."""
OURS = frozenset({*CONTENTS, "state"})


@dataclass
class RunFolder:
    """The folder of one training."""

    path: Path

    @classmethod
    def create(
        cls, path: Path, options: TrainOptions, overwrite: bool = False, mistakes: Sequence[str] = ()
    ) -> RunFolder:
        """A new folder with the request in it; ``mistakes``: those that a study makes on purpose.

        Raises:
            RunError: the folder exists (and may not be overwritten, or is not a run), or cannot be made.
        """
        folder = cls(path)
        folder.refuse(overwrite)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{path} cannot be made: {error.strerror or error}.", "Choose another folder with --out."
            ) from None
        folder._clear()
        request = {"headstart": __version__, "options": options.to_json()}
        write_json(path / "request.json", {**request, **({"mistakes": list(mistakes)} if mistakes else {})})
        return folder

    def refuse(self, overwrite: bool) -> None:
        """Raise RunError where the folder may not become a new run; asked before any work, and again by ``create``.

        A folder that holds anything but a run is never cleared: a mistyped --out must not cost photos.
        """
        if not os.path.exists(self.path):
            return
        if not self.path.is_dir():
            raise RunError(f"--out {self.path} is a file.", "Choose another name.")
        strangers = sorted(
            p.name for p in self.path.iterdir() if p.name not in OURS | ADDED and not p.name.startswith(".")
        )
        if not strangers and not any(p.name in OURS for p in self.path.iterdir()):
            return  # an empty folder, or one that a kill left before its request was written
        if strangers or not (self.path / "request.json").exists():
            raise RunError(
                f"--out {self.path} exists and is not a run of headstart's (it holds "
                f"{', '.join(strangers[:3]) or 'no request.json'}).",
                "Choose another folder.",
            )
        if not overwrite:
            unfinished = (
                ""
                if self.finished
                else f" Its training did not end: headstart train --resume {self.path} goes on with it."
            )
            raise RunError(
                f"--out {self.path} exists.{unfinished}", "Use --overwrite to replace it, or choose another folder."
            )

    def _clear(self) -> None:
        """Empty a former run."""
        # The report first: half a run must not pass for a whole one. The request stays until it is replaced: without it
        # this is no run.
        rest = (name for name in CONTENTS if name not in {"report.html", "request.json"})
        for name in ("report.html", "state", *ADDED, *rest):
            target = self.path / name
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    @classmethod
    def open(cls, path: Path) -> tuple[RunFolder, TrainOptions]:
        """A run that was begun, and what it was asked for.

        Raises:
            RunError: there is nothing to resume.
        """
        try:
            request = json.loads((path / "request.json").read_text(encoding="utf-8"))
            return cls(path), TrainOptions.from_json(request["options"])
        except FileNotFoundError:
            raise RunError(
                f"{path} holds no run (no request.json): there is nothing to resume.",
                "Start with headstart train DATA --out RUN.",
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{path / 'request.json'} cannot be read: {error}.", "Train again with --overwrite."
            ) from None

    @property
    def mistakes(self) -> tuple[str, ...]:
        """What ``create`` was told of them. Raises RunError."""
        return tuple(self.read_json("request.json").get("mistakes", ()))

    @property
    def finished(self) -> bool:
        """The report is written last."""
        return (self.path / "report.html").exists()

    @property
    def state(self) -> Path:
        return self.path / "state"

    def remember(self, name: str, value: Any) -> None:
        """Keep a decision that a resumed run must not make again."""
        write_json(self.state / f"{name}.json", value)

    def recall(self, name: str) -> Any:
        """A decision kept by ``remember``, or None."""
        try:
            return json.loads((self.state / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Drop what only a resume needs."""
        shutil.rmtree(self.state, ignore_errors=True)

    def read_json(self, name: str) -> Any:
        """One of the run's JSON files. Raises RunError."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / name} cannot be read: {error}.", "Is the training finished?") from None


HISTORY = ("strategy", "epoch", "l2", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds")


def write_history(path: Path, probe: Sequence[Any], epochs: Sequence[Any]) -> None:
    """history.csv: a line per L2 strength of the probe, then a line per epoch; what does not apply stays empty."""
    rows = [{"strategy": "probe", **asdict(step)} for step in probe] + [asdict(row) for row in epochs]
    write_rows(path, HISTORY, [[row.get(column, "") for column in HISTORY] for row in rows])
