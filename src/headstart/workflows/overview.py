"""``list_runs``: the runs below a folder. In: files that may be anybody's. Out: a row per run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.arguments import typed
from headstart.core.files import read_json
from headstart.core.paths import Place
from headstart.core.text import brief, joined, listed
from headstart.data.filenames import natural_key
from headstart.errors import HeadstartError, RunError
from headstart.evaluation.metrics import headline, judged_on
from headstart.reporting.notebook import frame
from headstart.runs.figures import read_metrics, read_plan
from headstart.runs.folder import RunFolder
from headstart.training.plan import Plan
from headstart.training.planning import plan_rows

if TYPE_CHECKING:
    from pandas import DataFrame

RUNS = "runs"
DEEPEST = 4
"""Levels of folders below the one that is asked for: ``runs/STUDY/arms/RUN`` and some more."""


@dataclass(frozen=True)
class RunRow:
    """One run. ``state``: "finished", "unfinished" (it can be resumed, or is being trained) or "broken";
    ``problem`` says why. ``photos``: of all splits. ``figure``: the name of ``accuracy``, which is of ``split``.
    ``differences``: setting → (value in the first finished run, value here).
    """

    run: str
    state: str
    problem: str = ""
    data: str = ""
    created: str = ""
    photos: int | None = None
    backbone: str = ""
    strategy: str = ""
    split: str = ""
    figure: str = ""
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    differences: dict[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunList:
    """What ``list_runs`` found: the rows in natural order of their paths."""

    folder: str
    rows: tuple[RunRow, ...]

    @property
    def summary(self) -> list[dict[str, Any]]:
        """What ``--json`` prints."""
        return [asdict(row) for row in self.rows]

    def frame(self) -> DataFrame:
        """A row per run as a pandas frame."""
        return frame(self.summary)

    @property
    def text(self) -> str:
        """A table; what differs from the first finished run is below each."""
        cells: list[tuple[str, ...]] = [
            ("run", "accuracy (95 % interval)", "on", "photos", "backbone", "strategy", "date")
        ]
        cells += [_cells(row) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for line, row in zip(cells, (None, *self.rows), strict=True):
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
            if row is not None and (below := _below(row)):
                lines.append(f"    {below}")
        return joined(lines)


def _cells(row: RunRow) -> tuple[str, ...]:
    figure = row.state
    if row.accuracy is not None:
        other = _OTHERS.get(row.figure, "")
        figure = f"{row.accuracy:.3f} ({row.low:.3f} to {row.high:.3f}){other}"
    photos = "" if row.photos is None else f"{row.photos:,}"
    return row.run, figure, row.split, photos, row.backbone, row.strategy, row.created[:16].replace("T", " ")


_OTHERS = {"balanced accuracy": " balanced", "mean average precision": " mAP", "micro F1": " micro F1"}
"""What follows a figure that is no accuracy."""


def _below(row: RunRow) -> str:
    if row.problem:
        return row.problem
    changes = [f"{name} {_value(here)} (first: {_value(first)})" for name, (first, here) in row.differences.items()]
    return listed(changes, 4)


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@typed
def list_runs(folder: Place = RUNS) -> RunList:
    """List the runs in and below a folder, from what their files say; no network is loaded.

    Args:
        folder: where runs are: ``runs`` by default; a single run is one, too.

    Returns:
        A row per run, with the state of those that are unfinished or broken.

    Raises:
        RunError: no folder there, or none with a run in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RunError(f"{root} is no folder.", "Train first: `hs.train('photos/')`; or name the folder of your runs.")
    found, first = [], None
    for path in sorted(_runs(root), key=lambda path: natural_key(path.as_posix())):
        row, plan = _row(path)
        if plan is not None and first is None:
            first = plan
        elif plan is not None and first is not None:
            row = RunRow(**{**vars(row), "differences": _differences(first, plan)})
        found.append(row)
    if not found:
        raise RunError(f"{root} holds no run of headstart.", "Train first: `hs.train('photos/')`.")
    return RunList(str(root), tuple(found))


def _runs(root: Path) -> Iterator[Path]:
    """Folders with a request.json; what lies in a run is its own."""
    for place, folders, files in os.walk(root):
        path = Path(place)
        if "request.json" in files:
            folders.clear()
            yield path
        elif len(path.relative_to(root).parts) >= DEEPEST:
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]


def _row(path: Path) -> tuple[RunRow, Plan | None]:
    """What is known of one run; its plan where it is finished and whole."""
    known: dict[str, Any] = {"run": str(path), "created": _changed(path / "request.json")}
    try:
        folder, options = RunFolder.open(path)
        named = options.from_run or options.backbone
        known |= {"data": options.data, "backbone": named, "strategy": options.strategy}
        if not folder.finished:
            words = f"Not finished: `hs.resume({str(path)!r})` goes on, where it is not being trained now."
            return RunRow(**known, state="unfinished", problem=words), None
        metrics, plan = read_metrics(path), read_plan(path)
        split = judged_on(metrics)
        name, interval = headline(metrics[split])
        known |= {"split": split, "figure": name} | {of: float(interval[key]) for of, key in _FIGURES.items()}
        known |= {"strategy": plan.strategy, "photos": _photos(path), "created": _created(path) or known["created"]}
        return RunRow(**known, state="finished"), plan
    except HeadstartError as error:
        return RunRow(**known, state="broken", problem=brief(error.problem, 200)), None
    except OSError as error:
        return RunRow(**known, state="broken", problem=f"{error.filename}: {error.strerror or error}."), None


_FIGURES = {"accuracy": "value", "low": "low", "high": "high"}


def _differences(first: Plan, other: Plan) -> dict[str, tuple[Any, Any]]:
    """The settings that either uses and that differ; the strategy has a column of its own."""
    used = dict.fromkeys(name for plan in (first, other) for name, _, _ in plan_rows(plan))
    pairs = {name: (getattr(first, name), getattr(other, name)) for name in used if name not in ("strategy", "variant")}
    return {name: (mine, yours) for name, (mine, yours) in pairs.items() if mine != yours}


def _photos(path: Path) -> int | None:
    try:
        photos = read_json(path / "check.json")["photos"]
    except (OSError, RunError, KeyError, TypeError):
        return None
    return photos if type(photos) is int else None


def _created(path: Path) -> str:
    """When the model was made, in local time."""
    try:
        made = datetime.fromisoformat(read_json(path / "model.json")["provenance"]["created"])
    except (OSError, RunError, KeyError, TypeError, ValueError):
        return ""
    return made.astimezone().isoformat(timespec="seconds")


def _changed(file: Path) -> str:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime).astimezone().isoformat(timespec="seconds")
    except (OSError, ValueError, OverflowError):
        return ""
