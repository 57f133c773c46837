"""``study``: a whole experiment from a recipe. In: a recipe, photos, weights. Out: a table, differences with tests,
curves, one report.

Every training leaves an ordinary run folder in ``OUT/arms``. Interrupted, the same command goes on: runs that ended are
read, a running one resumes, and more seeds may be asked for later.
"""

from __future__ import annotations

import gc
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.events import Events, Listener
from headstart.core.files import write_json
from headstart.core.paths import lasting
from headstart.data.splits import split_dataset
from headstart.errors import Interrupted, OptionError, RunError
from headstart.reporting.console import console_events
from headstart.runs.folder import RunFolder
from headstart.training.strategies import STRATEGIES
from headstart.workflows.experiment import analysis as findings
from headstart.workflows.experiment.catalogue import load
from headstart.workflows.experiment.datasets import Library, assign_paths
from headstart.workflows.experiment.jobs import ARMS, Estimate, Job, in_words, make_jobs, work
from headstart.workflows.experiment.recipe import Recipe
from headstart.workflows.experiment.results import JobResult, read_result
from headstart.workflows.experiment.study_result import Study

if TYPE_CHECKING:
    from headstart.data.schema import Manifest
    from headstart.inference.device import Machine
    from headstart.models.backbone import Backbone


OWN = {ARMS, "study.json", "report.html", "pictures"}
"""What a study's folder holds."""


@dataclass(frozen=True)
class StudyRequest:
    """What was asked for, beside the recipe."""

    recipe: Recipe
    out: Path
    places: Mapping[str, str]
    weights: Mapping[str, str]
    device: str
    command: str


def study(
    recipe: str,
    *,
    data: Mapping[str, str | Path] | str | Path | None = None,
    weights: Mapping[str, str | Path] | str | Path | None = None,
    seeds: int | None = None,
    quick: bool = False,
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
) -> Study:
    """Run an experiment from a recipe, or resume it.

    Args:
        recipe: the name of a study that ships, or a YAML file.
        data: dataset of the recipe → photos; the photos alone where there is one dataset.
        weights: backbone → checkpoint file; the file alone where there is one backbone.
        seeds: seeds per arm; by default the recipe's.
        quick: a small form of it, for trying.
        settings: changes of the recipe (``"epochs=3"``, or for one arm ``"scratch.epochs=3"``).
        out: the study's folder; by default ``runs/study-<name>``.
        overwrite: train arms again that were trained otherwise.
        quiet: no progress and messages on standard error, warnings only.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.

    Returns:
        A row per arm, published beside measured figures, differences with tests, and the report.

    Raises:
        OptionError: a mistake in the recipe or in an option; all of them at once.
        DataError: photos that are missing or cannot be trained on.
        RunError: the folder exists and holds something else.
    """
    found = load(recipe, settings, quick, seeds)
    request = StudyRequest(
        found,
        Path(out) if out else Path("runs") / f"study-{found.name}{'-quick' if quick else ''}",
        {name: lasting(place) for name, place in assign_paths(found, _by_name(data)).items()},
        {name: lasting(file) for name, file in _by_name(weights).items()},
        device,
        _command(recipe, _by_name(data), _by_name(weights), seeds, quick, settings),
    )
    jobs = make_jobs(found, request.places, request.weights, request.out, device)
    with console_events(quiet, listener) as events:
        return _Runner(request, jobs, events).run(overwrite)


def _by_name(given: Mapping[str, str | Path] | str | Path | None) -> dict[str, str]:
    if given is None:
        return {}
    return {n: str(p) for n, p in given.items()} if isinstance(given, Mapping) else {"": str(given)}


def _command(
    recipe: str, data: Mapping[str, str], weights: Mapping[str, str], seeds: int | None, quick: bool,
    settings: Sequence[str],
) -> str:  # fmt: skip
    import shlex

    words = ["headstart", "study", recipe]
    for flag, given in (("--data", data), ("--weights", weights)):
        for name, path in given.items():
            words += [flag, f"{name}={path}" if name else path]
    words += ["--quick"] if quick else []
    words += ["--seeds", str(seeds)] if seeds is not None else []
    for text in settings:
        words += ["--set", text]
    return shlex.join(words)


