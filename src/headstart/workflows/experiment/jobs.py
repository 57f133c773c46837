"""From a recipe to trainings. In: recipe, image sets, weights. Out: ``Job``s in the order in which they run, and how
much work each is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headstart.errors import OptionError, did_you_mean
from headstart.training.config import DEFAULT_BACKBONE, TrainOptions
from headstart.training.strategies import STRATEGIES
from headstart.workflows.experiment.recipe import Arm, Recipe

ARMS = "arms"


@dataclass(frozen=True)
class Job:
    """One training: an arm at one point with one seed. ``folder``: where its run lies."""

    arm: Arm
    point: str
    seed: int
    options: TrainOptions
    folder: Path

    @property
    def label(self) -> str:
        return f"{self.arm.name}{f' at {self.point}' if self.point else ''}, seed {self.seed}"


def make_jobs(
    recipe: Recipe, places: Mapping[str, str], weights: Mapping[str, str], out: Path, device: str = "auto"
) -> list[Job]:
    """Every training of the study: all arms with the first seed, then all with the next, sources before those that
    start from them. Raises OptionError.
    """
    _check_weights(recipe, weights)
    jobs = [
        _job(arm, point, {**options, **_backbone(recipe, arm)}, seed, places, weights, out, device)
        for seed in range(recipe.seeds)
        for arm in recipe.arms
        if seed < arm.seeds
        for point, options in arm.points()
    ]
    _refuse_shared_folders(jobs)
    return jobs


def _refuse_shared_folders(jobs: list[Job]) -> None:
    """An arm ``few-1`` and the arm ``few`` at 1 would lie in one folder, and the first be taken for the second."""
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(job.folder.name.casefold(), job)
        if other is not job:
            one, two = (j.arm.name + (f" at {j.point}" if j.point else "") for j in (job, other))
            raise OptionError(f"The arm {one} and {two} would share the folder {job.folder}.", "Rename one of the two.")


def _backbone(recipe: Recipe, arm: Arm) -> dict[str, object]:
    """An arm that starts from another has its backbone, whatever is set for every arm."""
    while arm.source:
        arm = recipe.arm(arm.source)
    return {"backbone": arm.options.get("backbone", DEFAULT_BACKBONE)}


def _job(
    arm: Arm, point: str, options: Mapping[str, object], seed: int, places: Mapping[str, str],
    weights: Mapping[str, str], out: Path, device: str,
) -> Job:  # fmt: skip
    asked = dict(options)
    if arm.source:
        asked["from_run"] = str(job_folder(out, arm.source, "", seed))
    elif _pretrained(asked):
        backbone = str(asked.get("backbone", DEFAULT_BACKBONE))
        asked["weights"] = weights.get(backbone, weights.get(""))
    # A study measures on the splits that others measured on, shared pictures and all.
    asked |= {"seed": seed, "device": device, "allow_leakage": True}
    gathered = TrainOptions.gather(places[arm.images], None, asked)
    return Job(arm, point, seed, gathered, job_folder(out, arm.name, point, seed))


def _pretrained(options: Mapping[str, object]) -> bool:
    return STRATEGIES.get(str(options.get("strategy", "auto"))).pretrained


def job_folder(out: Path, arm: str, point: str, seed: int) -> Path:
    """``OUT/arms/probe-10-0``: arm, point, seed."""
    words = [arm, re.sub(r"[^\w.-]+", "-", point), str(seed)]
    return out / ARMS / "-".join(word for word in words if word)


def _check_weights(recipe: Recipe, weights: Mapping[str, str]) -> None:
    """``--weights NAME=FILE`` must name a backbone that some arm starts from; without a name there must be only one."""
    pretrained = [arm for arm in recipe.arms if not arm.source and _pretrained(arm.options)]
    backbones = list(dict.fromkeys(str(arm.options.get("backbone", DEFAULT_BACKBONE)) for arm in pretrained))
    for name, file in weights.items():
        if not backbones:
            raise OptionError(f"--weights {file}: no arm of {recipe.name} starts from such.", "Leave it out.")
        if name and name not in backbones:
            hint = did_you_mean(name, backbones) or f"Backbones of {recipe.name}: {', '.join(backbones)}."
            raise OptionError(f"--weights {name}={file}: no arm uses {name}.", hint)
        if not name and len(backbones) > 1:
            raise OptionError(f"--weights {file}: of which backbone?", f"Write --weights {backbones[0]}={file}.")
        if not Path(file).is_file():
            raise OptionError(f"--weights {file} is no file.", "Leave it out to download the published weights.")


def work(job: Job, photos: int, judged: int, size: int, epochs: int) -> float:
    """Roughly how much computing a job is, in forward passes of one photo of 100 px: what estimates are weighed by.

    A training step costs about three forward passes. ``photos`` train, ``judged`` are read besides.
    """
    area = (size / 100) ** 2
    depth = {"resnet50": 2.2, "resnet101": 4.0, "resnet152": 6.0}.get(job.options.backbone, 1.0)
    trained = job.options.strategy == "auto" or STRATEGIES.get(job.options.strategy).trains_backbone
    passes = 3 * epochs * photos if trained else photos
    return max(1.0, area * depth * (passes + judged))


class Estimate:
    """How long the rest of a study takes, from the work and the seconds so far; an arm that ran before (with another
    seed) tells best itself.
    """

    def __init__(self, works: Mapping[Path, float], jobs: list[Job]) -> None:
        self._works, self._left = dict(works), {job.folder: job for job in jobs}
        self._seconds: dict[tuple[str, str], list[float]] = {}
        self._done_work = self._done_seconds = 0.0

    def finished(self, job: Job, seconds: float | None) -> None:
        """A job is over; ``seconds`` is None where an earlier call had done it (nothing is learned then)."""
        self._left.pop(job.folder, None)
        if seconds is not None:
            self._seconds.setdefault((job.arm.name, job.point), []).append(seconds)
            self._done_work += self._works[job.folder]
            self._done_seconds += seconds

    def left(self, running: Job | None = None, part: float = 0.0, elapsed: float = 0.0) -> float | None:
        """Seconds until the end, None while nothing is known. ``part`` of ``running`` is done, in ``elapsed``."""
        done, seconds = self._done_work, self._done_seconds
        if running is not None and part > 0:
            done, seconds = done + part * self._works[running.folder], seconds + elapsed
        if not done:
            return None
        total = 0.0
        for folder, job in self._left.items():
            known = self._seconds.get((job.arm.name, job.point))
            whole = sum(known) / len(known) if known else self._works[folder] * seconds / done
            if running is not None and folder == running.folder and part > 0:
                whole = elapsed / part
                total += whole - elapsed
            else:
                total += whole
        return total


def in_words(seconds: float | None) -> str:
    """ "about 25 min left", or nothing where it is not known."""
    if seconds is None:
        return ""
    minutes = seconds / 60
    if minutes < 1:
        return "less than a minute left"
    if minutes < 90:
        return f"about {math.ceil(minutes)} min left"
    return f"about {minutes / 60:.1f} h left"
