"""``recommend``: rank pretrained backbones before any training, by the accuracy of a cross-validated linear probe of a
sample of the photos; docs/decisions/0020 says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from headstart.core.arguments import typed
from headstart.core.events import Events, Listener
from headstart.core.eviction import trim
from headstart.core.lengths import seconds_of
from headstart.core.text import joined
from headstart.data.loading import LoadedImages, find_photos, read
from headstart.data.sampling import choosable, sampled
from headstart.data.schema import Manifest
from headstart.data.sources.given import Data
from headstart.errors import OptionError, WeightsError
from headstart.inference.device import Machine, find_machine
from headstart.inference.runner import FrozenNetwork
from headstart.reporting.command import command_line
from headstart.reporting.console import console_events
from headstart.reporting.notebook import answer_html, frame, html
from headstart.training.config import SAMPLE, RecommendOptions, TrainOptions
from headstart.training.embeddings import embed_images, plan_of
from headstart.training.plan import check_overrides
from headstart.training.preparation import input_size
from headstart.training.throughput import photos_per_second
from headstart.workflows.recommend.candidates import Candidate, Supply, candidates, megabytes
from headstart.workflows.recommend.ranking import Budget, order, resample
from headstart.workflows.recommend.scores import score
from headstart.workflows.recommend.text import answer, table

if TYPE_CHECKING:
    from pandas import DataFrame


Row = dict[str, Any]


@dataclass(frozen=True)
class Recommendation:
    """The ranking (``rows``), backbones ``over`` the budget and those that were ``left_out``, each with a reason;
    ``answer``: the recommendation as a sentence; ``command``: to train with the recommended backbone, and ``chosen``:
    the options that select it.
    """

    rows: tuple[Row, ...]
    over: tuple[Row, ...]
    left_out: tuple[Row, ...]
    answer: str
    command: str
    measured: Row
    chosen: Row = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The table, the answer and the command, for a terminal."""
        photos, of, batch, machine = (self.measured[name] for name in ("photos", "of", "batch", "machine"))
        what = f"{photos} photos of {of}; ms/photo: the network alone, batches of {batch}, {machine}"
        return joined([*table(self.rows, self.over, self.left_out), "", what, "", self.answer, "", self.command])

    def frame(self) -> DataFrame:
        """The rows as a pandas frame, those over the budget and those left out below."""
        return frame([*self.rows, *self.over, *self.left_out])

    def _repr_html_(self) -> str:
        columns = ("backbone", "accuracy", "low", "high", "knn", "logme", "ms", "mb", "imagenet")
        rows = [{name: row[name] for name in columns} for row in self.rows]
        unranked = (*self.over, *self.left_out)
        rows += [dict.fromkeys(columns) | {"backbone": f"{r['backbone']}: {r['reason']}"} for r in unranked]
        return f"{answer_html(self.answer, rows, None)}<pre>{html(self.command)}</pre>"

    @property
    def summary(self) -> Row:
        """What ``--json`` prints."""
        return {
            "answer": self.answer, "command": self.command, "measured": self.measured, "backbones": list(self.rows),
            "over_budget": list(self.over), "left_out": list(self.left_out),
        }  # fmt: skip


@typed
def recommend(
    data: Data,
    *,
    backbones: str | Sequence[str | Mapping[str, Any]] = (),
    sample: int = SAMPLE,
    max_ms: float | None = None,
    max_mb: float | None = None,
    time: str | float | None = None,
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[RecommendOptions],
) -> Recommendation:
    """Rank pretrained backbones by how well a linear probe of their features classifies a sample of the photos.

    Args:
        data: as for ``train``.
        backbones: names by commas (``"resnet18,resnet50@layer3"``), or mappings of train's options (``{"backbone":
            "resnet50", "cut": "layer3"}``); by default a short list.
        sample: photos to use, about.
        max_ms: milliseconds per photo on this machine, at most.
        max_mb: megabytes of weights, at most.
        time: for one pass over all photos, at most: seconds, or text such as ``"10m"``.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: see ``headstart.training.config.RecommendOptions``; they hold for all backbones.

    Returns:
        The ranking with confidence intervals, what was left out and why, and the command to train with the first.

    Raises:
        OptionError: an option that is unknown or impossible, or a budget that no backbone meets.
        DataError: too few photos.
        WeightsError: no backbone's weights are available.
    """
    if sample < 2:
        raise OptionError(f"`sample={sample}` must be at least 2.", option="sample")
    budget = Budget(max_ms, max_mb, None if time is None else seconds_of(time))
    asked = TrainOptions.gather(data, None, options, "recommend", strategy="probe")
    check_overrides(asked.settings)
    tried = candidates([backbones] if isinstance(backbones, str) else backbones)
    with console_events(quiet, listener) as events:
        found = Ranking(asked, sample, budget, events).run(tried)
    trim()
    return found


