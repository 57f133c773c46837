"""Runs single jobs, with what they share: decoded photos and the pretrained network."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from headstart.core.events import Event, Events, Warned
from headstart.core.files import write_json
from headstart.core.paths import lasting
from headstart.data.schema import Manifest, Split, SplitDataset
from headstart.data.stratify import places, quotas, shuffled
from headstart.errors import DataError, RunError
from headstart.inference.model_files import read_description
from headstart.runs.folder import RunFolder
from headstart.training.strategies import STRATEGIES
from headstart.workflows.experiment.jobs import Experiment, Job
from headstart.workflows.experiment.recipe import Images
from headstart.workflows.experiment.results import (
    FIGURES,
    FORMAT,
    JobResult,
    figures_file,
    from_figures,
    photo_numbers,
    read_figures,
    read_run,
)

if TYPE_CHECKING:
    from headstart.data.loading import LoadedImages
    from headstart.models.backbone import Backbone
    from headstart.training.config import TrainOptions
    from headstart.training.preparation import Prepared


@dataclass(frozen=True)
class Finished:
    """A job that has ended; ``seconds`` is None where an earlier call had run it."""

    result: JobResult
    seconds: float | None
    warnings: tuple[str, ...] = ()


class Library:
    """The photos of an experiment, found and decoded once: by image set, and by image set and size."""

    def __init__(self, experiment: Experiment, events: Events) -> None:
        self.experiment, self.events = experiment, events
        self._manifests: dict[str, Manifest] = {}
        self._photos: dict[tuple[str, int, str], LoadedImages] = {}

    def manifest(self, name: str) -> Manifest:
        """The photos of an image set as the recipe wants them split. Raises DataError, DownloadError."""
        from headstart.data.loading import find_photos

        if name not in self._manifests:
            found = find_photos(self.experiment.places[name], self.events, options=self.experiment.reading)
            self._manifests[name] = as_wanted(found, self.experiment.recipe.images[name])
        return self._manifests[name]

    def any_size(self, name: str) -> LoadedImages | None:
        """The set's photos at a size that was read before, if one was."""
        return next((photos for key, photos in self._photos.items() if key[0] == name), None)

    def photos(self, name: str, resize: int, interpolation: str) -> LoadedImages:
        """The set's photos at a size, read once. Raises DataError."""
        from headstart.data.loading import read

        key = (name, resize, interpolation)
        if key not in self._photos:
            self._photos[key] = read(self.manifest(name), resize, interpolation, self.experiment.on_bad, self.events)
        return self._photos[key]


def as_wanted(manifest: Manifest, images: Images) -> Manifest:
    """The manifest with the split that is used as the test set named test, and at most ``images.test_photos`` in it:
    always the same ones, of each class in proportion, but at least one. Raises DataError.
    """
    if images.judge_on == "val":
        if any(photo.split == "test" for photo in manifest.photos):
            raise DataError(f"{manifest.name} has a test split: judge_on: val would leave it unused.", "Take it out.")
        photos = tuple(replace(p, split="test") if p.split == "val" else p for p in manifest.photos)
        manifest = replace(manifest, photos=photos)
    by_label = places(photo.label if photo.split == "test" else None for photo in manifest.photos)
    if images.test_photos is None or sum(map(len, by_label.values())) <= images.test_photos:
        return manifest
    kept: set[int] = set()
    shares = quotas(images.test_photos, [len(members) for members in by_label.values()])
    for (label, members), share in zip(by_label.items(), shares, strict=True):
        kept.update(shuffled(members, 0, label)[: max(1, share)])
    return replace(manifest, photos=tuple(p for i, p in enumerate(manifest.photos) if p.split != "test" or i in kept))


