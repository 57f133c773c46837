"""What jobs do: each calls the public function that the command line calls, and returns what the page needs to know."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import headstart as hs
from headstart.core.events import Listener, Warned
from headstart.core.files import read_rows, write_json
from headstart.core.text import plural
from headstart.data.split_table import read_splits
from headstart.errors import HeadstartError, OptionError
from headstart.workbench.project import LABELS, RUNS, Project

Task = Callable[[Path, Path, Mapping[str, Any], Listener], dict[str, Any]]
FINDINGS, SUGGESTIONS = "findings.json", "suggestions.json"
SUGGESTED, ALIKE = 20, 11
"""Photos that are suggested at a time, and look-alikes beside each, at most."""


def train(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Train on labels.csv; ``options``: of ``headstart train``, and "auto": whether a change of photos asked for it, so
    that the run replaces the last of its kind.
    """
    chosen = _chosen(options, "auto")
    auto = bool(options.get("auto"))
    run = project / RUNS / ("auto" if auto else f"run-{int(job.name)}")
    hs.train(LABELS, out=run, overwrite=auto, listener=listener, quiet=True, **chosen)
    return {"run": run.name}


def resume(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Resume a training that was stopped or interrupted."""
    run = _run(project, options)
    if other := _relabelled(project, run):
        words = f"{plural(other, 'photo')} of this training had another label, or none, when it began"
        listener(Warned(f"{words}: it goes on with those. Train again to use what {LABELS} says now."))
    hs.resume(run, listener=listener, quiet=True)
    return {"run": run.name}


def check(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Look for problems; findings.json in the job's folder has them."""
    found = hs.check(LABELS, out=job / "check.html", listener=listener, quiet=True, **_chosen(options))
    write_json(job / FINDINGS, found.summary)
    return {"findings": len(found.findings), "fit": found.fit}


def compare(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Train with and without pretrained weights."""
    out = project / RUNS / f"compare-{int(job.name)}"
    found = hs.compare(LABELS, out=out, listener=listener, quiet=True, **_chosen(options))
    return {"folder": out.name, "text": found.text}


def forecast(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """How accurate a model would be with more photos."""
    found = hs.forecast(_run(project, options), listener=listener, quiet=True)
    return {"text": found.text}


def export(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Write a run's model in another format."""
    chosen = _chosen(options, "run")
    found = hs.export(_run(project, options), listener=listener, quiet=True, overwrite=True, **chosen)
    made = Path(found.path)
    if made.is_dir():  # a browser downloads one file
        made = Path(shutil.make_archive(str(made), "zip", made))
    return {"path": made.relative_to(project).as_posix()}


def suggest(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Rank the photos without a class by what their labels would bring; suggestions.json has the order."""
    opened = Project(project)
    pool = [str(opened.path(row)) for row in opened.store.photos("label is null and left_out = 0")]
    opened.store.close()
    if not pool:
        raise OptionError("Every photo has a class.", "Add photos without a class first.")
    found = hs.suggest(LABELS, pool, count=SUGGESTED, alike=ALIKE, listener=listener, quiet=True, **_chosen(options))
    rows = [one.row for one in found.rows]
    write_json(job / SUGGESTIONS, {"rows": rows})
    return {"photos": len(rows)}


def _chosen(options: Mapping[str, Any], *own: str) -> dict[str, Any]:
    """The options of a public function: without the task's ``own``. Raises OptionError for what the studio decides."""
    if taken := sorted(options.keys() & _DECIDED):
        raise OptionError(f"The studio decides {taken[0]!r} itself.", "Leave it out.")
    return {name: value for name, value in options.items() if name not in own}


_DECIDED = {"out", "overwrite", "listener", "quiet"}


def _run(project: Path, options: Mapping[str, Any]) -> Path:
    """The run that the options name. Raises OptionError."""
    name = options.get("run")
    if not isinstance(name, str) or Path(name).name != name or not (project / RUNS / name).is_dir():
        raise OptionError(f"There is no run {name!r}.")
    return project / RUNS / name


def _relabelled(project: Path, run: Path) -> int:
    """How many photos of a run have another label in labels.csv by now, or are not in it."""
    try:
        before = {os.path.normpath(project / row.path): row.label for row in read_splits(run / "splits.csv")}
        now = {os.path.normpath(project / path): label for path, label, *_ in read_rows(project / LABELS)[1:]}
    except (HeadstartError, OSError, ValueError):
        return 0  # resuming says what is wrong
    return sum(now.get(path) != label for path, label in before.items())


TASKS: dict[str, Task] = {
    "train": train, "resume": resume, "check": check, "compare": compare, "forecast": forecast, "export": export,
    "suggest": suggest,
}  # fmt: skip


def import_all() -> None:
    """Import what the jobs need, before there is one."""
    for name in ("train", "check"):
        getattr(hs, name)