@dataclass
class _Runner:
    """Runs the jobs, one after the other."""

    request: StudyRequest
    jobs: list[Job]
    events: Events
    _backbones: dict[tuple[Any, ...], Backbone] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)

    def run(self, overwrite: bool) -> Study:
        self._machine()  # an unknown device is said before the photos are read
        check_architectures(self.jobs)
        self._check_folder(overwrite)
        library = Library(self.request.recipe, self.request.places, self.events)
        works = {job.folder: self._work(job, library.manifest(job.arm.images)) for job in self.jobs}
        if overwrite:  # now that the photos were found: a mistyped --data must not cost a study
            for job in self.jobs:
                shutil.rmtree(job.folder, ignore_errors=True)
        estimate = Estimate(works, self.jobs)
        results = []
        for number, job in enumerate(self.jobs, 1):
            try:
                results.append(self._run_or_read(job, number, library, estimate))
            except (KeyboardInterrupt, Interrupted):
                raise Interrupted(
                    f"Stopped; {len(results)} of {len(self.jobs)} trainings are done, and nothing in "
                    f"{self.request.out} is lost.",
                    "Give the same command again to go on.",
                ) from None
        return self._conclude(results, library)

    def _check_folder(self, overwrite: bool) -> None:
        out = self.request.out
        if out.exists() and not out.is_dir():
            raise RunError(f"--out {out} is a file.", "Choose another name.")
        strangers = [p.name for p in out.iterdir() if p.name not in OWN and p.name[0] != "."] if out.exists() else []
        if strangers:
            raise RunError(f"--out {out} is not a study (it holds {strangers[0]}).", "Choose another folder.")
        for job in self.jobs:
            if not overwrite and (job.folder / "request.json").exists():
                self._refuse_other(job)

    def _refuse_other(self, job: Job) -> None:
        """A run that was made with other options is not this job's, and is never replaced unasked."""
        before = RunFolder.open(job.folder)[1].to_json()
        places = {"data", "out", "weights", "from_run", "device", "on_bad"}
        before["mistakes"] = RunFolder(job.folder).mistakes
        now = {**job.options.to_json(), "mistakes": job.arm.mistakes}
        changed = [
            f"{name}: {_shown(before.get(name))}, now {_shown(value)}"
            for name, value in now.items()
            if name not in places and value != before.get(name)
        ]
        if changed:
            raise RunError(
                f"{job.folder} was trained otherwise ({'; '.join(changed)}).",
                "Use --overwrite to train it again, or choose another folder with --out.",
            )

    def _work(self, job: Job, manifest: Manifest) -> float:
        judged = sum(photo.split == "test" for photo in manifest.photos)
        train = len(manifest.photos) - judged
        classes = len({photo.label for photo in manifest.photos})
        train = min(train, job.options.shots * classes) if job.options.shots else train
        train = round(train * (job.options.fraction or 1.0))
        settings = job.options.settings
        return work(job, train, judged, int(settings.get("image_size", 160)), int(settings.get("epochs", 10)))

    def _run_or_read(self, job: Job, number: int, library: Library, estimate: Estimate) -> JobResult:
        began = time.monotonic()
        folder = RunFolder(job.folder)
        if folder.finished:
            self._refuse_other_input(job, folder, library)
            estimate.finished(job, None)
            return read_result(job)
        inner = _JobEvents(self.events, f"{job.label} ({number} of {len(self.jobs)})", job, estimate, self._warned)
        self._train(job, folder, library, inner)
        result = read_result(job)
        estimate.finished(job, time.monotonic() - began)
        self._tell(result, number, estimate)
        self._drop_weights(job)
        gc.collect()
        return result

    def _refuse_other_input(self, job: Job, folder: RunFolder, library: Library) -> None:
        """A finished run of other photos, or of other weights, is not this job's either."""
        facts, photos = folder.read_json("model.json"), library.any_size(job.arm.images)
        how, before = facts["preprocessing"], facts["provenance"]
        photos = photos or library.photos(job.arm.images, how["resize"], how["interpolation"])
        found = split_dataset(photos.manifest, photos.pixels.digests, photos.bad, job.options.split_options)
        other = "" if found.digest == before["data"]["digest"] else f"on other photos than {job.options.data} holds now"
        if job.options.weights and self._backbone(job).weights_digest != before["backbone"]["weights_digest"]:
            other = f"from other weights than {job.options.weights} holds"
        if other:
            raise RunError(
                f"{job.folder} was trained {other}.",
                "Use --overwrite to train it again, or choose another folder with --out.",
            )

    def _train(self, job: Job, folder: RunFolder, library: Library, events: Events) -> None:
        from headstart.training.preparation import input_size, split
        from headstart.workflows.train.train import check_unchanged, train_prepared

        backbone = self._backbone(job)
        size, resize = input_size(job.options, library.manifest(job.arm.images), backbone)
        backbone.check_image_size(size)
        photos = library.photos(job.arm.images, resize, backbone.preprocessing.interpolation)
        prepared = split(job.options, photos, backbone, self._machine(), events)
        if (job.folder / "request.json").exists():
            check_unchanged(folder, prepared)
        else:
            source = job.options.from_run and lasting(job.options.from_run)  # a resume may come from elsewhere
            folder = RunFolder.create(job.folder, replace(job.options, from_run=source), mistakes=job.arm.mistakes)
        train_prepared(folder, prepared, events, job.arm.mistakes)

    def _backbone(self, job: Job) -> Backbone:
        """The pretrained network, loaded once for arms that follow each other with the same one. Random ones are made
        anew: a seed decides them.
        """
        from headstart.training.preparation import make_backbone

        options = job.options
        if not STRATEGIES.get(options.strategy).pretrained:
            return make_backbone(options)
        key = (options.backbone, options.weights, options.from_run, options.cut, options.mean, options.std)
        if key not in self._backbones:
            self._backbones.clear()
            self._backbones[key] = make_backbone(options)
        return self._backbones[key]

    def _machine(self) -> Machine:
        from headstart.inference.device import find_machine

        return find_machine(self.request.device)

    def _tell(self, result: JobResult, number: int, estimate: Estimate) -> None:
        left = in_words(estimate.left()) if number < len(self.jobs) else ""
        self.events.message(
            f"  {number} of {len(self.jobs)}   {result.job.label}: {result.split} accuracy {result.accuracy:.3f}   "
            f"{result.seconds:.0f} s{f'   {left}' if left else ''}"
        )

    def _drop_weights(self, job: Job) -> None:
        """Dozens of networks of one learning curve would fill a disk: weights stay where an arm starts from them, and
        of the first seed of arms that are not swept.
        """
        source = any(arm.source == job.arm.name for arm in self.request.recipe.arms)
        if not source and (job.arm.sweep or job.seed):
            (job.folder / "model.safetensors").unlink(missing_ok=True)

    def _conclude(self, results: list[JobResult], library: Library) -> Study:
        from headstart.workflows.experiment.report import write_page
        from headstart.workflows.experiment.text import study_text

        recipe = self.request.recipe
        rows = findings.table(recipe, results)
        gaps = findings.differences(recipe, results)
        answer = findings.answer(recipe, rows, gaps)
        found = Study(self.request.out, recipe, tuple(results), tuple(rows), tuple(gaps), answer, "")
        found = replace(found, text=f"{study_text(found)}\n\nReport: {self.request.out / 'report.html'}")
        as_read = json.loads(json.dumps(recipe.raw, default=str))  # YAML knows dates, JSON does not
        write_json(self.request.out / "study.json", {"recipe": as_read, **found.summary})
        write_page(found, self.request.command, library, self._machine().words)
        return found


