"""A run's folder: it exists whole, can be resumed, and is never half-overwritten."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headstart._version import __version__
from headstart.core.files import write_json, write_rows
from headstart.core.text import listed
from headstart.errors import RunError, option
from headstart.training.config import TrainOptions

CONTENTS = {
    "model.safetensors": "the weights",
    "model.json": "classes, preprocessing, architecture, provenance",
    "certainty.safetensors": "how sure a prediction is: for sets of labels and for unknown photos",
    "plan.json": "every setting with its reason",
    "history.csv": "losses and accuracies per epoch (a probe: per L2 strength)",
    "metrics.json": "accuracy with interval, classification report, confusion matrix, calibration, per split",
    "predictions.csv": "every val and test photo: true class, prediction, confidence",
    "splits.csv": "which photo was in which split",
    "check.json": "what reading the photos found",
    "request.json": "the options of the run; resuming reads them",
    "MODEL_CARD.md": "what it is, how good, how trained, its limits: for whoever gets the model",
    "report.html": "this page",
}
"""Files of a finished run; ``state/`` exists only while it trains."""
RECORD = "exports.json"
"""Names what ``export`` and ``explain`` wrote into the run: it goes with the run that it shows."""
_EXPORTED = [f"model{int8}{suffix}" for int8 in ("", ".int8") for suffix in (".onnx", ".pt2", ".xml", ".bin")]
ADDED = frozenset({RECORD, "explained", "logs", *_EXPORTED, *(f"{name}.json" for name in _EXPORTED)})
"""What ``--log`` adds, and what ``export`` and ``explain`` of headstarts without that record do."""
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
                f"{path} cannot be made: {error.strerror or error}.", "Choose another folder with `out`."
            ) from None
        folder._clear()
        request = {"headstart": __version__, "options": options.to_json()}
        write_json(path / "request.json", {**request, **({"mistakes": list(mistakes)} if mistakes else {})})
        return folder

    def refuse(self, overwrite: bool) -> None:
        """Raise RunError where the folder may not become a new run; asked before any work, and again by ``create``.

        A folder that holds anything but a run is never cleared: a mistyped ``out`` must not cost photos.
        """
        if not os.path.exists(self.path):
            return
        if not self.path.is_dir():
            raise RunError(f"{option('out', repr(str(self.path)))} is a file.", "Choose another name.", option="out")
        foreign = self._foreign()
        if not foreign and not any(p.name in OURS for p in self.path.iterdir()):
            return  # an empty folder, or one that a kill left before its request was written
        if foreign or not (self.path / "request.json").exists():
            raise RunError(
                f"{self.path} exists and is not a run of headstart's (it holds "
                f"{listed(foreign, 3) or 'no request.json'}).",
                "Choose another folder with `out`.",
                option="out",
            )
        if not overwrite:
            unfinished = (
                "" if self.finished else f" Its training did not end: `hs.resume({str(self.path)!r})` goes on with it."
            )
            raise RunError(
                f"{self.path} exists.{unfinished}",
                "Use `overwrite=True` to replace it, or choose another folder with `out`.",
                option="out",
            )

    def _foreign(self) -> list[str]:
        """What lies in the folder and is neither a run's nor recorded; hidden files do not count."""
        recorded = {self.path / name for name in recorded_files(self.path)}
        names = []
        for entry in self.path.iterdir():
            if entry.name in OURS | ADDED or entry.name.startswith(".") or entry in recorded:
                continue
            files = [] if entry.is_symlink() else [file for file in entry.rglob("*") if not file.is_dir()]
            if not files or not recorded.issuperset(files):
                names.append(entry.name)
        return sorted(names)

    def _clear(self) -> None:
        """Empty a former run."""
        recorded = recorded_files(self.path)
        # The report first: half a run must not pass for a whole one. The request stays until it is replaced, and the
        # record until all that it names is gone: without them this is no run.
        rest = (name for name in CONTENTS if name not in {"report.html", "request.json"})
        for name in ("report.html", "state", *recorded, *ADDED - {RECORD}, *rest, RECORD):
            target = self.path / name
            if not target.is_dir():
                target.unlink(missing_ok=True)
            elif name not in recorded:  # the record names files only
                shutil.rmtree(target)
        folders = {self.path / parent for name in recorded for parent in Path(name).parents[:-1]}
        for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
            with suppress(OSError):  # it holds something else
                folder.rmdir()

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
                "Start with `hs.train(DATA, out=RUN)`.",
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{path / 'request.json'} cannot be read: {error}.", "Train again with `overwrite=True`."
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


def record(made: Iterable[Path]) -> None:
    """Note files that a command made: those inside a run are deleted when the run is overwritten. Raises RunError."""
    of_run: dict[Path, list[str]] = {}
    for path in (Path(os.path.abspath(file)) for file in made):
        run = next((parent for parent in path.parents if (parent / "request.json").is_file()), None)
        if run is not None:
            of_run.setdefault(run, []).append(path.relative_to(run).as_posix())
    for run, names in of_run.items():
        every = sorted({*recorded_files(run), *names})
        write_json(run / RECORD, {"format": 1, "files": every})


def recorded_files(run: Path) -> list[str]:
    """What ``record`` noted, as paths below the run; a name that leads out of it does not count."""
    try:
        names = json.loads((run / RECORD).read_text(encoding="utf-8"))["files"]
        inside = run.resolve()
        return [
            name
            for name in names
            if name and (run / name).parent.resolve().is_relative_to(inside) and run / name != run
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


HISTORY = ("strategy", "epoch", "l2", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds")


def write_history(path: Path, probe: Sequence[Any], epochs: Sequence[Any]) -> None:
    """history.csv: a line per L2 strength of the probe, then a line per epoch; what does not apply stays empty."""
    rows = [{"strategy": "probe", **asdict(step)} for step in probe] + [asdict(row) for row in epochs]
    write_rows(path, HISTORY, [[row.get(column, "") for column in HISTORY] for row in rows])
