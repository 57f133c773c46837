"""A run's folder: complete or resumable, and never half-overwritten."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from headstart._version import __version__
from headstart.core.files import read_json, write_json, write_rows
from headstart.core.formats import DAMAGED, check_format, checked
from headstart.core.text import listed
from headstart.data.schema import FOLD
from headstart.errors import OptionError, RunError, option
from headstart.inference.hub import PREFIX
from headstart.training.config import TrainOptions
from headstart.training.strategies.base import FoldResult

CONTENTS = {
    "model.safetensors": "the weights",
    "model.json": "classes, preprocessing, architecture, provenance",
    "certainty.safetensors": "how sure a prediction is: for sets of labels and for unknown photos",
    "plan.json": "every setting with its reason",
    "history.csv": "losses and accuracies per epoch (a probe: per L2 strength)",
    "metrics.json": "both accuracies with intervals, classification report, confusions, calibration, per split",
    "predictions.csv": "every val and test photo (with folds: every photo): true class, prediction, confidence",
    "splits.csv": "which photo was in which split",
    "check.json": "what reading the photos found",
    "request.json": "the options of the run; resuming reads them",
    "MODEL_CARD.md": "what it is, how good, how trained, its limits: for whoever gets the model",
    "report.html": "this page",
}
"""Files of a finished run; ``state/`` exists only while it trains."""
FORMAT = 1
"""Of request.json."""
NO_PARTS: Mapping[str, str] = MappingProxyType({})
RECORD = "exports.json"
"""Names what ``export`` and ``explain`` wrote into the run, which is deleted with it."""
_EXPORTED = [f"model{int8}{suffix}" for int8 in ("", ".int8") for suffix in (".onnx", ".pt2", ".xml", ".bin")]
ADDED = frozenset({RECORD, "explained", "logs", *_EXPORTED, *(f"{name}.json" for name in _EXPORTED)})
"""Files of ``--log``, and of ``export`` and ``explain`` of older versions, which kept no record."""
OURS = frozenset({*CONTENTS, "state"})


@dataclass
class RunFolder:
    """The folder of one training."""

    path: Path

    @classmethod
    def create(
        cls, path: Path, options: TrainOptions, overwrite: bool = False, deliberate_bugs: Sequence[str] = (),
        parts: Mapping[str, str] = NO_PARTS,
    ) -> RunFolder:  # fmt: skip
        """A new folder with the request in it; ``deliberate_bugs``: made by a study alone; ``parts``: what is told of
        the caller's own.

        Raises:
            RunError: the folder exists (and may not be overwritten, or is not a run), or cannot be made.
        """
        folder = cls(path)
        folder.refuse(overwrite)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"{path} cannot be made: {error.strerror or error}."
            raise RunError(problem, "Choose another folder with `out`.") from None
        folder._clear()
        bugs = {"mistakes": list(deliberate_bugs)} if deliberate_bugs else {}
        request = {"format": FORMAT, "headstart": __version__, "options": options.to_json(), **bugs}
        request |= {"parts": dict(parts)} if parts else {}
        write_json(path / "request.json", request)
        return folder

    def refuse(self, overwrite: bool) -> None:
        """Raise RunError if the folder must not become a new run; called before any work, and again by ``create``.

        A folder that holds anything but a run is never cleared: a mistyped ``out`` must not cost photos.
        """
        if not os.path.exists(self.path):
            return
        if not self.path.is_dir():
            raise RunError(f"{option('out', repr(str(self.path)))} is a file.", "Choose another name.", option="out")
        foreign = self._foreign()
        if not foreign and not any(p.name in OURS for p in self.path.iterdir()):
            return  # an empty folder, or one whose training was interrupted before its request was written
        if foreign or not (self.path / "request.json").exists():
            held = listed(foreign, 3) or "no request.json"
            problem = f"{self.path} exists and is not a run of headstart (it holds {held})."
            raise RunError(problem, "Choose another folder with `out`.", option="out")
        if not overwrite:
            unfinished = f" Its training did not end: `hs.resume({str(self.path)!r})` continues it."
            problem = f"{self.path} exists.{'' if self.finished else unfinished}"
            hint = "Use `overwrite=True` to replace it, or choose another folder with `out`."
            raise RunError(problem, hint, option="out")

    @classmethod
    def unused(cls, path: Path) -> Path:
        """The path, or with the first number (``photos-resnet18-auto-2``) under which nothing is yet."""
        number, chosen = 1, path
        while True:
            try:
                cls(chosen).refuse(overwrite=False)
                return chosen
            except RunError:
                number += 1
                chosen = path.with_name(f"{path.name}-{number}")

    def _foreign(self) -> list[str]:
        """What in the folder is neither a run's nor recorded; hidden files do not count."""
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
        """Delete a former run's files."""
        recorded = recorded_files(self.path)
        # The report first: half a run must not look complete. The request stays until it is replaced, and the record
        # until all that it names is gone: without them this is not a run.
        rest = (name for name in CONTENTS if name not in {"report.html", "request.json"})
        names = ("report.html", "state", *recorded, *ADDED - {RECORD}, *rest, RECORD)
        for name in (*names, "request.json"):
            _refuse_open(self.path / name)
        for name in names:
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
        """A run that was started, and its options.

        Raises:
            RunError: there is nothing to resume, or a newer headstart began it.
        """
        file = path / "request.json"
        try:
            request = read_json(file)
        except FileNotFoundError:
            problem = f"{path} holds no run (no request.json): there is nothing to resume."
            raise RunError(problem, "Start with `hs.train(DATA, out=RUN)`.") from None
        if not isinstance(request, dict) or not isinstance(request.get("options"), dict):
            raise RunError(f"{file} cannot be read: it holds no options.", DAMAGED)
        check_format(file, request, FORMAT)
        return cls(path), TrainOptions.from_json(request["options"], file)

    @property
    def deliberate_bugs(self) -> tuple[str, ...]:
        """Those that a study asked for. Raises RunError."""
        values = self.read_json("request.json").get("mistakes", ())
        return checked(self.path / "request.json", values, tuple[str, ...])

    @property
    def parts(self) -> dict[str, str]:
        """What the request tells of the caller's own parts, by the names of their options; empty without a request.
        Raises RunError.
        """
        try:
            request = read_json(self.path / "request.json")
        except OSError:
            return {}
        named = request.get("parts", {}) if isinstance(request, dict) else {}
        return checked(self.path / "request.json", named, dict[str, str])

    @property
    def finished(self) -> bool:
        """Whether there is a report, which is written last."""
        return (self.path / "report.html").exists()

    @property
    def state(self) -> Path:
        return self.path / "state"

    def remember(self, name: str, value: Any) -> None:
        """Save a decision that a resumed run must not make again."""
        write_json(self.state / f"{name}.json", value)

    def recall(self, name: str) -> Any:
        """A decision saved by ``remember``, or None."""
        try:
            return read_json(self.state / f"{name}.json")
        except (OSError, RunError):
            return None

    def close(self) -> None:
        """Delete what only a resume needs."""
        shutil.rmtree(self.state, ignore_errors=True)

    def read_json(self, name: str) -> Any:
        """One of the run's JSON files: an object. Raises RunError."""
        try:
            values = read_json(self.path / name)
        except OSError as error:
            problem = f"{self.path / name} cannot be read: {error.strerror or error}."
            raise RunError(problem, "Is the training finished?") from None
        if not isinstance(values, dict):
            raise RunError(f"{self.path / name} holds no object.", DAMAGED)
        return values


