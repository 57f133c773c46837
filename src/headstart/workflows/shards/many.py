"""``predict_shards`` and ``embed_shards``: predictions or features of many photos as Parquet files, a part at a time,
here or on Ray. Called again, they go on with the parts that are missing.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from headstart.core.arguments import Device, typed
from headstart.core.events import Events, Listener
from headstart.core.executor import Cluster, Executor, find_executor, session
from headstart.core.lengths import seconds_of
from headstart.core.paths import Place
from headstart.core.ray_executor import RayExecutor
from headstart.core.text import plural
from headstart.data.schema import ImageRef, Manifest
from headstart.data.sources.unlabelled import Found, find_files, tell_skipped
from headstart.errors import DataError, Interrupted, OptionError
from headstart.evaluation.conformal import check_coverage
from headstart.inference.classifier import Classifier, Model, name_of, path_of
from headstart.inference.uses import EVERY
from headstart.models.network import Network
from headstart.reporting.console import console_events
from headstart.training.config import EmbedOptions, TrainOptions
from headstart.training.embeddings import plan_of
from headstart.training.preparation import read_for
from headstart.workflows.embed.embed import Loose, gathered
from headstart.workflows.shards.parts import Ended, Kind, Part, PartWorker, texts
from headstart.workflows.shards.result import FORMAT, Shards, counted, missing, open_folder

PART = 4096
"""Photos of a file, and so the most that an interruption of one worker can lose: about a minute of a CPU's work."""
SAMPLE = 512
"""Photos that the plan of a pretrained backbone is made from: their sizes decide its input size."""
FOLDERS = 200
"""Folders of photos that each node of a cluster must see before work begins, at most."""


@typed
def predict_shards(
    run: Model,
    files: Any,
    out: Place,
    *,
    coverage: float | None = None,
    every: str | float = EVERY,
    part: int = PART,
    overwrite: bool = False,
    device: Device = "auto",
    executor: str | Executor = "local",
    quiet: bool = False,
    listener: Listener | None = None,
) -> Shards:
    """Classify many photos into Parquet files; the rows have the columns of ``hs.predict(…).frame()``.

    Args:
        run: as for ``predict``.
        files: as for ``predict``, but not one after the other from an iterator without an end.
        out: a folder. With the same photos and the same model it goes on where an earlier call stopped.
        coverage: as for ``predict``.
        every: as for ``predict``.
        part: photos of each file.
        overwrite: begin anew in a folder of other photos, or of another model.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        executor: where it runs: "local", "ray" or "ray:HOST:PORT", or an object with the ``submit`` of
            ``concurrent.futures``.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.

    Returns:
        The folder, how many photos of each label, how many could not be read.

    Raises:
        DataError: no photos. RunError: no model there; a folder of something else; a cluster that cannot do it.
        OptionError: an option that cannot be, or a package that is missing. Interrupted: the same call goes on.
    """
    where = _checked(executor, part)
    if coverage is not None:
        check_coverage(coverage)
    classifier = Classifier.of(run, device)
    classifier.refuse_several(coverage=coverage)
    if coverage is not None:
        classifier.known_uncertainty.promise(coverage)
    found = find_files(files, every=seconds_of(every, "every"))
    with console_events(quiet, listener) as events:
        tell_skipped(found, events)
        photos = _listed(found)
        worker = PartWorker(classifier, "predictions", Path(os.path.abspath(out)), coverage)
        return Many(worker, photos, part, where, events).run(Path(out), overwrite, str(device))


@typed
def embed_shards(
    photos: Any,
    out: Place,
    *,
    run: Model | None = None,
    part: int = PART,
    overwrite: bool = False,
    executor: str | Executor = "local",
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[EmbedOptions],
) -> Shards:
    """Compute the features of many photos into Parquet files with the columns ``path``, ``features`` and ``problem``.

    Args:
        photos: as the files of ``predict_shards``.
        out: a folder; see ``predict_shards``.
        run: whose backbone computes them; by default the pretrained one that the options name.
        part: photos of each file.
        overwrite: as for ``predict_shards``.
        executor: as for ``predict_shards``.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: see ``headstart.training.config.EmbedOptions``; with ``run``, device alone.

    Returns:
        The folder, and how many photos could not be read.

    Raises:
        As ``predict_shards``. WeightsError: pretrained weights that are missing or do not fit.
    """
    where, asked = _checked(executor, part), gathered(run, options)
    found = find_files(photos, "photos")
    with console_events(quiet, listener) as events:
        tell_skipped(found, events)
        every = _listed(found)
        network = Classifier.of(run, asked.device) if run is not None else _of_backbone(every, asked, events)
        worker = PartWorker(network, "features", Path(os.path.abspath(out)))
        return Many(worker, every, part, where, events).run(Path(out), overwrite, str(asked.device))


