"""From a recipe to trainings, in the order in which they run, on photos that the user gives or that are downloaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headstart.data.schema import AS_FOUND, Manifest, ReadOptions
from headstart.errors import OptionError, did_you_mean
from headstart.training.config import DEFAULT_BACKBONE, TrainOptions
from headstart.training.strategies import STRATEGIES
from headstart.workflows.experiment.recipe import Arm, Recipe

FOLDER = "arms"


@dataclass(frozen=True)
class Job:
    """One training: an arm at one point with one seed. Plain values, so that it can be sent to another process.

    folder  of its run; of a comparison, the same path with ``.json`` holds its figures
    source  the folder of the job that must have ended before, if any
    like    options whose network gives input size and preprocessing; None: the job's own
    """

    arm: Arm
    point: str
    seed: int
    options: TrainOptions
    folder: Path
    source: Path | None = None
    like: TrainOptions | None = None

    @property
    def label(self) -> str:
        return f"{self.arm.name}{f' at {self.point}' if self.point else ''}, seed {self.seed}"


@dataclass(frozen=True)
class Experiment:
    """What all jobs share besides their options. Plain values: it can be sent to another process.

    places  image set to folder, file or named dataset
    keep    what each job leaves: "runs", an ordinary run folder; "figures", one small JSON file
    on_bad  what to do with unreadable files: "skip" or "fail"
    reading which files are photos of which class
    """

    recipe: Recipe
    places: Mapping[str, str]
    keep: Literal["runs", "figures"] = "runs"
    on_bad: str = "skip"
    reading: ReadOptions = AS_FOUND


def make_jobs(
    recipe: Recipe, places: Mapping[str, str], weights: Mapping[str, str], out: Path, device: str = "auto"
) -> list[Job]:
    """Every training of a study: all arms with the first seed, then all with the next, sources before those that
    start from them.

    Raises:
        OptionError: weights that no arm uses, or two arms that would share a folder.
    """

    def folder(arm: str, point: str, seed: int) -> Path:
        """``OUT/arms/probe-10-0``: arm, point, seed."""
        return out / FOLDER / "-".join(filter(None, (arm, re.sub(r"[^\w.-]+", "-", point), str(seed))))

    def job(arm: Arm, point: str, options: Mapping[str, object], seed: int) -> Job:
        first, source = arm, folder(arm.source, "", seed) if arm.source else None
        while first.source:  # an arm has the backbone of the one that it starts from, whatever is set for every arm
            first = recipe.arm(first.source)
        backbone = str(first.options.get("backbone", DEFAULT_BACKBONE))
        # A study tests on the splits that others tested on, shared photos and all, unless its recipe says otherwise.
        asked = {**options, "backbone": backbone, "seed": seed, "device": device}
        if "leakage" not in options:
            asked["allow_leakage"] = True  # by its old name, which finished trainings of older studies have
        if source:
            asked["from_run"] = str(source)
        elif _pretrained(asked):
            asked["weights"] = weights.get(backbone, weights.get(""))
        gathered = TrainOptions.gather(places[arm.images], None, asked)
        return Job(arm, point, seed, gathered, folder(arm.name, point, seed), source)

    _check_weights(recipe, weights)
    arms = [(seed, arm) for seed in range(recipe.seeds) for arm in recipe.arms if seed < arm.seeds]
    jobs = [job(arm, point, options, seed) for seed, arm in arms for point, options in arm.points()]
    taken: dict[str, Job] = {}
    for each in jobs:  # the arm "few-1" and the arm "few" at 1 would have the same folder
        other = taken.setdefault(each.folder.name.casefold(), each)
        if other is not each:
            one, two = (j.arm.name + (f" at {j.point}" if j.point else "") for j in (each, other))
            raise OptionError(
                f"The arm {one} and {two} would share the folder {each.folder}.", "Rename one of the two."
            )
    return jobs


def _pretrained(options: Mapping[str, object]) -> bool:
    return STRATEGIES.get(str(options.get("strategy", "auto"))).pretrained


def _check_weights(recipe: Recipe, weights: Mapping[str, str]) -> None:
    """Weights must be of a backbone that some arm starts from; without a name (``""``) there must be only one."""
    pretrained = [arm for arm in recipe.arms if not arm.source and _pretrained(arm.options)]
    backbones = list(dict.fromkeys(str(arm.options.get("backbone", DEFAULT_BACKBONE)) for arm in pretrained))
    for name, file in weights.items():
        given = f"`weights={ {name: file} }`" if name else f"`weights={file!r}`"
        problem = hint = ""
        if not backbones:
            problem, hint = f"no arm of {recipe.name} starts from pretrained weights.", "Leave it out."
        elif name and name not in backbones:
            problem = f"no arm uses {name}."
            hint = did_you_mean(name, backbones) or f"Backbones of {recipe.name}: {', '.join(backbones)}."
        elif not name and len(backbones) > 1:
            problem, hint = "of which backbone?", f"Write `weights={ {backbones[0]: file} }`."
        elif not Path(file).is_file():
            problem, hint = f"{file} is no file.", "Leave it out to download the published weights."
        if problem:
            raise OptionError(f"{given}: {problem}", hint, option="weights")


def assign_paths(recipe: Recipe, given: Mapping[str, str]) -> dict[str, str]:
    """Image set to folder, file or named dataset. ``given`` is the user's mapping; the name "" is the only set of the
    recipe.

    Raises:
        OptionError: a name that the recipe does not have, or a set that is neither given nor can be fetched.
    """
    used = list(dict.fromkeys(arm.images for arm in recipe.arms))
    places = {used[0] if not name and len(used) == 1 else name: path for name, path in given.items()}
    wrong = []
    for name, path in places.items():
        if name not in recipe.images:
            example = f"Image sets of {recipe.name}: {', '.join(recipe.images)} (`data={ {used[0]: path} }`)."
            hint = did_you_mean(name, recipe.images) or example
            given_as = f"`data={ {name: path} }`" if name else f"`data={path!r}`"
            wrong.append(f"{given_as}: {'no image set has that name' if name else 'which set?'} {hint}")
    for name in used:
        images = recipe.images[name]
        if name not in places and images.home is None:
            wrong.append(f"{recipe.name} needs photos of yours: `data={ {name: 'FOLDER'} }`. {images.words}".strip())
        if name not in places and "://" in (images.home or ""):
            wrong.append(f"{recipe.name} names an address, {images.home}: a recipe fetches named sets only")
        places.setdefault(name, images.home or "")
    if wrong:
        raise OptionError("; ".join(wrong), option="data")
    return {name: places[name] for name in used}


def work(job: Job, manifest: Manifest) -> float:
    """The approximate cost of a job in forward passes of one photo of 100 px, to weigh estimates of time.

    A training step costs about three forward passes, a probe one pass in all.
    """
    options, settings = job.options, job.options.settings
    tested = sum(photo.split == "test" for photo in manifest.photos)
    train = len(manifest.photos) - tested
    if options.shots:
        train = min(train, options.shots * len({photo.label for photo in manifest.photos}))
    train = round(train * (options.fraction or 1.0))
    trained = options.strategy == "auto" or STRATEGIES.get(options.strategy).trains_backbone
    passes = 3 * int(settings.get("epochs", 10)) * train if trained else train
    depth = {"resnet50": 2.2, "resnet101": 4.0, "resnet152": 6.0}.get(options.backbone, 1.0)
    return max(1.0, (int(settings.get("image_size", 160)) / 100) ** 2 * depth * (passes + tested))