def _refuse_open(place: Path) -> None:
    """Raise RunError for a file, or one of a folder, that Windows would not delete since a program has it open: half a
    run would be left.
    """
    try:
        for file in place.rglob("*") if place.is_dir() and not place.is_symlink() else [place]:
            if file.is_file():
                os.rename(file, file)
    except OSError as error:
        problem = f"{error.filename or place} cannot be replaced: {error.strerror or error}."
        raise RunError(problem, "Close the program that has it open, and try again.") from None


def inside(run: Any, name: str) -> Path:
    """Where a command writes that was not told where: ``name`` in the folder of the run. Raises OptionError where the
    model is in no folder of the user's.
    """
    with suppress(RunError):
        if not (folder := os.fspath(run)).startswith(PREFIX):
            return Path(folder) / name
    raise OptionError("This model is in no folder of yours.", "Say where to write: `out`.", option="out")


def record(made: Iterable[Path]) -> None:
    """Record files that a command made: those inside a run are deleted when the run is overwritten. Raises RunError."""
    of_run: dict[Path, set[str]] = {}
    for path in (Path(os.path.abspath(file)) for file in made):
        run = next((parent for parent in path.parents if (parent / "request.json").is_file()), None)
        if run is not None:
            of_run.setdefault(run, set()).add(path.relative_to(run).as_posix())
    for run, names in of_run.items():
        write_json(run / RECORD, {"format": 1, "files": sorted(names.union(recorded_files(run)))})


def recorded_files(run: Path) -> list[str]:
    """The names that ``record`` wrote, as paths below the run; a name that leads out of it does not count."""
    try:
        names = read_json(run / RECORD)["files"]
        inside = run.resolve()
        below = [n for n in names if run / n != run and ".." not in Path(n).parts]
        return [n for n in below if (run / n).parent.resolve().is_relative_to(inside)]
    except (OSError, ValueError, KeyError, TypeError, RunError):
        return []


HISTORY = (
    "strategy", "epoch", "l2", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds",
    "val_balanced_accuracy",
)  # fmt: skip


def write_history(path: Path, probe: Sequence[Any], epochs: Sequence[Any], folds: Sequence[FoldResult] = ()) -> None:
    """history.csv: a line per L2 strength of the probe (of each fold's), then a line per epoch; columns that do not
    apply are empty. Where photos have any number of labels, ``val_map`` follows, and ``cv_score`` where photos of train
    counted beside val.
    """
    rows = [{"strategy": "probe", **asdict(step)} for step in probe] + [asdict(row) for row in epochs]
    of_labels = any(row["val_map"] is not None for row in rows)
    for number, fold in enumerate(folds, 1):
        rows += [{"strategy": "probe", **asdict(step), FOLD: number} for step in fold.probe.path]
    columns = [*HISTORY, *(["val_map"] if of_labels else [])]
    columns += ["cv_score"] if any(row.get("cv_score") is not None for row in rows) else []
    columns += [FOLD] if folds else []
    write_rows(path, columns, [[row.get(column, "") for column in columns] for row in rows])
