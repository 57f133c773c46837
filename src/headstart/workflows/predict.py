"""``predict``, ``evaluate`` and ``describe``: the uses of a trained model."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np

from headstart.core.arguments import Device, typed
from headstart.core.events import Events, Listener
from headstart.core.lengths import seconds_of
from headstart.core.paths import Place
from headstart.core.text import elided, plural
from headstart.data.copies import Copies
from headstart.data.filenames import natural_key, shown
from headstart.data.label_sets import label_columns
from headstart.data.schema import BadFile, Manifest, Photo
from headstart.data.sources.detect import scan
from headstart.data.sources.given import Data
from headstart.data.sources.unlabelled import find_files
from headstart.data.split_table import read_splits
from headstart.errors import DataError, OptionError, RunError
from headstart.evaluation.conformal import check_coverage
from headstart.inference.answers import Answer
from headstart.inference.classifier import Classifier, Model, Prediction
from headstart.inference.uses import EVERY
from headstart.reporting.console import console_events
from headstart.reporting.notebook import MOST, frame, html, photo_tile
from headstart.training.config import DataOptions, TrainOptions

if TYPE_CHECKING:
    from pandas import DataFrame


SPLITS = ("all", "train", "val", "test")


class Predictions(Iterator[Prediction]):
    """Predictions, computed one at a time, so that memory use does not grow with the number of photos. ``frame()`` and
    a notebook's display compute all the rest. ``promise``: what the prediction sets guarantee, if there are any.
    ``skipped``: files beside the photos that are none; ``notes``: what else to know of what was found. ``total``: the
    number of photos, where it is known; ``copies``: where they are sorted into, if they are; ``several``: whether a
    photo has any number of labels.
    """

    def __init__(
        self, found: Iterator[Prediction], classes: tuple[str, ...], promise: str | None = None,
        skipped: Sequence[BadFile] = (), notes: Sequence[str] = (), total: int | None = None,
        copies: Copies | None = None, several: bool = False,
    ) -> None:  # fmt: skip
        self.several = several
        self.found, self.classes, self.promise, self.skipped, self.notes = found, classes, promise, skipped, notes
        self.total, self.copies = total, copies

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of each class's probability: its name, or ``p(name)`` where a table has another such column."""
        return probability_columns(self.classes)

    def __next__(self) -> Prediction:
        one = next(self.found)
        if self.copies is not None and one.problem is None and one.photo is not None:
            self.copies.add(one.photo, None if one.unknown else one.label)
        return one

    def frame(self) -> DataFrame:
        """A row per photo as a pandas frame, with a column per class."""
        return frame(
            {
                "path": one.name, "label": one.label, "confidence": one.confidence, "problem": one.problem,
                "unknown": one.unknown, "distance": one.distance,
                **({"labels": one.labels} if self.several or self.promise is not None else {}),
                **dict(zip(self.columns, one.probabilities, strict=False)),
            }
            for one in self
        )  # fmt: skip

    def _repr_html_(self) -> str:
        found, tiles = list(self), []
        self.found, self.copies = iter(found), None  # so that they can be shown or iterated again
        for one in found[:MOST]:
            text = html(
                one.problem or f"{one.label or 'no label'} {one.confidence:.3f}{' unknown?' if one.unknown else ''}"
            )
            tiles.append(
                photo_tile(
                    one.photo or one.path, f"{text}<br><span style='opacity:.6'>{html(Path(one.name).name)}</span>"
                )
            )
        more = f"<p>… and {len(found) - MOST} more</p>" if len(found) > MOST else ""
        return f"<div>{''.join(tiles)}</div>{more}"


COLUMNS = ("path", "label", "confidence", "problem", "unknown", "distance", "labels")
"""Of predictions as a table, beside those of the classes."""


def probability_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """A column per class, each of another name than any other column."""
    return label_columns(classes, COLUMNS)