class Many:
    """The parts of many photos, one worker's work, on an executor."""

    def __init__(
        self, worker: PartWorker, photos: Sequence[ImageRef], size: int, executor: Executor, events: Events
    ) -> None:
        self.worker, self.photos, self.size, self.executor, self.events = worker, photos, size, executor, events
        cuts = range(0, len(photos), size)
        self.parts = [Part(i, tuple(photos[start : start + size])) for i, start in enumerate(cuts)]

    def run(self, out: Path, overwrite: bool, device: str) -> Shards:
        """Compute what is missing in ``out``. Raises HeadstartError."""
        kind, began = self.worker.kind, time.monotonic()
        with session(self.executor, device, self.events):
            open_folder(out, self._request(kind), overwrite)
            left = missing(out, self.parts)
            if (there := len(self.parts) - len(left)) and left:
                self.events.message(
                    f"{plural(there, 'part')} of {len(self.parts)} {'is' if there == 1 else 'are'} there."
                )
            computed = self._compute(left, out) if left else 0
        unread, counts = counted(out, self.parts, kind == "predictions")
        if unread:
            self.events.warning(f"{plural(unread, 'photo')} cannot be read: the column problem says why.")
        spent = time.monotonic() - began
        return Shards(out, len(self.photos), len(self.parts), unread, computed, spent, counts)

    def _compute(self, left: Sequence[Part], out: Path) -> int:
        done, total, computed = len(self.photos) - sum(len(part.photos) for part in left), len(self.photos), 0
        self.events.progress("photos", done, total)
        if isinstance(self.executor, Cluster):
            self.executor.check(self._folders(), out)
        try:
            for ended in self._ended(left):
                computed += ended.photos
                self.events.progress("photos", done + computed, total)
        except (KeyboardInterrupt, Interrupted):
            problem = (
                f"Stopped; {done + computed:,} of {plural(total, 'photo')} are done, and nothing in {out} is lost."
            )
            raise Interrupted(problem, "Start it again with the same options to go on.") from None
        return computed

    def _ended(self, left: Sequence[Part]) -> Iterator[Ended]:
        """Parts as they end."""
        if isinstance(self.executor, RayExecutor):
            yield from self.executor.stream(self.worker, left)
            return
        running = dict[Future[Ended], Part]()
        try:
            for part in left:
                running[self.executor.submit(self.worker, part)] = part
                for future in wait(running, 0, FIRST_COMPLETED).done:
                    running.pop(future)
                    yield future.result()
            while running:
                for future in wait(running, None, FIRST_COMPLETED).done:
                    running.pop(future)
                    yield future.result()
        finally:
            for future in running:
                future.cancel()

    def _folders(self) -> list[str]:
        """Where photos are."""
        found = dict.fromkeys(os.path.dirname(os.path.abspath(path_of(photo))) for photo in self.photos)
        step = max(1, len(found) // FOLDERS)
        return list(found)[::step]

    def _request(self, kind: Kind) -> dict[str, Any]:
        """What decides the content of the files: work with another one is other work."""
        names = hashlib.blake2b("\n".join(texts([name_of(one) for one in self.photos])).encode(), digest_size=16)
        network = hashlib.blake2b(repr(self.worker.classifier.preprocessing).encode(), digest_size=16)
        for name, tensor in self.worker.classifier.network.state_dict().items():
            network.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return {
            "format": FORMAT, "kind": kind, "model": network.hexdigest(), "coverage": self.worker.coverage,
            "photos": names.hexdigest(), "part": self.size,
        }  # fmt: skip


def _checked(executor: str | Executor, part: int) -> Executor:
    if find_spec("pyarrow") is None:
        raise OptionError("Parquet files need pyarrow.", "pip install 'headstart[parquet]'.")
    if part < 1:
        raise OptionError(f"`part={part}` must be at least 1.", option="part")
    return find_executor(executor)


def _listed(found: Found) -> list[ImageRef]:
    """The photos, all of them known. Raises DataError where there is none."""
    photos = list(found.photos)
    if not photos:
        raise DataError("There are no photos.", "Name a folder of photos.")
    return photos


def _of_backbone(photos: Sequence[ImageRef], asked: TrainOptions, events: Events) -> Classifier:
    """A pretrained backbone as something that computes features; a plan for all photos, made from some of them."""
    some = photos[:: max(1, len(photos) // SAMPLE)]
    sample = Manifest(Path.cwd(), "photos", "photos", tuple(Loose(path_of(one), "", given=one) for one in some))
    loaded, backbone, machine = read_for(asked, sample, events, "defer")
    plan = plan_of(sample, len(photos), 1, backbone, machine, asked)
    seen = backbone.preprocessing.at(plan.image_size, plan.resize, loaded.pixels.ranges)
    made = Classifier(Network(backbone, nn.Linear(1, 1)), seen, (), "linear", precision=plan.precision)
    return made.to(machine)
