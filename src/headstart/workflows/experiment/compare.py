"""``compare``: did the pretraining help? A study made from arguments: arms x shots x seeds, all on one dataset.

Within a seed all arms use the same splits, so differences are paired by seed. Each training leaves one small JSON file;
after an interruption the same call goes on with those that are missing.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from headstart.core.arguments import typed
from headstart.core.events import Listener
from headstart.core.executor import Executor, find_executor, session
from headstart.core.files import write_json
from headstart.core.formats import check_format, known_only
from headstart.core.paths import Place
from headstart.core.text import printable
from headstart.data.sources.given import Data
from headstart.errors import OptionError, RunError, did_you_mean
from headstart.models.heads import check_head
from headstart.reporting.command import command_line
from headstart.reporting.console import console_events
from headstart.reporting.page import Fact
from headstart.training import config
from headstart.training.config import CompareOptions, TrainOptions
from headstart.training.plan import check_overrides
from headstart.training.strategies import STRATEGIES
from headstart.workflows.experiment import analysis
from headstart.workflows.experiment.jobs import FOLDER, Experiment, Job
from headstart.workflows.experiment.recipe import MAX_POINTS, MAX_SEEDS, Arm, Images, Recipe
from headstart.workflows.experiment.results import FORMAT, Comparison, JobResult, group_name
from headstart.workflows.experiment.rows import DifferenceRow
from headstart.workflows.experiment.runner import Runner
from headstart.workflows.experiment.worker import Worker

ARMS = tuple(s for s in STRATEGIES.names() if s != "auto")
_IMAGES = ""  # the only image set; the title names it


@typed
def compare(
    data: Data,
    *,
    arms: Sequence[config.Arm] = config.ARMS,
    seeds: int = config.SEEDS,
    shots: Sequence[int] = (),
    out: Place | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    listener: Listener | None = None,
    executor: str | Executor = "local",
    **options: Unpack[CompareOptions],
) -> Comparison:
    """Train several strategies on the same splits, over seeds, and compare their accuracies.

    Args:
        data: a folder, CSV, archive or named dataset.
        arms: strategies: "probe", "finetune", "partial", "lp-ft" or "scratch".
        seeds: seeds per arm (``seed``, ``seed + 1``, …). A seed decides splits, shots, order and random weights.
        shots: photos per class; several give a table for each. Default: all photos.
        out: the comparison's folder. Default: ``runs/DATA-BACKBONE-compare``.
        overwrite: replace the comparison in ``out``.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        executor: where trainings run: "local", one after the other here; "ray" or "ray:HOST:PORT", on Ray; or an object
            with the ``submit`` of ``concurrent.futures``.
        **options: see ``headstart.training.config.CompareOptions``; they hold for all arms, ``boundary`` for "partial".

    Returns:
        The comparison: ``rows``, ``differences``, ``answer``, ``text``, ``results`` and the path of the ``report``.

    Raises:
        OptionError: an option that is unknown or cannot be.
        DataError: photos that cannot be trained on as they are.
        RunError: the folder exists and holds something else.
    """
    where = find_executor(executor)
    boundary = options.pop("boundary", None)
    asked = TrainOptions.gather(data, None, options, "compare")
    _check(arms, seeds, shots, boundary)
    check_overrides(asked.settings)
    check_head(asked.head, asked.dropout)
    path = Path(out) if out else Path("runs") / f"{asked.run_name().removesuffix('-auto')}-compare"
    recipe = make_recipe(arms, seeds, shots, boundary)
    jobs = _jobs(recipe, asked, path)
    chosen = {"arms": list(arms), "seeds": seeds, "shots": list(shots), "boundary": boundary}
    with console_events(quiet, listener) as events, session(where, asked.device, events):
        from headstart.inference.device import find_machine
        from headstart.training.arithmetic import as_begun
        from headstart.workflows.experiment.report import comparison_report, write_page

        machine = find_machine(asked.device)
        worker = Worker(Experiment(recipe, {_IMAGES: asked.data}, "figures", asked.on_bad, asked.read_options), events)
        photos, backbone = worker.inputs(replace(jobs[0], options=jobs[0].like or jobs[0].options))
        usable = sum(problem is None for problem in photos.pixels.problems)
        classes = len({photo.label for photo in photos.manifest.photos})
        kind, size = f"{photos.manifest.name} ({photos.manifest.layout})", photos.pixels.resize
        events.message(f"{kind}: {classes} classes, {usable} photos, at {size} px")
        _open_folder(path, {"format": FORMAT, "options": asked.to_json(), **chosen, "photos": photos.digest}, overwrite)
        began = time.monotonic()
        with as_begun(path / "state", machine, events):
            results = Runner(jobs, worker, where, events, _line).run(path)
        shutil.rmtree(path / "state", ignore_errors=True)  # of an interrupted training: each has ended now
        facts = [
            Fact("backbone", backbone.name, backbone.source),
            Fact("time", f"{time.monotonic() - began:.0f} s", machine.words),
        ]
        found, report = compared(recipe, results), path / "report.html"
        write_json(path / "comparison.json", found.summary)
        command = command_line("compare", asked.data, {**asked.given("compare"), **chosen})
        write_page(comparison_report(recipe, results, found.answer, command, photos, facts, machine.words), path)
        return replace(found, report=report, text=f"{found.text}\n\nReport: {printable(report)}")


def _check(arms: Sequence[str], seeds: int, shots: Sequence[int], boundary: str | None) -> None:
    wrong = [
        ("arms", f"unknown arm {arm!r}. {did_you_mean(arm, ARMS) or 'Arms: ' + ', '.join(ARMS) + '.'}")
        for arm in arms
        if arm not in ARMS
    ]
    wrong += [("arms", "`arms` names an arm twice")] if len(set(arms)) < len(arms) else []
    wrong += [("arms", "`arms` is empty")] if not arms else []
    wrong += [("boundary", "`boundary` goes with the arm partial")] if boundary and "partial" not in arms else []
    wrong += [("seeds", f"`seeds={seeds}` must be from 1 to {MAX_SEEDS:,}")] if not 1 <= seeds <= MAX_SEEDS else []
    wrong += [("shots", f"`shots={n}` must be at least 1") for n in shots if n < 1]
    wrong += [("shots", "`shots` names a number twice")] if len(set(shots)) < len(shots) else []
    wrong += [("shots", f"`shots` names more than {MAX_POINTS} numbers")] if len(shots) > MAX_POINTS else []
    if wrong:
        raise OptionError("; ".join(words for _, words in wrong), option=wrong[0][0] if len(wrong) == 1 else None)


def make_recipe(arms: Sequence[str], seeds: int, shots: Sequence[int] = (), boundary: str | None = None) -> Recipe:
    """A comparison as a recipe: an arm per strategy, swept over shots where there are some."""
    made, sweep = [], ("shots", tuple(shots)) if shots else None
    for arm in arms:
        strategy = STRATEGIES.get(arm)
        options = {"strategy": arm, "boundary": boundary if strategy.boundary.use == "required" else None}
        if not strategy.pretrained:
            options |= {"weights": None, "from_run": None}
        made.append(Arm(arm, _IMAGES, options, sweep, seeds=seeds))
    return Recipe("comparison", "", {_IMAGES: Images(_IMAGES)}, tuple(made))


def _jobs(recipe: Recipe, asked: TrainOptions, out: Path) -> list[Job]:
    """Every training, in the order of points, seeds and arms; all at the size and with the preprocessing of the
    pretrained network.
    """
    pretrained = [arm.name for arm in recipe.arms if STRATEGIES.get(arm.name).pretrained]
    like, jobs = replace(asked, strategy=(pretrained or [recipe.arms[0].name])[0]), []
    for point in range(len(recipe.arms[0].points())):
        for seed in range(asked.seed, asked.seed + recipe.seeds):
            for arm in recipe.arms:
                label, options = arm.points()[point]
                name = f"{group_name(label) or 'all'}-{arm.name}-{seed}".replace(" ", "-")
                changed = replace(asked, seed=seed, **options)
                jobs.append(Job(arm, label, seed, changed, out / FOLDER / name, like=like))
    return jobs


def _open_folder(path: Path, request: dict[str, Any], overwrite: bool) -> None:
    """Begin a comparison in its folder, or go on with the same one that was interrupted. Raises RunError."""
    file = path / "comparison-request.json"
    request = json.loads(json.dumps(request))  # as it will be read again
    if os.path.exists(path) and (not path.is_dir() or any(not p.name.startswith(".") for p in path.iterdir())):
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            check_format(file, before, FORMAT)
            before = _as_now(before, request)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise RunError(
                f"`out={path}` exists and is not a comparison.", "Choose another folder.", option="out"
            ) from None
        finished = (path / "report.html").exists()
        if (finished or before != request) and not overwrite:
            raise RunError(
                f"`out={path}` exists{'' if finished else ' and belongs to another comparison'}.",
                "Use `overwrite=True`, or choose another folder.",
                option="out",
            )
        if finished or before != request:
            for old in [path / "report.html", *(path / FOLDER).glob("*.json"), path / "comparison.json"]:
                old.unlink(missing_ok=True)
            shutil.rmtree(path / "state", ignore_errors=True)  # of an interrupted training: must not be resumed
    write_json(file, request)


def _as_now(before: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """An earlier request with the keys of this one: missing options get their defaults, unknown ones are told."""
    own = known_only("comparison-request.json holds keys", before, request)
    options = json.loads(json.dumps(TrainOptions.from_json(before["options"], "comparison-request.json").to_json()))
    return {**own, "options": options, "format": request["format"]}


def _line(result: JobResult, number: int, left: str) -> str:
    where = f"{group_name(result.job.point)}, " if result.job.point else ""
    found = f"{result.split} accuracy {result.accuracy:.3f}   {result.seconds:.1f} s"
    return f"  {where}seed {result.job.seed}: {result.arm:9} {found}"


def compared(recipe: Recipe, results: Sequence[JobResult]) -> Comparison:
    """What the results of a comparison say."""
    first = {key: members[0] for key, members in analysis.grouped(results).items()}
    rows, differences = [], []
    for row in analysis.by_point(recipe, analysis.table(recipe, results)):
        one = first[row.arm, row.point]
        rows.append({
            "group": one.group, "arm": row.arm, "split": one.split, "train_photos": one.train_photos,
            "values": list(row.values), "mean": row.mean, "low": row.low, "high": row.high, "method": row.method,
            "seconds": row.seconds,
        })  # fmt: skip
    seed = f"; seed {min(r.seed for r in results)}"
    gaps = analysis.by_point(recipe, analysis.differences(recipe, results))
    for gap in gaps:
        differences.append({
            "group": group_name(gap.point), "first": gap.first, "second": gap.second, "mean": gap.mean,
            "low": gap.low, "high": gap.high, "p_value": gap.p_value, "p_holm": gap.p_holm,
            "method": gap.method.removesuffix(seed), "verdict": gap.verdict,
        })  # fmt: skip
    answer = _answer(rows, gaps)
    text = analysis.comparison_text(rows, differences, answer)
    return Comparison(tuple(results), tuple(rows), tuple(differences), text, answer)


def _answer(rows: Sequence[dict[str, Any]], gaps: Sequence[DifferenceRow]) -> str:
    """About the first group: whether pretraining helps, if scratch is not the best arm; else which arm is best."""
    group, seeds = rows[0]["group"], len(rows[0]["values"])
    mine = sorted((row for row in rows if row["group"] == group), key=lambda row: -row["mean"])
    best, others, where = mine[0], mine[1:], f" at {group}" if group else ""
    correctly = f"classifies {best['mean']:.1%} of the {best['split']} photos correctly"
    if not others:
        return f"{best['arm']} {correctly}{where}."
    against = [row for row in others if row["arm"] == "scratch"]
    claim = f"Pretraining helps{where}" if against else f"{best['arm']} does best{where}"
    rivals = {row["arm"] for row in against or others}
    decisive = [
        gap for gap in gaps if group_name(gap.point) == group and {gap.first, gap.second} - rivals == {best["arm"]}
    ]
    figures = f"{correctly}, " + ", ".join(
        f"{'training from scratch' if row['arm'] == 'scratch' else row['arm']} {row['mean']:.1%}"
        for row in against or others
    )
    return analysis.sentence(
        bool(decisive) and all(gap.settled for gap in decisive), seeds, claim, best["arm"], figures
    )
