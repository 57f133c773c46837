"""``study``: a whole experiment from a recipe. Every training leaves an ordinary run folder in ``OUT/arms``.

After an interruption the same call goes on: finished runs are read, an interrupted one resumes; seeds can be added.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from headstart.core.arguments import Device, typed
from headstart.core.events import Listener
from headstart.core.executor import Executor, find_executor, session
from headstart.core.files import write_json
from headstart.core.paths import Place, lasting
from headstart.core.text import printable
from headstart.errors import OptionError, RunError
from headstart.reporting.command import command_line
from headstart.reporting.console import console_events
from headstart.runs.folder import RunFolder
from headstart.workflows.experiment import analysis
from headstart.workflows.experiment.catalogue import load
from headstart.workflows.experiment.jobs import FOLDER, Experiment, Job, assign_paths, make_jobs
from headstart.workflows.experiment.results import JobResult, Study
from headstart.workflows.experiment.runner import Runner
from headstart.workflows.experiment.worker import Worker

OWN = {FOLDER, "study.json", "report.html", "pictures", "state"}
"""The contents of a study's folder; ``state`` exists only until it ends."""
_PLACES = {"data", "out", "weights", "from_run", "device", "on_bad"}
"""Options in which a run may differ from the job that finds it."""


@typed
def study(
    recipe: Place,
    *,
    data: Mapping[str, Place] | Place | None = None,
    weights: Mapping[str, Place] | Place | None = None,
    seeds: int | None = None,
    quick: bool = False,
    settings: Sequence[str] = (),
    out: Place | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    device: Device = "auto",
    listener: Listener | None = None,
    executor: str | Executor = "local",
) -> Study:
    """Run an experiment from a recipe, or go on with one that was interrupted.

    Args:
        recipe: a name that ``headstart study --list`` shows, or a YAML file.
        data: image set to photos; a single path where the recipe has one set.
        weights: backbone to checkpoint file; a single path where the recipe has one backbone. Default: published
            weights are downloaded.
        seeds: seeds per arm. Default: the recipe's.
        quick: run the small form that the recipe gives, for trying.
        settings: changes of the recipe: ``"epochs=3"`` for every arm, ``"scratch.epochs=3"`` for one.
        out: the study's folder. Default: ``runs/study-NAME``.
        overwrite: train again what is in ``out``.
        quiet: no progress and messages on standard error, warnings only.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        executor: where trainings run: "local", one after the other here; "ray" or "ray:HOST:PORT", on Ray; or an object
            with the ``submit`` of ``concurrent.futures``.

    Returns:
        The study: ``rows``, ``differences``, ``answer``, ``text``, and ``path`` with the report.

    Raises:
        OptionError: a problem in the recipe or an option; all of them at once.
        DataError: photos that are missing or cannot be trained on.
        RunError: the folder exists and holds something else.
    """
    where = find_executor(executor)
    found, photos, files = load(str(recipe), settings, quick, seeds), _by_name(data), _by_name(weights)
    path = Path(out) if out else Path("runs") / f"study-{found.name}{'-quick' if quick else ''}"
    places = {name: lasting(place) for name, place in assign_paths(found, photos).items()}
    jobs = make_jobs(found, places, {name: lasting(file) for name, file in files.items()}, path, str(device))
    changes = {name: value for name, _, value in (text.partition("=") for text in settings)}
    asked = {"data": photos, "weights": files, "quick": quick, "seeds": seeds, "settings": changes}
    command = command_line("study", str(recipe), asked)

    def line(result: JobResult, number: int, left: str) -> str:
        found = f"{result.split} accuracy {result.accuracy:.3f}   {result.seconds:.0f} s"
        return "   ".join(filter(None, (f"  {number} of {len(jobs)}", f"{result.job.label}: {found}", left)))

    with console_events(quiet, listener) as events, session(where, str(device), events):
        from headstart.inference.device import find_machine
        from headstart.training.arithmetic import as_begun
        from headstart.workflows.experiment.report import study_report, write_page

        machine = find_machine(device)  # an unknown device is refused before the photos are read
        check_architectures(jobs)
        _check_folder(path, jobs, overwrite)
        worker = Worker(Experiment(found, places), events)
        runner = Runner(jobs, worker, where, events, line)
        if overwrite:  # now that the photos were found: a mistyped `data` must not cost a study
            for folder in (path / "state", *(job.folder for job in jobs)):
                shutil.rmtree(folder, ignore_errors=True)
        begins = any(not RunFolder(job.folder).finished for job in jobs)
        with as_begun(path / "state", machine, events) if begins else nullcontext():
            results = runner.run(path)
        rows, gaps = analysis.table(found, results), analysis.differences(found, results)
        answer = analysis.answer(found, rows, gaps)
        told = analysis.study_text(found, rows, gaps, answer)
        text = f"{told}\n\nReport: {printable(path / 'report.html')}"
        done = Study(path, found, tuple(results), tuple(rows), tuple(gaps), answer, text)
        write_json(path / "study.json", {"recipe": found.raw, **done.summary})
        write_page(study_report(done, command, worker.library, machine.words), path, pictures=True)
        shutil.rmtree(path / "state", ignore_errors=True)
        return done


def _by_name(given: Mapping[str, Place] | Place | None) -> dict[str, str]:
    if given is None:
        return {}
    return {n: str(p) for n, p in given.items()} if isinstance(given, Mapping) else {"": str(given)}


def check_architectures(jobs: Sequence[Job]) -> None:
    """Refuse every unknown backbone, cut and boundary, before the first training. Raises OptionError."""
    from headstart.models.factory import create
    from headstart.training.planning import resolve
    from headstart.training.rules import Facts

    wrong, first = [], dict[tuple[str, str | None], dict[tuple[str, str | None], str]]()
    for options, arm in ((job.options, job.arm) for job in jobs):
        places = first.setdefault((options.backbone, options.cut), {})
        places.setdefault((options.strategy, options.boundary), arm.name)
    for (backbone, cut), places in first.items():
        name = next(iter(places.values()))
        try:
            network = create(backbone, pretrained=False, cut=cut)
            for (strategy, boundary), name in places.items():  # noqa: B007 - the error is of this arm
                facts = Facts(1, 2, 224, 224, strategy, last_stage=network.last_stage)
                network.split_at(resolve(facts, boundary=boundary).boundary)
        except OptionError as error:
            wrong.append(f"{name}: {error.problem} {error.hint}".strip())
    if wrong:
        raise OptionError("; ".join(wrong))


def _check_folder(out: Path, jobs: Sequence[Job], overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise RunError(f"`out={out}` is a file.", "Choose another name.", option="out")
    others = [p.name for p in out.iterdir() if p.name not in OWN and p.name[0] != "."] if out.exists() else []
    if others:
        raise RunError(f"`out={out}` is not a study (it holds {others[0]}).", "Choose another folder.", option="out")
    for job in jobs:
        if overwrite or not (job.folder / "request.json").exists():
            continue
        before = {**RunFolder.open(job.folder)[1].to_json(), "mistakes": RunFolder(job.folder).deliberate_bugs}
        now = {**job.options.to_json(), "mistakes": job.arm.deliberate_bugs}
        changed = [
            f"{name}: {_shown(before.get(name))}, now {_shown(value)}"
            for name, value in now.items()
            if name not in _PLACES and value != before.get(name)
        ]
        if changed:  # the run of another job is never replaced unasked
            raise RunError(
                f"{job.folder} was trained with other options ({'; '.join(changed)}).",
                "Use `overwrite=True` to train it again, or choose another folder with `out`.",
            )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
