"""``compare``: did the pretraining help? In: photos, arms (strategies), seeds, shots. Out: a table, differences with
intervals, one report.

Within a seed all arms see the same photos in the same splits, so differences are paired by seed. An interrupted
comparison goes on when the same command is given again: arms that ended are not run anew.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from headstart.core.events import Events, Listener
from headstart.core.files import write_json, write_text
from headstart.data.loading import LoadedImages, find_photos, read
from headstart.errors import Interrupted, OptionError, RunError, did_you_mean
from headstart.evaluation.statistics import (
    Difference,
    difference_over_seeds,
    paired_difference,
    t_interval,
    verdict,
    wilson,
)
from headstart.models.backbone import Backbone
from headstart.reporting.console import console_events
from headstart.training.config import ARMS as DEFAULT_ARMS
from headstart.training.config import SEEDS, Arm, CompareOptions, TrainOptions
from headstart.training.preparation import input_size, make_backbone, split
from headstart.training.strategies import STRATEGIES
from headstart.workflows.experiment.compare_result import ArmResult, Comparison
from headstart.workflows.train.assess import assess, make_context

ARMS = tuple(s for s in STRATEGIES.names() if s != "auto")


@dataclass(frozen=True)
class _Job:
    options: TrainOptions
    group: str
    arm: str
    seed: int

    @property
    def file(self) -> str:
        return f"{self.group or 'all'}-{self.arm}-{self.seed}.json".replace(" ", "-")


def compare(
    data: str | Path,
    *,
    arms: Sequence[Arm] = DEFAULT_ARMS,
    seeds: int = SEEDS,
    shots: Sequence[int] = (),
    out: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[CompareOptions],
) -> Comparison:
    """Train every arm at every number of shots with every seed, and compare them.

    Args:
        data: as for ``train``.
        arms: strategies.
        seeds: how many, from ``seed`` on; each draws splits, shots, order and random weights anew.
        shots: photos per class, several for a table of each; by default all photos.
        out: a folder for the report; by default ``runs/<data>-<backbone>-compare``.
        overwrite: replace a comparison that is there already.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: see ``headstart.training.config.CompareOptions``; they hold for all arms.

    Returns:
        A row per arm, differences with confidence intervals, and the report.

    Raises:
        OptionError: an option that is unknown or cannot be.
        DataError: photos that cannot be trained on as they are.
        RunError: the folder exists and holds something else.
    """
    boundary = options.pop("boundary", None)
    asked = TrainOptions.gather(data, None, options, "compare")
    _check(arms, seeds, shots, boundary)
    path = Path(out) if out else Path("runs") / f"{asked.run_name().removesuffix('-auto')}-compare"
    request = {
        "options": asked.to_json(),
        "arms": list(arms),
        "seeds": seeds,
        "shots": list(shots),
        "boundary": boundary,
    }
    with console_events(quiet, listener) as events:
        prepared = _shared(asked, arms, events)
        _open_folder(path, json.loads(json.dumps({**request, "photos": prepared.photos.digest})), overwrite)
        began = time.monotonic()
        jobs = _jobs(asked, arms, seeds, shots, boundary)
        try:
            results = [_run_or_recall(job, n, len(jobs), prepared, path, events) for n, job in enumerate(jobs)]
        except (KeyboardInterrupt, Interrupted):
            raise Interrupted("Stopped; arms that ended are kept.", "Give the same command again to go on.") from None
        return _conclude(asked, results, path, prepared, time.monotonic() - began, seeds)


def _check(arms: Sequence[str], seeds: int, shots: Sequence[int], boundary: str | None) -> None:
    wrong = [
        f"unknown arm {arm!r}. {did_you_mean(arm, ARMS) or 'Arms: ' + ', '.join(ARMS) + '.'}"
        for arm in arms
        if arm not in ARMS
    ]
    wrong += ["--arms names an arm twice"] if len(set(arms)) < len(arms) else []
    wrong += ["--arms is empty"] if not arms else []
    wrong += ["--boundary goes with the arm partial"] if boundary and "partial" not in arms else []
    wrong += [f"--seeds {seeds} must be at least 1"] if seeds < 1 else []
    wrong += [f"--shots {n} must be at least 1" for n in shots if n < 1]
    if wrong:
        raise OptionError("; ".join(wrong))


def _jobs(
    asked: TrainOptions, arms: Sequence[str], seeds: int, shots: Sequence[int], boundary: str | None
) -> list[_Job]:
    groups: list[tuple[int | None, str]] = [(n, f"{n} per class") for n in shots] or [(None, "")]
    return [
        _Job(
            replace(asked, shots=n, seed=asked.seed + seed, **_arm_options(asked, arm, boundary)),
            group,
            arm,
            asked.seed + seed,
        )
        for n, group in groups
        for seed in range(seeds)
        for arm in arms
    ]


def _arm_options(asked: TrainOptions, arm: str, boundary: str | None) -> dict[str, Any]:
    """What one arm changes: scratch has no weights to start from, and only partial has a boundary to choose."""
    strategy = STRATEGIES.get(arm)
    weights = {} if strategy.pretrained else {"weights": None, "from_run": None}
    return {"strategy": arm, "boundary": boundary if strategy.boundary.use == "required" else None, **weights}


@dataclass(frozen=True)
class _Shared:
    """What all arms have in common: photos read once, and the pretrained backbone (None where only scratch runs)."""

    photos: LoadedImages
    backbone: Backbone
    machine: Any


def _shared(asked: TrainOptions, arms: Sequence[str], events: Events) -> _Shared:
    from headstart.inference.device import find_machine

    manifest = find_photos(asked.data, events)
    pretrained = [arm for arm in arms if STRATEGIES.get(arm).pretrained]
    backbone = make_backbone(replace(asked, strategy=(pretrained or arms)[0]))
    size, resize = input_size(asked, manifest, backbone)
    backbone.check_image_size(size)
    photos = read(manifest, resize, backbone.preprocessing.interpolation, asked.on_bad, events)
    usable = sum(problem is None for problem in photos.pixels.problems)
    classes = len({photo.label for photo in manifest.photos})
    events.message(f"{manifest.name} ({manifest.layout}): {classes} classes, {usable} photos, at {size} px")
    return _Shared(photos, backbone, find_machine(asked.device))


def _open_folder(path: Path, request: dict[str, Any], overwrite: bool) -> None:
    file = path / "comparison-request.json"
    if os.path.exists(path) and (not path.is_dir() or any(not p.name.startswith(".") for p in path.iterdir())):
        before = _request_before(file)
        if before is None:
            raise RunError(f"--out {path} exists and is not a comparison.", "Choose another folder.")
        finished = (path / "report.html").exists()
        if (finished or before != request) and not overwrite:
            raise RunError(
                f"--out {path} exists{'' if finished else ' and belongs to another comparison'}.",
                "Use --overwrite, or choose another folder.",
            )
        if finished or before != request:
            for old in [path / "report.html", *(path / "arms").glob("*.json"), path / "comparison.json"]:
                old.unlink(missing_ok=True)
            shutil.rmtree(path / "state", ignore_errors=True)  # of an arm that was interrupted: not to be gone on with
    write_json(file, request)


def _request_before(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _run_or_recall(job: _Job, number: int, jobs: int, shared: _Shared, path: Path, events: Events) -> ArmResult:
    file = path / "arms" / job.file
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        return ArmResult(**{**kept, "right": tuple(kept["right"]), "curve": tuple(kept["curve"])})
    events.progress("arms", number, jobs)
    result = _run(job, shared, path, events)
    write_json(file, asdict(result))
    where = f"{job.group}, " if job.group else ""
    events.message(
        f"  {where}seed {job.seed}: {job.arm:9} {result.split} accuracy {result.accuracy:.3f}   {result.seconds:.1f} s"
    )
    return result


def _run(job: _Job, shared: _Shared, path: Path, events: Events) -> ArmResult:
    from headstart.training.launch import fit

    quiet = Events()  # the same notes for every arm
    pretrained = STRATEGIES.get(job.arm).pretrained
    backbone = shared.backbone if pretrained else _scratch_backbone(job.options, shared.backbone)
    prepared = split(job.options, shared.photos, backbone, shared.machine, quiet)
    state = path / "state" / job.file.removesuffix(".json")
    began = time.monotonic()
    outcome = fit(make_context(prepared, state, quiet))
    seconds = time.monotonic() - began
    _, results = assess(prepared, outcome, quiet)
    shutil.rmtree(state, ignore_errors=True)
    name = "test" if "test" in results.probabilities else "val"
    right = results.probabilities[name].argmax(1) == prepared.labels[name]  # type: ignore[index]
    curve = [row.val_accuracy for row in outcome.history] or [outcome.val[1]]
    return ArmResult(
        job.group,
        job.arm,
        job.seed,
        name,
        float(right.mean()),
        tuple(map(bool, right)),
        tuple(curve),
        round(seconds, 2),
        len(prepared.labels["train"]),
    )


def _scratch_backbone(options: TrainOptions, like: Backbone) -> Backbone:
    """Random weights, but the preprocessing of the pretrained arms: the comparison is of weights, nothing else."""
    backbone = make_backbone(replace(options, weights=None, from_run=None))
    backbone.preprocessing = like.preprocessing
    return backbone


def _conclude(
    asked: TrainOptions, results: list[ArmResult], path: Path, shared: _Shared, seconds: float, seeds: int
) -> Comparison:
    from headstart.workflows.experiment.compare_report import comparison_page, comparison_text

    rows = [_row(group, arm, members) for (group, arm), members in _grouped(results).items()]
    differences = _differences(results)
    answer = _answer(rows, differences)
    found = Comparison(
        tuple(results), tuple(rows), tuple(differences), comparison_text(rows, differences, answer), answer
    )
    page = comparison_page(asked, found, shared.photos, shared.backbone, shared.machine, seconds)
    write_json(path / "comparison.json", found.summary)
    write_text(path / "report.html", page)
    report = path / "report.html"
    return replace(found, report=report, text=f"{found.text}\n\nReport: {report}")


def _grouped(results: Sequence[ArmResult]) -> dict[tuple[str, str], list[ArmResult]]:
    groups: dict[tuple[str, str], list[ArmResult]] = {}
    for result in results:
        groups.setdefault((result.group, result.arm), []).append(result)
    return groups


def _row(group: str, arm: str, members: Sequence[ArmResult]) -> dict[str, Any]:
    values = [m.accuracy for m in members]
    interval = (
        t_interval(values, within=(0, 1)) if len(values) > 1 else wilson(sum(members[0].right), len(members[0].right))
    )
    return {
        "group": group, "arm": arm, "split": members[0].split, "train_photos": members[0].train_photos,
        "values": values, "mean": interval.value, "low": interval.low, "high": interval.high,
        "method": interval.method if len(values) > 1 else f"one run; {interval.method} over photos",
        "seconds": float(np.mean([m.seconds for m in members])),
    }  # fmt: skip


def _differences(results: Sequence[ArmResult]) -> list[dict[str, Any]]:
    grouped, found = _grouped(results), []
    groups, arms = list(dict.fromkeys(r.group for r in results)), list(dict.fromkeys(r.arm for r in results))
    pairs = [(a, b) for i, a in enumerate(arms) for b in arms[i + 1 :]]
    for group in groups:
        for first, second in pairs:
            a, b = grouped[group, first], grouped[group, second]
            gap = _gap(a, b)
            if gap.value < 0:  # name the better first
                first, second, gap = second, first, _gap(b, a)
            found.append(
                {"group": group, "first": first, "second": second, "mean": gap.value, "low": gap.low,
                 "high": gap.high, "p_value": gap.p_value, "method": gap.method, "verdict": verdict(gap)}
            )  # fmt: skip
    return found


def _gap(a: Sequence[ArmResult], b: Sequence[ArmResult]) -> Difference:
    if len(a) > 1:
        return difference_over_seeds([r.accuracy for r in a], [r.accuracy for r in b])
    return paired_difference(np.array(a[0].right), np.array(b[0].right))


def _answer(rows: Sequence[dict[str, Any]], differences: Sequence[dict[str, Any]]) -> str:
    group = rows[0]["group"]
    mine = [row for row in rows if row["group"] == group]
    best = max(mine, key=lambda row: row["mean"])
    where = f" at {group}" if group else ""
    scratch = next((row for row in mine if row["arm"] == "scratch"), None)
    if scratch is None or best is scratch:
        return f"{best['arm']} does best{where}: {best['mean']:.1%} of the {best['split']} photos named correctly."
    gap = next(d for d in differences if d["group"] == group and d["first"] == best["arm"] and d["second"] == "scratch")
    sure = "" if gap["low"] is not None and gap["low"] > 0 else ", though these runs cannot tell it from chance"
    return (
        f"Pretraining helps{where}: {best['arm']} names {best['mean']:.1%} of the {best['split']} photos correctly,"
        f" training from scratch {scratch['mean']:.1%}{sure}."
    )