@typed
def predict(
    run: Model,
    files: Any,
    *,
    coverage: float | None = None,
    sort_into: Place | None = None,
    every: str | float = EVERY,
    device: Device = "auto",
) -> Predictions:
    """Classify photos, one after the other.

    Args:
        run: a run folder, a model on the hub (``"hf:owner/name"``), what ``train`` returned, or its classifier.
        files: a photo or several: paths, folders (read with all below them, as ``train`` reads them), globs, archives,
            a table with a column of paths, ``"-"`` for paths from standard input; PIL images, and arrays
            [height, width, 3] of uint8 (RGB).
        coverage: such as 0.95: also a prediction set (``Prediction.labels``) that contains the true class for this
            share of the photos; ``Predictions.promise`` says what exactly that means.
        sort_into: a folder: each photo is copied to the folder of its class in it as it is predicted, those unlike the
            training photos to ``_unknown``. Nothing is moved or overwritten (see ``headstart.data.copies``).
        every: of a video that is named, the time from frame to frame: seconds, or text such as ``"0.5s"`` (needs PyAV).
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Returns:
        An iterator of ``Prediction``, in the order of the files; an unreadable photo has a ``problem`` and no label. Of
        a model for any number of labels, ``labels`` has those whose probability reaches their threshold.

    Raises:
        RunError: no model there, or one that cannot make prediction sets; a copy that cannot be written.
        DataError: a name that matches nothing.
        OptionError: a coverage outside (0, 1); coverage or ``sort_into`` with a model for any number of labels.
    """
    classifier, promise = opened(run, device, coverage, sort_into=sort_into)
    seconds = seconds_of(every, "every")
    found = find_files(files, every=seconds)
    predicted = classifier.predictions(found.photos, coverage)
    copies = None if sort_into is None else Copies(Path(sort_into), classifier.classes)
    total = len(found.photos) if isinstance(found.photos, list) else None
    several = classifier.objective.several
    return Predictions(predicted, classifier.classes, promise, found.skipped, found.notes, total, copies, several)


def opened(run: Model, device: Device, coverage: float | None, **others: Any) -> tuple[Classifier, str | None]:
    """The classifier, and what its prediction sets guarantee, where a coverage is asked for. ``others``: options that
    presume one class per photo, too. Raises RunError, OptionError.
    """
    if coverage is not None:
        check_coverage(coverage)
    classifier = Classifier.of(run, device)
    classifier.refuse_several(coverage=coverage, **others)
    return classifier, None if coverage is None else classifier.known_uncertainty.promise(coverage)


@typed
def evaluate(
    run: Model,
    data: Data,
    *,
    split: Literal["train", "val", "test", "all"] | None = None,
    device: Device = "auto",
    quiet: bool = False,
    listener: Listener | None = None,
    **options: Unpack[DataOptions],
) -> dict[str, Any]:
    """Evaluate a trained classifier on labelled photos.

    Args:
        run: a run folder, a model on the hub (``"hf:owner/name"``), what ``train`` returned, or its classifier.
        data: as for ``train``.
        split: which of the data's own splits; by default test where there is one, else all.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.
        **options: see ``headstart.training.config.DataOptions``: what is left out of the data, how a table is read.

    Returns:
        The figures of ``metrics.json`` for these photos (see ``headstart.evaluation.metrics.evaluate``, and for any
        number of labels ``headstart.evaluation.multilabel_metrics.evaluate_labels``), with ``data``, ``split`` and
        ``bad``; and with ``learned``, how many of the photos the run was trained on (``train``) or chose by (``val``),
        where there are such.

    Raises:
        DataError: a class that the model does not know, or nothing that can be read.
        RunError: no model there.
    """
    if split is not None and split not in SPLITS:
        raise OptionError(f"`split={split!r}` is not one of {', '.join(SPLITS)}.", option="split")
    classifier = Classifier.of(run, device)
    objective = classifier.objective
    asked = TrainOptions.gather(data, None, options, "evaluate", **({"labels": "multi"} if objective.several else {}))
    manifest = scan(asked.data, for_training=False, options=asked.read_options)
    photos, chosen = _chosen(manifest, split)
    _refuse_unknown({label for photo in photos for label in manifest.labels_of(photo)}, manifest, classifier)
    with console_events(quiet, listener) as events:
        found, photos_read, digests, bad = _predicted(classifier, photos, events)
        learned = _learned(run, digests)
        if words := " and ".join(f"{count} {_LEARNED[part]}" for part, count in learned.items()):
            events.warning(f"Of these {plural(len(found), 'photo')} {words}: the figures are too good.")
    if not found:
        first = f"The first: {bad[0].path}: {bad[0].reason}."
        raise DataError(f"None of the {len(photos)} photos in {manifest.name} can be read.", first)
    index = {label: i for i, label in enumerate(classifier.classes)}
    labels = [[index[label] for label in manifest.labels_of(photo)] for photo in photos_read]
    true = objective.targets(labels if objective.several else [own[0] for own in labels], len(classifier.classes))
    probabilities = np.stack([one.probabilities for one in found])
    figures = objective.metrics(probabilities, true, classifier.classes)
    if classifier.certainty is not None:
        figures["certainty"] = classifier.certainty.measured([one.distance for one in found], probabilities, true)
    named_bad = [{"path": shown(b.path, manifest.root), "reason": b.reason} for b in (*manifest.skipped, *bad)]
    told = {"learned": learned} if learned else {}
    return {
        "data": manifest.name,
        "split": chosen,
        "classes": list(classifier.classes),
        **figures,
        "bad": named_bad,
        **told,
    }


