"""Whose photos, and which backbone. In: DATA or RUN, options. Out: ``Source``: what a survey is to be made of.

LoadedImages are those to learn from, val among them; the test photos of data that brings some, or of a run, are left alone.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.core.events import Events
from headstart.data.filenames import natural_key
from headstart.data.loading import find_photos
from headstart.data.schema import Manifest
from headstart.data.sources.detect import check_labels
from headstart.errors import OptionError, RunError
from headstart.runs.folder import RunFolder
from headstart.runs.images import run_photos
from headstart.training.config import TrainOptions
from headstart.training.plan import Plan
from headstart.training.strategies import STRATEGIES

NO_USE = ("val", "test", "shots", "fraction", "head", "dropout", "strategy", "boundary", "log")
"""Options of ``train`` that mean nothing here: a forecast draws its own splits, and always fits a linear probe."""
OF_ANY_RUN = ("seed", "device", "on_bad")


@dataclass(frozen=True)
class Source:
    """``remarks``: what a careful reader should know of it; ``command``: the command line so far."""

    options: TrainOptions
    manifest: Manifest
    remarks: tuple[str, ...]
    command: str


def find_source(data: str | Path, options: dict[str, Any], events: Events) -> Source:
    """The photos of a folder, CSV, archive or named set, or those of a run.

    Raises:
        OptionError: an option that has no use here. DataError, RunError: see their messages.
    """
    useless = [name for name in options if name in NO_USE]
    if useless:
        raise OptionError(f"forecast has no option {useless[0]!r}.", "It draws its own splits and fits a linear probe.")
    if (Path(data) / "request.json").is_file():
        return _of_run(Path(data), options)
    asked = TrainOptions.gather(data, None, {**options, "strategy": "probe"})
    manifest = find_photos(asked.data, events)
    check_labels(manifest.photos, manifest.name)
    kept = tuple(photo for photo in manifest.photos if photo.split != "test")
    if len(kept) < len(manifest.photos):
        events.message(f"{manifest.name}: its {len(manifest.photos) - len(kept)} test photos are left alone")
    command = replace(asked, strategy="auto").command().replace("headstart train", "headstart forecast", 1)
    return Source(asked, replace(manifest, photos=kept), _trained_before(asked.from_run), command)


def _of_run(run: Path, options: dict[str, Any]) -> Source:
    """A run's own photos, and the backbone that it began with.

    Not the one that it ended with, where that was trained: it has learned these very photos, so a probe of its features
    is right about them as it never is about new ones (docs/decisions/0021).
    """
    _refuse_strangers(run, options)
    folder, before = RunFolder.open(run)
    if not STRATEGIES.get(before.strategy).pretrained:
        raise RunError(
            f"{run} was trained from scratch: its network has learned these very photos, and there is no other to "
            "forecast with.",
            f"Forecast a pretrained one: headstart forecast {shlex.quote(before.data)}",
        )
    plan = folder.read_json("plan.json")
    settings = {name: plan[name] for name in ("image_size", "resize", "precision")}
    own = {name: getattr(before, name) for name in ("backbone", "weights", "from_run", "cut", "mean", "std", "seed")}
    given = {name: options[name] for name in OF_ANY_RUN if name in options}
    asked = TrainOptions.gather(before.data, None, {**own, **given, "strategy": "probe", "settings": settings})
    photos = [
        replace(photo.photo, label=photo.label, split=None, group=photo.group)
        for photo in sorted(run_photos(run, ("train", "val")), key=lambda photo: natural_key(photo.shown))
    ]
    manifest = Manifest(Path(before.data), run.resolve().name, "photos of a run", tuple(photos))
    command = shlex.join(
        ["headstart", "forecast", str(run), *(w for n, v in given.items() for w in (_flag(n), str(v)))]
    )
    return Source(
        asked, manifest, (*_fine_tuned(run, folder, plan, before), *_trained_before(before.from_run)), command
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _refuse_strangers(run: Path, options: dict[str, Any]) -> None:
    given = [*(name for name in options if name not in (*OF_ANY_RUN, "settings")), *(options.get("settings") or ())]
    if given:
        raise OptionError(
            f"{run} is a run, with a backbone and an input size of its own: it takes no {_flag(given[0])}.",
            "Leave that out, or name the photos in place of the run.",
        )


def _fine_tuned(run: Path, folder: RunFolder, plan: dict[str, Any], before: TrainOptions) -> tuple[str, ...]:
    if not _trained_backbone(plan):
        return ()
    metrics = folder.read_json("metrics.json")
    split = "test" if "test" in metrics else "val"
    return (
        f"{run.name} was fine-tuned ({plan['strategy']}), so its own network has learned these photos; what is "
        f"forecast is a probe of the pretrained {before.backbone} that it began with. The run itself reached "
        f"{metrics[split]['accuracy']['value']:.3f} on its {split} photos.",
    )


def _trained_backbone(plan: dict[str, Any]) -> bool:
    """Whether a run's backbone has learned from the photos that it was trained on."""
    return STRATEGIES.get(Plan.from_json(plan).strategy).trains_backbone


def _trained_before(from_run: str | None) -> tuple[str, ...]:
    """A remark where the backbone comes from a run that trained it, perhaps on some of these photos."""
    if not from_run or not (Path(from_run) / "plan.json").is_file():
        return ()
    if not _trained_backbone(RunFolder(Path(from_run)).read_json("plan.json")):
        return ()
    return (
        f"The backbone of {from_run} learned from the photos of that run: where some of them are among these, the "
        "forecast is too good.",
    )
