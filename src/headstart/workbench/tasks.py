"""What jobs do: each calls the public function that the command line calls, and returns what the page needs to know."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import headstart as hs
from headstart.core.events import Listener
from headstart.core.files import write_json
from headstart.errors import OptionError
from headstart.workbench.project import LABELS, RUNS, Project

Task = Callable[[Path, Path, Mapping[str, Any], Listener], dict[str, Any]]
FINDINGS, SUGGESTIONS = "findings.json", "suggestions.json"
SUGGESTED, ALIKE = 20, 11
"""Photos that are suggested at a time, and look-alikes beside each, at most."""


def train(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Train on labels.csv; ``options``: of ``headstart train``, and "auto": whether a change of photos asked for it, so
    that the run replaces the last of its kind.
    """
    chosen = {name: value for name, value in options.items() if name != "auto"}
    auto = bool(options.get("auto"))
    run = project / RUNS / ("auto" if auto else f"run-{int(job.name)}")
    hs.train(LABELS, out=run, overwrite=auto, listener=listener, quiet=True, **chosen)
    return {"run": run.name}


def resume(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Resume a training that was stopped or interrupted."""
    run = _run(project, options["run"])
    hs.resume(run, listener=listener, quiet=True)
    return {"run": run.name}


def check(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Look for problems; findings.json in the job's folder has them."""
    found = hs.check(LABELS, out=job / "check.html", listener=listener, quiet=True, **options)
    write_json(job / FINDINGS, found.summary)
    return {"findings": len(found.findings), "fit": found.fit}


def compare(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Train with and without pretrained weights."""
    out = project / RUNS / f"compare-{int(job.name)}"
    found = hs.compare(LABELS, out=out, listener=listener, quiet=True, **options)
    return {"folder": out.name, "text": found.text}


def forecast(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """How accurate a model would be with more photos."""
    found = hs.forecast(_run(project, options["run"]), listener=listener, quiet=True)
    return {"text": found.text}


def export(project: Path, job: Path, options: Mapping[str, Any], listener: Listener) -> dict[str, Any]:
    """Write a run's model in another format."""
    chosen = {name: value for name, value in options.items() if name != "run"}
    found = hs.export(_run(project, options["run"]), listener=listener, quiet=True, overwrite=True, **chosen)
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
    found = hs.suggest(LABELS, pool, count=SUGGESTED, alike=ALIKE, listener=listener, quiet=True, **options)
    rows = [one.row for one in found.rows]
    write_json(job / SUGGESTIONS, {"rows": rows})
    return {"photos": len(rows)}


def _run(project: Path, name: str) -> Path:
    run = project / RUNS / name
    if Path(name).name != name or not run.is_dir():
        raise OptionError(f"There is no run {name!r}.")
    return run


TASKS: dict[str, Task] = {
    "train": train, "resume": resume, "check": check, "compare": compare, "forecast": forecast, "export": export,
    "suggest": suggest,
}  # fmt: skip


def import_all() -> None:
    """Import what the jobs need, before there is one."""
    for name in ("train", "check"):
        getattr(hs, name)
