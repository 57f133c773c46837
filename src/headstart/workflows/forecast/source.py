"""The photos and the backbone of a forecast, from a dataset or from a run: train and val photos, never test photos."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.core.events import Events
from headstart.data.filenames import natural_key
from headstart.data.loading import find_photos
from headstart.data.sampling import choosable
from headstart.data.schema import Manifest
from headstart.data.sources.given import Data
from headstart.errors import OptionError, RunError
from headstart.inference.device import find_machine
from headstart.runs.figures import read_metrics, read_plan
from headstart.runs.folder import RunFolder
from headstart.runs.images import run_photos
from headstart.training.config import TrainOptions, taken_by
from headstart.training.plan import Plan, check_overrides
from headstart.training.strategies import STRATEGIES


@dataclass(frozen=True)
class Source:
    """``remarks``: caveats; ``given``: the options that were asked for."""

    options: TrainOptions
    manifest: Manifest
    remarks: tuple[str, ...]
    given: dict[str, Any]


def find_source(data: Data, options: dict[str, Any], events: Events) -> Source:
    """The photos of a folder, CSV, archive or named set, or those of a run. Raises OptionError, DataError, RunError."""
    if isinstance(data, str | os.PathLike) and (Path(data) / "request.json").is_file():
        return _of_run(Path(data), options)
    asked = TrainOptions.gather(data, None, options, "forecast", strategy="probe")
    check_overrides(asked.settings)
    find_machine(asked.device)
    manifest = find_photos(asked.data, events, options=asked.read_options)
    return Source(asked, choosable(manifest, events), _trained_before(asked.from_run), asked.given("forecast"))


def _of_run(run: Path, options: dict[str, Any]) -> Source:
    """A run's own photos, and the backbone that it began with. A backbone that the run trained was fitted to these
    photos, so a probe of its features would be too accurate on them (docs/decisions/0021).
    """
    names = [*(name for name in options if name != "settings"), *(options.get("settings") or ())]
    others = [name for name in names if name not in taken_by("forecast of a run")]
    if others:
        raise OptionError(
            f"{run} is a run, with a backbone and an input size of its own: it takes no `{others[0]}`.",
            "Leave that out, or name the photos in place of the run.", option=others[0],
        )  # fmt: skip
    _, before = RunFolder.open(run)
    if before.labels == "multi":
        problem = f"{run} predicts any number of labels; a forecast is of the accuracy of one class per photo."
        raise RunError(problem, "Forecast with photos of one class each.")
    if not STRATEGIES.get(before.strategy).pretrained:
        raise RunError(
            f"{run} was trained from scratch: it has no pretrained network to forecast with.",
            f"Forecast with a pretrained one: `hs.forecast({before.data!r})`.",
        )
    plan = read_plan(run)
    settings = {name: getattr(plan, name) for name in ("image_size", "resize", "precision")}
    own = {name: getattr(before, name) for name in ("backbone", "weights", "from_run", "cut", "mean", "std", "seed")}
    own |= {name: getattr(before, name) for name in ("ignore", "class_folders")}
    given = {name: value for name, value in options.items() if name != "settings"}
    asked = TrainOptions.gather(before.data, None, {**own, **given}, strategy="probe", settings=settings)
    photos = [
        replace(photo.photo, label=photo.label, split=None, group=photo.group)
        for photo in sorted(run_photos(run, ("train", "val")), key=lambda photo: natural_key(photo.shown))
    ]
    manifest = Manifest(Path(before.data), run.resolve().name, "photos of a run", tuple(photos))
    remarks = list(_trained_before(before.from_run))
    if _trained_backbone(plan):
        metrics = read_metrics(run)
        split = "test" if "test" in metrics else "val"
        remarks.append(
            f"{run.name} was fine-tuned ({plan.strategy}), so its own network was fitted to these photos; the "
            f"forecast is of a probe of the pretrained {before.backbone} that it began with. The run itself reached "
            f"{metrics[split]['accuracy']['value']:.3f} on its {split} photos."
        )
    return Source(asked, manifest, tuple(remarks), given)


def _trained_backbone(plan: Plan) -> bool:
    """Whether a run trained its backbone."""
    return STRATEGIES.get(plan.strategy).trains_backbone


def _trained_before(from_run: str | None) -> tuple[str, ...]:
    """A caveat where the backbone comes from a run that trained it, perhaps on some of these photos."""
    if not from_run or not (Path(from_run) / "plan.json").is_file():
        return ()
    if not _trained_backbone(read_plan(Path(from_run))):
        return ()
    return (f"{from_run} trained its backbone: where some of its photos are among these, the forecast is too good.",)
