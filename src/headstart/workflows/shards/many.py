"""``predict_shards`` and ``embed_shards``: predictions or features of many photos as Parquet files, a part at a time,
here or on Ray. Called again, they go on with the parts that are missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from headstart.core.arguments import Device, typed
from headstart.core.events import Events, Listener
from headstart.core.executor import Cluster, Executor, find_executor, session, tell_news
from headstart.core.extras import require
from headstart.core.lengths import seconds_of
from headstart.core.paths import Place
from headstart.core.ray_executor import RayExecutor
from headstart.core.text import plural
from headstart.data.schema import ImageRef
from headstart.data.sources.addresses import address_of
from headstart.data.sources.unlabelled import find_files, tell_skipped
from headstart.errors import Interrupted, OptionError
from headstart.inference.classifier import Classifier, Model, path_of
from headstart.inference.uses import EVERY
from headstart.models.network import Network
from headstart.reporting.console import console_events
from headstart.training.config import EmbedOptions, TrainOptions
from headstart.training.embeddings import plan_of
from headstart.training.preparation import read_for
from headstart.workflows.embed.embed import gathered, listed_photos, loose
from headstart.workflows.predict import opened
from headstart.workflows.shards.parts import Part, PartWorker
from headstart.workflows.shards.request import request_of
from headstart.workflows.shards.result import Shards, counted, missing, open_folder

PART = 4096
"""Photos of a file, and so the most that an interruption of one worker can lose: about a minute of a CPU's work."""
SAMPLE = 512
"""Photos that the plan of a pretrained backbone is made from, at most: their sizes decide its input size."""
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
    classifier, _ = opened(run, device, coverage)
    found = find_files(files, every=seconds_of(every, "every"))
    with console_events(quiet, listener) as events:
        tell_skipped(found, events)
        photos = listed_photos(found)
        worker = PartWorker(classifier, "predictions", Path(os.path.abspath(out)), coverage, str(device))
        return Many(worker, photos, part, where, events).run(Path(out), overwrite)


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
        every = listed_photos(found)
        network = Classifier.of(run, asked.device) if run is not None else _of_backbone(every, asked, events)
        worker = PartWorker(network, "features", Path(os.path.abspath(out)), None, str(asked.device))
        return Many(worker, every, part, where, events).run(Path(out), overwrite)


class Many:
    """The parts of many photos, one worker's work, on an executor."""

    def __init__(
        self, worker: PartWorker, photos: Sequence[ImageRef], size: int, executor: Executor, events: Events
    ) -> None:
        self.worker, self.photos, self.size, self.executor, self.events = worker, photos, size, executor, events
        cuts = range(0, len(photos), size)
        self.parts = [Part(i, tuple(photos[start : start + size])) for i, start in enumerate(cuts)]

    def run(self, out: Path, overwrite: bool) -> Shards:
        """Compute what is missing in ``out``. Raises HeadstartError."""
        began = time.monotonic()
        with session(self.executor, self.worker.device, self.events):
            open_folder(out, request_of(self.worker, self.photos, self.size), overwrite)
            left = missing(out, self.parts)
            if (there := len(self.parts) - len(left)) and left:
                self.events.message(
                    f"{plural(there, 'part')} of {len(self.parts)} {'is' if there == 1 else 'are'} there."
                )
            computed = self._compute(left, out) if left else 0
        unread, counts = counted(out, self.parts, self.worker.kind == "predictions")
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
            for photos in self._ended(left):
                computed += photos
                self.events.progress("photos", done + computed, total)
                tell_news(self.executor, self.events)
        except (KeyboardInterrupt, Interrupted):
            problem = (
                f"Stopped; {done + computed:,} of {plural(total, 'photo')} are done, and nothing in {out} is lost."
            )
            raise Interrupted(problem, "Start it again with the same options to go on.") from None
        return computed

    def _ended(self, left: Sequence[Part]) -> Iterator[int]:
        """How many photos each part has, as they end."""
        if isinstance(self.executor, RayExecutor):
            yield from self.executor.stream(self.worker, left)
            return
        running, waiting = set[Future[int]](), list(reversed(left))
        try:
            while waiting or running:
                if waiting:
                    running.add(self.executor.submit(self.worker, waiting.pop()))
                done, running = wait(running, 0 if waiting else None, FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()

    def _folders(self) -> list[str]:
        """Where photos on this machine are."""
        here = [path for path in map(path_of, self.photos) if address_of(path) is None]
        found = dict.fromkeys(os.path.dirname(os.path.abspath(path)) for path in here)
        return list(found)[:: max(1, -(-len(found) // FOLDERS))]


def _checked(executor: str | Executor, part: int) -> Executor:
    require("Writing Parquet files", ["pyarrow"], "parquet")
    if part < 1:
        raise OptionError(f"`part={part}` must be at least 1.", option="part")
    return find_executor(executor)


def _of_backbone(photos: Sequence[ImageRef], asked: TrainOptions, events: Events) -> Classifier:
    """A pretrained backbone as something that computes features; a plan for all photos, made from some of them."""
    sample = loose(photos[:: -(-len(photos) // SAMPLE)])
    loaded, backbone, machine = read_for(asked, sample, events, "defer")
    plan = plan_of(sample, len(photos), 1, backbone, machine, asked)
    seen = backbone.preprocessing.at(plan.image_size, plan.resize, loaded.pixels.ranges)
    made = Classifier(Network(backbone, nn.Linear(1, 1)), seen, (), "linear", precision=plan.precision)
    return made.to(machine)