def _predicted(
    classifier: Classifier, photos: Sequence[Photo], events: Events
) -> tuple[list[Answer], list[Photo], list[str], list[BadFile]]:
    """(answers, the photos of these, the digests of their files, what cannot be read)."""
    found, good, digests, bad = list[Answer](), list[Photo](), list[str](), list[BadFile]()
    for done, (photo, read, prediction) in enumerate(classifier.stream(photos), 1):
        events.progress("reading photos", done, len(photos))
        if prediction is None:
            bad.append(BadFile(photo.path, str(read.problem)))
        else:
            found.append(prediction)
            good.append(photo)
            digests.append(str(read.digest))
    return found, good, digests, bad


def _refuse_unknown(labels: set[str], manifest: Manifest, classifier: Classifier) -> None:
    """Raise DataError for labels that are no class of the model."""
    if unknown := sorted(labels - set(classifier.classes), key=natural_key):
        raise DataError(
            f"{manifest.name} has classes that the model does not know: {', '.join(map(elided, unknown[:5]))}.",
            f"The model knows: {', '.join(map(elided, classifier.classes[:20]))}.",
        )


_LEARNED = {"train": "were trained on", "val": "were used for choices"}


def _learned(run: Model, digests: Sequence[str]) -> dict[str, int]:
    """How many of the photos are in the run's own train and val, where it names them and has some of these."""
    try:
        table = Path(os.fspath(run)) / "splits.csv"
        own = {row.digest: row.split for row in read_splits(table)} if table.is_file() else {}
    except RunError:  # a classifier in memory, a table that somebody edited
        return {}
    counts = Counter(str(own.get(digest)) for digest in digests)
    return {part: counts[part] for part in _LEARNED if counts[part]}


def _chosen(manifest: Manifest, split: str | None) -> tuple[list[Photo], str]:
    given = {photo.split for photo in manifest.photos}
    chosen = split or ("test" if "test" in given else "all")
    photos = [photo for photo in manifest.photos if chosen == "all" or photo.split == chosen]
    if not photos:
        splits = ", ".join(sorted(str(s) for s in given if s)) or "no splits"
        hint = f"It has: {splits}. `split='all'` takes every photo; a run's own splits are in its splits.csv."
        raise DataError(f"{manifest.name} has no {chosen} split.", hint)
    return photos, chosen


@typed
def describe(run: Model) -> str:
    """Describe the architecture of a run's network.

    Args:
        run: a run folder, what ``train`` returned, or its classifier.

    Returns:
        Its modules as PyTorch prints them, and a table of its stages.

    Raises:
        RunError: no run there.
    """
    from headstart.models.summary import describe as in_words
    from headstart.runs.figures import read_plan

    classifier = Classifier.apart(run)
    return in_words(classifier.network.backbone, classifier.network.head, read_plan(Path(run)).boundary)