def check_architectures(jobs: Sequence[Job]) -> None:
    """An unknown backbone, cut or boundary is said before the first training, all of them at once."""
    from headstart.models.factory import create
    from headstart.training.planning import resolve
    from headstart.training.rules import Facts

    wrong, seen = [], set()
    for job in jobs:
        options = job.options
        boundary = resolve(Facts(1, 2, 224, 224, options.strategy), boundary=options.boundary).boundary
        key = (options.backbone, options.cut, boundary)
        if key in seen or job.seed:
            continue
        seen.add(key)
        try:
            create(options.backbone, pretrained=False, cut=options.cut).split_at(boundary)
        except OptionError as error:
            wrong.append(f"{job.arm.name}: {error.problem} {error.hint}".strip())
    if wrong:
        raise OptionError("; ".join(wrong))


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


class _JobEvents(Events):
    """What one training reports within a study: progress with the study's estimate, and each warning once."""

    def __init__(self, outer: Events, label: str, job: Job, estimate: Estimate, warned: set[str]) -> None:
        super().__init__()
        self.outer, self.label, self.job, self.estimate, self._warned = outer, label, job, estimate, warned
        self.began, self.part = time.monotonic(), 0.0

    def warning(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.outer.warning(text)

    def progress(self, task: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        if task == "training":
            self.part = done / total
        left = in_words(self.estimate.left(self.job, self.part, time.monotonic() - self.began))
        words = "   ".join(part for part in (note, f"study: {left}" if left else "") if part)
        self.outer.progress(f"{self.label}: {task}", done, total, words)
