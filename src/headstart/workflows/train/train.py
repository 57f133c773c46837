"""``train``: photos to a run folder with classifier, plan, history, metrics and report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from headstart.core.arguments import Device, Module, typed
from headstart.core.events import Events, Listener
from headstart.core.paths import Place, lasting
from headstart.core.world import ALONE, here, joined
from headstart.data.images import ChangedPhoto
from headstart.data.sources.columns import StoredPhotos
from headstart.data.sources.given import Data, is_given, keep
from headstart.data.split_table import write_splits
from headstart.errors import Interrupted, OptionError, RunError
from headstart.inference.classifier import Classifier
from headstart.reporting.console import console_events
from headstart.runs.figures import read_metrics, read_plan
from headstart.runs.folder import RunFolder, record
from headstart.training.arithmetic import as_begun
from headstart.training.callbacks import AnyCallback
from headstart.training.config import TrainOptions, TrainOptionsDict
from headstart.training.launch import fit
from headstart.training.loggers import Tracker
from headstart.training.own_loss import Loss
from headstart.training.own_transform import Transform
from headstart.training.parts import OWN_AUGMENT, Parts, StrategyObject
from headstart.training.plan import Plan
from headstart.training.planning import plan_rows
from headstart.training.preparation import Prepared
from headstart.training.strategies import STRATEGIES
from headstart.workflows.train.assess import assess, fit_uncertainty, make_classifier, make_context
from headstart.workflows.train.choose_backbone import with_backbone
from headstart.workflows.train.devices import run_on, to_start
from headstart.workflows.train.files import write_files
from headstart.workflows.train.folds import strengths
from headstart.workflows.train.processes import check_alone, prepare_together, take_part
from headstart.workflows.train.result import Run

_PLACES = ("data", "weights", "from_run")
GIVEN = "photos"
"""The folder in a run that keeps photos which were in memory."""


@typed
def train(
    data: Data,
    *,
    out: Place | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    listener: Listener | None = None,
    transform: Transform | None = None,
    loss: Loss | None = None,
    callbacks: Sequence[AnyCallback] = (),
    devices: int | None = None,
    **options: Unpack[TrainOptionsDict],
) -> Run:
    """Train a classifier on labelled photos.

    Args:
        data: a folder, CSV, archive or named dataset (``"cifar10"``); or photos in memory: ``(images, labels)``, a
            DataFrame, a Hugging Face ``Dataset`` (see docs/guides/python.md).
        out: the run folder; by default ``runs/<data>-<backbone>-<strategy>``, with a number where that exists.
        overwrite: replace a run that is there already.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        transform: your own augmentation instead of ``augment``: called with each training photo in each epoch, a PIL
            image; returns one, or an array or a tensor of uint8, of which the centre is taken.
        loss: your own loss for strategies with gradient steps: called with logits [B, C] and targets [B], returns their
            mean loss.
        callbacks: called after each step or epoch; see ``headstart.training.callbacks.Callback``.
        devices: so many processes of this machine share the training, each with its GPU or its part of the CPU. Those
            that torchrun, SLURM or Kubernetes started are recognised without it; there, process 0 returns the run, and
            the others end here.
        **options: see ``headstart.training.config.TrainOptionsDict``: strategy, backbone, shots, seed, …, and the
            settings of the plan (``epochs=5``). ``backbone`` also takes an ``nn.Module``, ``strategy`` an object.

    Returns:
        The run: its folder, metrics, plan and classifier.

    Raises:
        OptionError: unknown or invalid options, all of them at once.
        DataError: photos that cannot be trained on as they are.
        WeightsError: pretrained weights that are missing or do not fit.
        RunError: the folder exists.
        TrainingError: a loss that is not finite, or too little memory.
    """
    parts, named = Parts.of(options, transform, loss, callbacks)
    in_memory = not isinstance(data, str | os.PathLike)
    with parts.known():
        if count := to_start(devices):
            check_alone(parts, in_memory)
            asked = TrainOptions.gather(data, out, named)
            request = {"data": asked.data, "overwrite": overwrite, "options": asked.given()}
            return _on(count, request, asked.device, quiet, listener)

        def work() -> Run:
            if here() is not ALONE:
                check_alone(parts, in_memory)
            return _begin(TrainOptions.gather(data, out, named), parts, overwrite, quiet, listener)

        return _shared(work, devices)


def _on(count: int, request: dict[str, Any], device: Device, quiet: bool, listener: Listener | None) -> Run:
    """The run that so many processes of this machine make."""
    with console_events(quiet, listener) as events:
        path = run_on(count, request, events)
    return open_run(path, device)


def _shared(work: Callable[[], Run], devices: int | None) -> Run:
    """What ``work`` returns in rank 0, where it writes the run; other processes take part in its fit, and end."""
    with joined(devices) as world:
        if world.first:
            run = work()
        else:
            take_part(world)
        world.tell()  # all stay until rank 0 has evaluated and written
    if not world.first:
        raise SystemExit(0)
    return run


def _begin(asked: TrainOptions, parts: Parts, overwrite: bool, quiet: bool, listener: Listener | None) -> Run:
    usual = Path("runs") / asked.run_name()
    path = Path(asked.out) if asked.out else usual if overwrite else RunFolder.unused(usual)
    RunFolder(path).refuse(overwrite)
    with console_events(quiet, listener) as events:
        if not asked.out and path != usual:
            _tell_of_earlier(usual, path, events)
        asked = with_backbone(asked, events)
        prepared = prepare_together(
            asked, events, parts, here()
        )  # before the folder is made: a mistake leaves nothing behind
        _refuse_to_delete(prepared, path)
        # With absolute paths: the run may be resumed from another folder.
        typed: dict[str, Any] = {name: place for name in _PLACES if (place := getattr(asked, name))}
        held: dict[str, Any] = {name: lasting(place) for name, place in typed.items()}
        if is_given(asked.data):  # they last as long as the run
            held["data"] = typed["data"] = os.path.abspath(path / GIVEN / Path(asked.data).name)
            prepared = replace(prepared, options=replace(asked, data=held["data"]))
        folder = RunFolder.create(path, replace(asked, **held), overwrite, parts=parts.told)
        if is_given(asked.data):
            keep(asked.data, path / GIVEN, record)
        folder.remember("places", typed)
        return train_prepared(folder, prepared, events)


def _tell_of_earlier(usual: Path, path: Path, events: Events) -> None:
    """Say why the default folder has a number, and what of an earlier training goes on."""
    events.message(f"{usual} exists: this run is {path}.")
    earlier = RunFolder(usual)
    if earlier.state.is_dir() and not earlier.finished:
        events.warning(f"The training of {usual} did not end: `hs.resume({str(usual)!r})` continues it.")


def _refuse_to_delete(prepared: Prepared, path: Path) -> None:
    """Raise OptionError where some photos lie in the run that they are to replace."""
    inside = os.path.join(os.path.realpath(path), "")
    manifest = prepared.photos.manifest
    places = (
        (manifest.root,) if isinstance(manifest.photos, StoredPhotos) else (photo.path for photo in manifest.photos)
    )
    if any(os.path.join(os.path.realpath(place), "").startswith(inside) for place in places):
        problem = f"Some of the photos are in {path}, which would be replaced."
        raise OptionError(problem, "Choose another folder with `out`.", option="out")


_BEFORE = {"balance": "none", "stages": "last", "average": "none"}
"""Of settings that were added, what was done before."""


_CHANGED_RULES = ("epochs", "lr", "lr_backbone", "augment")
"""Settings whose rules have changed since 0.1.0."""


def as_begun_with(folder: RunFolder, options: TrainOptions) -> TrainOptions:
    """The options of a training that another version may have begun: it goes on as that would, whatever settings it
    knew and by what rules it chose them.
    """
    if not isinstance(begun := folder.recall("plan"), dict):
        return options
    older = {name: value for name, value in _BEFORE.items() if name not in begun}
    if not STRATEGIES.get(options.strategy).has_parts:
        open_ones = [name for name in _CHANGED_RULES if name in begun and name not in options.settings]
        older |= {name: begun[name] for name in open_ones if begun[name] != OWN_AUGMENT}
    return replace(options, settings={**options.settings, **older})


@typed
def resume(
    run: Place,
    *,
    quiet: bool = False,
    listener: Listener | None = None,
    backbone: Module | None = None,
    strategy: StrategyObject | None = None,
    transform: Transform | None = None,
    loss: Loss | None = None,
    callbacks: Sequence[AnyCallback] = (),
    devices: int | None = None,
) -> Run:
    """Resume an interrupted training; a finished one is returned as it is.

    Args:
        run: the run folder.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        backbone: the ``nn.Module`` that the training began with, with the weights that it had, if it did with one.
        strategy: the strategy, likewise; and so with the others: no file holds objects of your own.
        transform: as for ``train``.
        loss: as for ``train``.
        callbacks: as for ``train``.
        devices: as for ``train``; it need not be the number that the training began with.

    Returns:
        The run, with the weights that it would have without the interruption (where as many processes go on as began
        it; else but for rounding).

    Raises:
        RunError: no run there, or its photos, its plan or parts of your own have changed.
    """
    given = {"backbone": backbone, "strategy": strategy}
    parts, _ = Parts.of({name: part for name, part in given.items() if part is not None}, transform, loss, callbacks)
    if count := to_start(devices):
        check_alone(parts, in_memory=False)
        folder, options = RunFolder.open(Path(run))
        parts.check_resumed(os.fspath(run), folder.parts)
        return _on(count, {"run": os.fspath(run)}, options.device, quiet, listener)

    def work() -> Run:
        if here() is not ALONE:
            check_alone(parts, in_memory=False)
        parts.check_resumed(os.fspath(run), RunFolder(Path(run)).parts)
        return _go_on(*RunFolder.open(Path(run)), parts, quiet, listener)

    with parts.known():
        return _shared(work, devices)


def _go_on(folder: RunFolder, options: TrainOptions, parts: Parts, quiet: bool, listener: Listener | None) -> Run:
    if folder.finished:
        here().tell()
        return open_run(folder.path, network=parts.network)
    options = as_begun_with(folder, options)
    with console_events(quiet, listener) as events:
        prepared = prepare_together(options, events, parts, here())
        prepared = unchanged(folder, prepared)
        # As they were typed, which is how the model and its report name them.
        kept = folder.recall("places")
        typed: dict[str, Any] = {k: v for k, v in kept.items() if isinstance(v, str)} if isinstance(kept, dict) else {}
        known = {name: typed[name] for name in _PLACES if name in typed}
        prepared = replace(prepared, options=replace(options, **known))
        return train_prepared(folder, prepared, events, folder.deliberate_bugs)


def unchanged(folder: RunFolder, prepared: Prepared) -> Prepared:
    """The training with the reasons that its plan began with. Only the same photos under the same plan can end with the
    same weights: RunError for others.
    """
    data, plan = folder.recall("data"), folder.recall("plan")
    if data is not None and data != prepared.dataset.digest:
        problem = f"The photos in {prepared.options.data} are not those that {folder.path} began with."
        raise RunError(problem, "Train with `overwrite=True`.")
    weights = folder.recall("weights")
    if weights is not None and prepared.parts.network is not None and weights != prepared.backbone.weights_digest:
        problem = f"The weights of `backbone` are not those that {folder.path} began with."
        raise RunError(problem, "Give the module as it was before the training, or train with `overwrite=True`.")
    before = None if plan is None else Plan.from_json(plan, folder.state / "plan.json")
    if before is not None and (changes := before.differences(prepared.plan)):
        raise RunError(
            f"{folder.path} cannot be resumed here: the plan would change ({', '.join(changes)}).",
            "Resume it on the machine and with the headstart that began it, or train with `overwrite=True`.",
        )
    if before is None:
        return prepared
    return replace(prepared, plan=replace(prepared.plan, reasons=prepared.plan.reasons | before.reasons))


@typed
def open_run(run: Place, device: Device = "auto", network: Module | None = None) -> Run:
    """Open a finished run.

    Args:
        run: the run folder.
        device: where its classifier is to run: "auto", "cpu", "cuda", "cuda:1" or "mps".
        network: of a run whose backbone was a module of your own, such a module, whatever its weights.

    Returns:
        The run: its folder, metrics, plan and classifier.

    Raises:
        RunError: no finished run there.
    """
    folder = RunFolder(Path(run))
    classifier = Classifier.load(folder.path, device, network)
    metrics = read_metrics(folder.path)
    metrics.pop("format", None)
    return Run(folder.path, metrics, read_plan(folder.path), classifier)


def train_prepared(folder: RunFolder, prepared: Prepared, events: Events, deliberate_bugs: Sequence[str] = ()) -> Run:
    """Train in a new or resumed run folder. ``deliberate_bugs``: made by a study alone.

    Raises:
        TrainingError, Interrupted, ChangedPhoto: the training can be resumed.
        RunError: its folder is gone.
    """
    go_on = f"`hs.resume({os.fspath(folder.path)!r})`"
    try:
        with as_begun(folder.state, prepared.machine, events):
            return _train(folder, prepared, events, deliberate_bugs)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"Stopped; nothing in {folder.path} is lost.", f"Go on with {go_on}.") from None
    except ChangedPhoto as error:
        hint = f"Put it back as it was, and go on with {go_on}; or train again with `overwrite=True`."
        raise ChangedPhoto(error.problem, hint) from error


def _train(folder: RunFolder, prepared: Prepared, events: Events, deliberate_bugs: Sequence[str]) -> Run:
    began = time.monotonic()
    folder.remember("data", prepared.dataset.digest)
    folder.remember("plan", prepared.plan.to_json())
    if prepared.parts.network is not None:
        folder.remember("weights", prepared.backbone.weights_digest)
    write_splits(prepared.dataset, folder.path / "splits.csv")
    events.table("Plan", ("setting", "value", "why"), plan_rows(prepared.plan))
    log = prepared.options.log
    tracker = Tracker(log, folder.path, prepared.plan.to_json()) if log else None
    listened = Events(*events.listeners, tracker.listen) if tracker else events
    context = make_context(prepared, folder.state, listened, folder)
    fitted = fit(replace(context, deliberate_bugs=tuple(here().tell(list(deliberate_bugs)))))
    if tracker:
        tracker.strengths(strengths(fitted))
        tracker.close()
    trained = time.monotonic() - began
    if here().first and not (folder.path / "request.json").exists():  # what is written now would be no run
        raise RunError(f"{folder.path} was deleted or renamed while it was trained.", "Train again.")
    fitted, results = assess(prepared, fitted, events)
    results.seconds["training"] = trained
    classifier = make_classifier(prepared, fitted, fit_uncertainty(prepared, fitted, results, events))
    return Run(folder.path, write_files(folder, prepared, fitted, results, classifier, events), fitted.plan, classifier)