class Worker:
    """Runs the jobs of one process; called with one, it returns when that has ended.

    Decoded photos and the last network stay for the next job. They are not pickled: a worker is unpickled as the silent
    worker of that process.
    """

    def __init__(self, experiment: Experiment, events: Events | None = None) -> None:
        self.experiment = experiment
        self.library = Library(experiment, events or Events())
        self.listen: Callable[[Job, Event], None] | None = None  # called with each event of a job that runs
        self._networks: dict[tuple[Any, ...], Backbone] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _worker_here, (self.experiment,)

    def __call__(self, job: Job) -> Finished:
        """Train, or read what an earlier call left. Raises HeadstartError."""
        known = self._recall(job)
        if known is not None:
            return Finished(known, None)
        began, warned = time.monotonic(), list[str]()
        events = Events(lambda event: warned.append(event.text) if isinstance(event, Warned) else None)
        if self.listen:
            events = Events(*events.listeners, partial(self.listen, job))
        result = self._run(job, events) if self.experiment.keep == "runs" else self._figures(job, events)
        gc.collect()
        return Finished(result, time.monotonic() - began, tuple(warned))

    def inputs(self, job: Job) -> tuple[LoadedImages, Backbone]:
        """The job's photos, at the size that its network wants, and that network."""
        from headstart.training.preparation import input_size, make_backbone

        like = job.like or job.options
        network = self._network(like) if job.like or STRATEGIES.get(like.strategy).pretrained else make_backbone(like)
        size, resize = input_size(like, self.library.manifest(job.arm.images), network)
        network.check_image_size(size)
        photos = self.library.photos(job.arm.images, resize, network.preprocessing.interpolation)
        if job.like and not STRATEGIES.get(job.options.strategy).pretrained:
            preprocessing = network.preprocessing  # only the weights differ
            network = make_backbone(job.options)
            network.preprocessing = preprocessing
        return photos, network

    def _pool(self, job: Job) -> int:
        return pool_of(self.library.manifest(job.arm.images))

    def _network(self, options: TrainOptions) -> Backbone:
        """A pretrained network, loaded once for jobs that follow each other with the same one."""
        from headstart.training.preparation import make_backbone

        key = (options.backbone, options.weights, options.from_run, options.cut, options.mean, options.std)
        if key not in self._networks:
            self._networks.clear()
            self._networks[key] = make_backbone(options)
        return self._networks[key]

    def _prepare(self, job: Job, events: Events) -> Prepared:
        from headstart.inference.device import find_machine
        from headstart.training.preparation import split

        photos, network = self.inputs(job)
        return split(job.options, photos, network, find_machine(job.options.device), events)

    def _recall(self, job: Job) -> JobResult | None:
        """The result of a job that ended in an earlier call."""
        from headstart.training.preparation import draw_splits

        if self.experiment.keep == "figures":

            def tested(split: str) -> np.ndarray:
                return _numbers(draw_splits(job.options, self.inputs(job)[0]), split)

            return read_figures(job, tested, self._pool(job))
        folder = RunFolder(job.folder)
        if not folder.finished:
            return None
        # A finished run of other photos, or of other weights, is not this job's.
        facts, library, images = read_description(job.folder), self.library, job.arm.images
        how, before = facts["preprocessing"], facts["provenance"]
        photos = library.any_size(images) or library.photos(images, how["resize"], how["interpolation"])
        found = draw_splits(job.options, photos)
        other = "" if found.digest == before["data"]["digest"] else f"on other photos than {job.options.data} holds now"
        if job.options.weights and self._network(job.options).weights_digest != before["backbone"]["weights_digest"]:
            other = f"from other weights than {job.options.weights} holds"
        if other:
            raise RunError(
                f"{job.folder} was trained {other}.",
                "Use `overwrite=True` to train it again, or choose another folder with `out`.",
            )
        return read_run(job, self._pool(job))

    def _run(self, job: Job, events: Events) -> JobResult:
        """Train in an ordinary run folder, or go on with a training that was interrupted there."""
        from headstart.workflows.train.train import as_begun_with, train_prepared, unchanged

        folder, bugs = RunFolder(job.folder), job.arm.deliberate_bugs
        begun = (job.folder / "request.json").exists()
        if begun:
            job = replace(job, options=as_begun_with(folder, job.options))
        prepared = self._prepare(job, events)
        if begun:
            prepared = unchanged(folder, prepared)
        else:
            source = job.options.from_run and lasting(job.options.from_run)  # a resume may come from elsewhere
            folder = RunFolder.create(job.folder, replace(job.options, from_run=source), deliberate_bugs=bugs)
        train_prepared(folder, prepared, events, bugs)
        result = read_run(job, self._pool(job))
        # Dozens of networks of one learning curve would fill a disk: weights stay where an arm starts from them, and
        # of the first seed of arms that are not swept.
        source_of_another = any(arm.source == job.arm.name for arm in self.experiment.recipe.arms)
        if not source_of_another and (job.arm.sweep or job.seed):
            (job.folder / "model.safetensors").unlink(missing_ok=True)
        return result

    def _figures(self, job: Job, events: Events) -> JobResult:
        """Train, and keep only the figures."""
        from headstart.training.arithmetic import as_begun
        from headstart.training.launch import fit
        from headstart.workflows.train.assess import assess, make_context

        prepared = self._prepare(job, events)
        state = job.folder.parents[1] / "state" / job.folder.name
        began = time.monotonic()
        with as_begun(state, prepared.machine, events):
            fitted = fit(make_context(prepared, state, events))
            seconds = time.monotonic() - began
            _, found = assess(prepared, fitted, events)
        shutil.rmtree(state, ignore_errors=True)
        split: Literal["test", "val"] = "test" if "test" in found.probabilities else "val"
        correct = found.probabilities[split].argmax(1) == prepared.labels[split]
        curve = [row.val_accuracy for row in fitted.history] or [fitted.val[1]]
        tested = _numbers(prepared.dataset, split)
        trained = len(prepared.labels["train"])
        result = from_figures(job, split, correct, tested, self._pool(job), curve, round(seconds, 2), trained)
        write_json(figures_file(job), {"format": FORMAT, **{name: getattr(result, name) for name in FIGURES}})
        return result


def pool_of(manifest: Manifest) -> int:
    """The number of photos that training photos are drawn from: all but those of a test set that the data gives."""
    given = {photo.split for photo in manifest.photos}
    tested = "test" if "test" in given else "val"  # where the data gives val alone, it is the test set
    return sum(photo.split != tested for photo in manifest.photos)


def _numbers(dataset: SplitDataset, split: str) -> np.ndarray:
    samples = dataset.split(cast(Split, split))
    return photo_numbers(sample.group or sample.digest for sample in samples)


_HERE: list[Worker] = []


def _worker_here(experiment: Experiment) -> Worker:
    """The worker of this process: made once per experiment, so that its photos and network serve every job here."""
    if not _HERE or _HERE[0].experiment != experiment:
        _HERE[:] = [Worker(experiment)]
    return _HERE[0]