@dataclass
class Ranking:
    """One sample of about ``size`` photos, run through one backbone after the other. ``allowed``: the photos that it
    is taken from; by default all but those of a given test split.
    """

    options: TrainOptions
    size: int
    budget: Budget
    events: Events
    allowed: Manifest | None = None
    over: list[Row] = field(default_factory=list)
    left_out: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine: Machine = find_machine(self.options.device)
        self.supply = Supply(self.options)
        self.everything: Manifest = find_photos(self.options.data, self.events, options=self.options.read_options)
        allowed = self.allowed or choosable(self.everything)
        self.of = len(allowed.photos)
        self.sample: Manifest = sampled(allowed, self.size, self.options.seed)
        self.read_at: dict[tuple[int, str], LoadedImages] = {}

    def run(self, tried: Sequence[Candidate]) -> Recommendation:
        """Measure them and rank them. Raises OptionError or WeightsError where none is left."""
        usable = self._usable(tried)
        self.events.message(
            f"{self.everything.name} ({self.everything.layout}): {len(self.sample.photos)} of {self.of} photos, "
            f"{len(usable)} of {len(tried)} backbones"
        )
        measured = []
        for number, candidate in enumerate(usable):
            self.events.progress("backbones", number, len(usable))
            found = self._measure(candidate)
            if found is not None:
                measured.append((candidate, *found))
        self.events.progress("backbones", len(usable), len(usable))
        if measured:
            return self._ranked(measured)
        lines = [f"{row['backbone']}: {row['reason']}" for row in (*self.over, *self.left_out)]
        if self.over:
            problem, hint = "No backbone is left to choose from:", "Raise `max_ms`, `max_mb` or `time`."
            raise OptionError(problem, hint, lines=lines)
        hint = "Name a file: `backbones='resnet18 --weights FILE'`. starter needs none."
        raise WeightsError("No backbone's weights are available:", hint, lines=lines)

    def _usable(self, tried: Sequence[Candidate]) -> list[Candidate]:
        """Those whose weights are available and within the budget, so that mistakes come out before the first pass."""
        found = []
        for number, candidate in enumerate(tried):
            self.events.progress("looking for weights", number, len(tried))
            try:
                mb = megabytes(self.supply.load(candidate))
            except WeightsError as error:
                self._leave_out(candidate, error.problem)
                continue
            reason = self.budget.too_large(mb)
            if reason:
                self.over.append({"backbone": candidate.name, "reason": reason, "mb": mb})
            else:
                found.append(candidate)
        self.events.progress("looking for weights", len(tried), len(tried))
        return found

    def _leave_out(self, candidate: Candidate, reason: str) -> None:
        self.left_out.append({"backbone": candidate.name, "reason": reason.partition("\n")[0]})

    def _measure(self, candidate: Candidate) -> tuple[Row, np.ndarray] | None:
        """One backbone's speed, then its scores: its row, and whether a cross-validated probe classified each photo
        correctly [N]; None if it is over the budget or cannot take the photos.
        """
        backbone = self.supply.load(candidate)
        options = candidate.options(self.options)
        size, resize = input_size(options, self.everything, backbone)
        try:
            backbone.check_image_size(size)
        except OptionError as error:
            self._leave_out(candidate, error.problem)
            return None
        photos = self._read(resize, backbone.preprocessing.interpolation)
        # The plan of a probe on all photos: what is measured is what a training would use.
        every, classes = len(self.everything.photos), len({photo.label for photo in self.everything.photos})
        plan = plan_of(self.everything, every, classes, backbone, self.machine, options)
        seen = backbone.preprocessing.at(size, resize, photos.pixels.ranges)
        ready = FrozenNetwork(backbone.joining_all(), seen, self.machine, plan.precision, plan.engine)
        rate = photos_per_second(ready, size, self.machine.batch)
        row: Row = {
            "backbone": candidate.name, "images_per_second": rate, "ms": 1000 / rate, "seconds": every / rate,
            "mb": megabytes(backbone), "parameters": sum(p.numel() for p in backbone.parameters()),
            "dim": backbone.dim, "image_size": size, "imagenet": candidate.imagenet, "weights": backbone.source,
        }  # fmt: skip
        reason = self.budget.too_slow(row["ms"], row["seconds"])
        if reason:
            self.over.append(row | {"reason": reason})
            return None
        data = embed_images(photos, backbone, self.machine, options, self.events, (plan, ready))
        self.units = np.array(data.units)
        scores = score(data.features, data.labels, data.classes, self.units, self.options.seed)
        row |= {
            "accuracy": scores.accuracy, "knn": scores.knn, "logme": scores.logme, "precision": plan.precision,
            "engine": plan.engine,
        }  # fmt: skip
        self.events.message(f"  {candidate.name}: {scores.accuracy:.3f} by a probe, {row['ms']:.3g} ms per photo")
        return row, scores.correct

    def _read(self, resize: int, interpolation: str) -> LoadedImages:
        """The sample at one size; unreadable photos are reported once and left out for all backbones."""
        key = (resize, interpolation)
        if key not in self.read_at:
            photos = read(self.sample, resize, interpolation, self.options.on_bad, self.events)
            kept = [p for p, bad in zip(self.sample.photos, photos.pixels.problems, strict=True) if bad is None]
            self.sample = replace(self.sample, photos=tuple(kept), skipped=())
            self.read_at[key] = photos
        return self.read_at[key]

    def _ranked(self, measured: Sequence[tuple[Candidate, Row, np.ndarray]]) -> Recommendation:
        chosen, facts, correct = zip(*measured, strict=True)
        found = resample(np.stack(correct), self.units, self.options.seed)
        ranked = order([row["accuracy"] for row in facts], [row["ms"] for row in facts])
        rows = []
        for rank, i in enumerate(ranked, 1):
            low, high = found.band(i)
            ahead = found.ahead(ranked[0], i) if rank > 1 else None
            rows.append({"rank": rank, **facts[i], "low": low, "high": high, "ahead": ahead})
        words, take = answer(rows, len(self.units))
        selected = chosen[ranked[take]].given
        options = {**selected, **self.options.given("recommend")}
        return Recommendation(
            tuple(rows), tuple(self.over), tuple(self.left_out), words,
            command_line("train", self.options.data, options),
            {"photos": len(self.units), "of": self.of, "data": self.everything.name,
             "machine": self.machine.words, "batch": self.machine.batch, "seed": self.options.seed},
            selected,
        )  # fmt: skip
