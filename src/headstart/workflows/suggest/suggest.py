"""``suggest``: of a folder of unlabelled photos, those whose labels would teach a classifier most."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from headstart.core.arguments import Device, typed
from headstart.core.events import Events, Listener
from headstart.core.paths import Place, check_writable, taken
from headstart.core.text import plural
from headstart.data.duplicates.fingerprints import fingerprints
from headstart.data.duplicates.pairs import near_duplicates
from headstart.data.filenames import natural_key
from headstart.data.loading import find_photos
from headstart.data.sampling import choosable
from headstart.data.schema import ImageRef
from headstart.data.sources.given import Data
from headstart.data.sources.unlabelled import Found, find_files, tell_skipped
from headstart.data.stratify import linked, units
from headstart.errors import DataError, OptionError, option
from headstart.evaluation.ood import unit_rows
from headstart.inference.classifier import Classifier
from headstart.inference.device import find_machine
from headstart.reporting.console import console_events
from headstart.runs.images import run_photos
from headstart.training.config import SUGGESTED, SuggestOptions, TrainOptions
from headstart.training.plan import check_overrides
from headstart.workflows.embed.embed import Embedded, embedded, gathered
from headstart.workflows.suggest.groups import look_alikes, newer_than_uncertain
from headstart.workflows.suggest.probe import fit_few, probabilities
from headstart.workflows.suggest.ranking import METHODS, Method, Situation, rank
from headstart.workflows.suggest.result import Suggestion, Suggestions


@typed
def suggest(
    data: Data,
    pool: Any,
    *,
    count: int = SUGGESTED,
    alike: int = 0,
    method: Method = "coverage",
    out: Place | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[SuggestOptions],
) -> Suggestions:
    """Rank unlabelled photos by how much their labels would improve a classifier, from the features of a frozen
    backbone. Duplicates, within the pool and of labelled photos, are set aside.

    Args:
        data: the photos that are labelled already, as for ``train``; or a run: then its train and val photos, its
            network, and its certainty.
        pool: photos without labels, as the files of ``predict``.
        count: how many to suggest.
        alike: photos of the pool to list beside each, at most, that look like it and have its suggested label: a person
            labels them at once.
        method: "coverage" (see ``headstart.workflows.suggest.ranking.coverage``), "margin" (the most uncertain alone)
            or "random".
        out: a CSV to write: path, suggested label, confidence, why, group of look-alikes, copies.
        overwrite: replace a file that is there already.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: see ``headstart.training.config.SuggestOptions``: how the labelled photos are read, the backbone and
            how it is run; with a run, device alone.

    Returns:
        The photos to label next, the most useful first, with their suggested labels.

    Raises:
        DataError: fewer than two classes, no photo that can be read, or a pool without new photos.
        OptionError: an option that is unknown, impossible, or has no use with a run; a file that exists.
        WeightsError: pretrained weights that are missing or do not fit.
        RunError: a run whose photos are gone.
    """
    if count < 1:
        raise OptionError(f"`count={count}` must be at least 1.", option="count")
    if alike < 0:
        raise OptionError(f"`alike={alike}` must not be negative.", "0 lists none.", option="alike")
    if method not in METHODS:
        raise OptionError(f"`method={method!r}` is not one of {', '.join(METHODS)}.", option="method")
    target = check_target(out, overwrite)
    run = _run_of(data, options.get("device") or "auto")
    asked = _gathered(data, run, options)
    if asked.labels == "multi" or (run is not None and run.objective.several):
        raise OptionError(
            "`suggest` is for one class per photo, and these photos have several labels.", option="labels"
        )
    found = find_files(pool, "pool")
    with console_events(quiet, listener) as events:
        tell_skipped(found, events)
        unlabelled = list(found.photos)
        if not unlabelled:
            raise DataError("There are no unlabelled photos.", "Give some in `pool`.")
        photos, labels = _of_run(run) if run is not None else _of_data(asked, events)
        made = embedded(Found([*photos, *unlabelled]), run, asked, events)
        seen = Seen.of(made, [*photos, *unlabelled], labels, events)
        result = _suggested(seen, run, (count, alike), method, events)
        if target is not None:
            result.write(target)
            result = replace(result, out=target)
            events.message(f"Written: {target}")
    return result


def check_target(out: Place | None, overwrite: bool) -> Path | None:
    """Where the table goes. Raises OptionError for what is no CSV, or exists."""
    if out is None:
        return None
    path = Path(out)
    if path.suffix.lower() != ".csv":
        raise OptionError(f"{option('out', repr(str(path)))} is no CSV.", "End it in .csv.", option="out")
    if path.is_dir() or (path.exists() and not overwrite):
        raise taken(path)
    check_writable(path)
    return path


def _run_of(data: Data, device: Device) -> Classifier | None:
    """The classifier, where the data is a run."""
    if isinstance(data, str | os.PathLike) and (Path(data) / "request.json").is_file():
        return Classifier.of(data, device)
    return None


def _gathered(data: Data, run: Classifier | None, options: SuggestOptions) -> TrainOptions:
    """The options, checked. Raises OptionError."""
    if run is not None:
        return gathered(run, options)
    asked = TrainOptions.gather(data, None, options, "suggest", strategy="probe")
    check_overrides(asked.settings)
    find_machine(asked.device)
    return asked


def _of_run(run: Classifier) -> tuple[list[ImageRef], list[str]]:
    photos = sorted(run_photos(Path(run), ("train", "val")), key=lambda photo: natural_key(photo.shown))
    return list(photos), [photo.label for photo in photos]


def _of_data(asked: TrainOptions, events: Events) -> tuple[list[ImageRef], list[str]]:
    """The labelled photos but for those of a test split, which must not decide what is learned from."""
    manifest = find_photos(asked.data, events, options=asked.read_options)
    tell_skipped(manifest, events)
    kept = choosable(manifest, events).photos
    return list(kept), [photo.label for photo in kept]


@dataclass(frozen=True)
class Seen:
    """The readable photos: ``made``: their features; ``photos``; ``labels`` [L]: classes of the first, the labelled
    ones, as indices into ``classes``; ``pool``: indices of those to choose from, no two duplicates; ``copies``: of each
    of them the indices of its duplicates; ``already``: indices of pool photos that are duplicates of labelled ones.
    """

    made: Embedded
    photos: list[ImageRef]
    labels: np.ndarray
    classes: tuple[str, ...]
    unit: list[int]
    pool: np.ndarray
    copies: dict[int, list[int]]
    already: list[int]

    @classmethod
    def of(cls, made: Embedded, photos: Sequence[ImageRef], labels: Sequence[str], events: Events) -> Seen:
        """Find the duplicates. Raises DataError where one class is left, or no photo to choose from."""
        labelled = sum(i < len(labels) for i in made.members)
        own = [labels[i] for i in made.members[:labelled]]
        classes = tuple(sorted(set(own), key=natural_key))
        if len(classes) < 2:
            raise DataError(
                f"The labelled photos that can be read have {plural(len(classes), 'class', 'classes')}.",
                "Label some photos of two classes or more.",
            )
        if labelled == len(made):
            raise DataError("None of the unlabelled photos can be read.", "See the reasons above.")
        unit = _duplicates(made, events)
        known, copies, already = set(unit[:labelled]), dict[int, list[int]](), list[int]()
        first: dict[int, int] = {}
        for i in range(labelled, len(made)):
            if unit[i] in known:
                already.append(i)
            elif unit[i] in first:
                copies[first[unit[i]]].append(i)
            else:
                first[unit[i]], copies[i] = i, []
        if not copies:
            raise DataError("All photos of the pool are labelled already.", "Give new ones in `pool`.")
        index = np.array([classes.index(label) for label in own])
        kept = [photos[i] for i in made.members]
        return cls(made, kept, index, classes, unit, np.array(list(copies)), copies, already)


def _duplicates(made: Embedded, events: Events) -> list[int]:
    """The unit of each photo: duplicates, exact and near, have one."""
    assert made.pixels is not None
    seen = fingerprints(made.pixels, partial(events.progress, "fingerprints"))
    pairs, _ = near_duplicates(seen, made.pixels.digests, made.features)
    return units(made.pixels.digests, linked(len(made), pairs.tolist()))


def _suggested(
    seen: Seen, run: Classifier | None, many: tuple[int, int], method: Method, events: Events
) -> Suggestions:
    """``many``: photos to suggest, and look-alikes of each."""
    labelled, made, (count, alike) = len(seen.labels), seen.made, many
    if already := len(seen.already):
        events.message(f"{plural(already, 'photo')} of the pool: labelled already, left out")
    if count > len(seen.pool):
        there_are = plural(len(seen.pool), "photo")
        events.warning(f"`count={count}`: the pool has {there_are} to choose from; all are listed.")
    x, classes = made.features, seen.classes
    if run is None:
        sure = probabilities(fit_few(x[:labelled], seen.labels, len(classes), seen.unit[:labelled]), x)
    else:
        sure, classes = np.stack([answer.probabilities for answer in run.answers(x)]), run.classes
    there = Situation(x[:labelled], x[seen.pool], sure[:labelled], sure[seen.pool])
    order = rank(there, count, method)
    guess, new = there.pool_sure.argmax(1), newer_than_uncertain(there)
    rows = unit_rows(there.pool - there.every.mean(0))

    def row(i: int, group: int, why: str) -> Suggestion:
        at, label = int(seen.pool[i]), int(guess[i])
        copies = tuple(made.names[j] for j in seen.copies[at])
        sureness = float(there.pool_sure[i, label])
        return Suggestion(made.names[at], classes[label], sureness, why, group, copies, seen.photos[at])

    found = []
    for group, (i, others) in enumerate(zip(order.tolist(), look_alikes(rows, order, guess, alike), strict=True), 1):
        found.append(row(i, group, "new kind" if new[i] else "uncertain"))
        found += [row(j, group, "look-alike") for j in others]
    already_names = tuple(made.names[i] for i in seen.already)
    return Suggestions(tuple(found), method, made.network, labelled, len(seen.pool), already_names, made.bad)
