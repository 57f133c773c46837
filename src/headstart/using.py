"""Using a trained model. In: a run folder and photos. Out: predictions, metrics on other labelled photos, the
architecture in words.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.certainty.conformal import check_coverage
from headstart.classifier import Classifier, Prediction
from headstart.data.imageset import BadFile, Listing, Photo
from headstart.data.names import is_hidden, is_image_name, natural_key, shown
from headstart.data.scan import scan
from headstart.errors import DataError, OptionError
from headstart.evaluation.metrics import evaluate as measure
from headstart.voice import Voice

if TYPE_CHECKING:
    from pandas import DataFrame

SPLITS = ("all", "train", "val", "test")


class Predictions(Iterator[Prediction]):
    """Answers, one at a time, so that memory stays flat whatever the number of photos. ``frame()``, and a notebook that
    shows them, read what is left to the end. ``promise``: what the sets of labels promise, where there are any.
    """

    def __init__(self, answers: Iterator[Prediction], classes: tuple[str, ...], promise: str | None = None) -> None:
        self.answers, self.classes, self.promise = answers, classes, promise

    def __next__(self) -> Prediction:
        return next(self.answers)

    def frame(self) -> DataFrame:
        """A row per photo as a pandas frame, with a column per class."""
        from headstart.notebook import frame

        return frame(
            {
                "path": str(one.path), "label": one.label, "confidence": one.confidence, "problem": one.problem,
                "unknown": one.unknown, "distance": one.distance,
                **({} if self.promise is None else {"labels": one.labels}),
                **dict(zip(self.classes, one.probabilities, strict=False)),
            }
            for one in self
        )  # fmt: skip

    def _repr_html_(self) -> str:
        from headstart.notebook import predictions_html

        shown = list(self)
        self.answers = iter(shown)  # shown again, or gone through, they are still there
        return predictions_html(shown)


def predict(
    run: str | Path, files: Iterable[str | Path], *, coverage: float | None = None, device: str = "auto"
) -> Predictions:
    """Name photos with a trained classifier, one after the other.

    Args:
        run: a run folder. files: photos, folders (read with all below them) and globs. coverage: such as 0.95: also
            the set of labels (``Prediction.labels``) that holds the true class for this part of the photos;
            ``Predictions.promise`` says what exactly that means.

    Raises:
        RunError: no model there, or one that cannot make sets. DataError: a name that matches nothing. OptionError: a
            coverage outside (0, 1).
    """
    if coverage is not None:
        check_coverage(coverage)
    classifier = Classifier.load(run, device)
    promise = None if coverage is None else classifier.known_certainty.promise(coverage)
    return Predictions(classifier.predict(find_files(files), coverage), classifier.classes, promise)


def find_files(files: Iterable[str | Path]) -> list[Path]:
    """The photos that names, folders and globs mean, in the order given, each folder's in natural order. Raises
    DataError.
    """
    found: list[Path] = []
    missing: list[str] = []
    for name in map(str, files):
        path = Path(name)
        if os.path.isdir(path):  # unlike Path.is_dir, no error for a name that no file can have
            inside = _photos_below(path)
            found += inside
            if not inside:
                missing.append(f"{name} (a folder without photos)")
        elif os.path.exists(path):
            found.append(path)
        else:
            matches = sorted((Path(m) for m in glob.glob(name, recursive=True)), key=lambda p: natural_key(str(p)))
            found += [m for m in matches if m.is_file()]
            if not matches:
                missing.append(name)
    if missing:
        raise DataError(
            f"No such photo: {', '.join(missing[:5])}{f' and {len(missing) - 5} more' if len(missing) > 5 else ''}.",
            "Check the spelling.",
        )
    return found


def _photos_below(folder: Path) -> list[Path]:
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not is_hidden(f)]
        found += [Path(here, n) for n in names if is_image_name(n) and not is_hidden(n)]
    return sorted(found, key=lambda p: natural_key(p.as_posix()))


def evaluate(
    run: str | Path, data: str | Path, *, split: str | None = None, device: str = "auto", quiet: bool = False
) -> dict[str, Any]:
    """Measure a trained classifier on labelled photos.

    Args:
        data: as for ``train``. split: "train", "val", "test" or "all"; by default test where the data has one, else
            all.

    Returns:
        The figures of ``metrics.json`` for these photos (see ``headstart.evaluation.metrics.evaluate``), with ``data``,
        ``split`` and ``bad``.

    Raises:
        DataError: a class that the model does not know, or nothing that can be read.
    """
    if split is not None and split not in SPLITS:
        raise OptionError(f"--split {split!r} is not one of {', '.join(SPLITS)}.")
    classifier = Classifier.load(run, device)
    listing = scan(data, for_training=False)
    photos, chosen = _chosen(listing, split)
    index = _class_index(photos, classifier, listing)
    rows, far, labels, bad = [], [], [], []
    with Voice(quiet) as voice:
        for done, (photo, (path, read, answer)) in enumerate(
            zip(photos, classifier.stream([q.path for q in photos]), strict=True), 1
        ):
            voice.progress("reading photos", done, len(photos))
            if answer is None:
                bad.append(BadFile(path, str(read.problem)))
            else:
                rows.append(answer.probabilities)
                far.append(answer.distance)
                labels.append(index[photo.label])
    if not rows:
        raise DataError(
            f"None of the {len(photos)} photos in {listing.name} can be read.",
            f"The first: {bad[0].path}: {bad[0].reason}.",
        )
    figures = measure(np.stack(rows), np.array(labels), classifier.classes)
    if classifier.certainty is not None:
        figures["certainty"] = classifier.certainty.measured(far, np.stack(rows), np.array(labels))
    named_bad = [{"path": shown(b.path, listing.root), "reason": b.reason} for b in (*listing.skipped, *bad)]
    return {"data": listing.name, "split": chosen, "classes": list(classifier.classes), **figures, "bad": named_bad}


def _chosen(listing: Listing, split: str | None) -> tuple[list[Photo], str]:
    given = {photo.split for photo in listing.photos}
    chosen = split or ("test" if "test" in given else "all")
    photos = [photo for photo in listing.photos if chosen == "all" or photo.split == chosen]
    if not photos:
        raise DataError(
            f"{listing.name} has no {chosen} split.",
            f"It has: {', '.join(sorted(str(s) for s in given if s)) or 'no splits'}.",
        )
    return photos, chosen


def _class_index(photos: list[Photo], classifier: Classifier, listing: Listing) -> dict[str, int]:
    index = {label: i for i, label in enumerate(classifier.classes)}
    unknown = sorted({photo.label for photo in photos} - index.keys(), key=natural_key)
    if unknown:
        raise DataError(
            f"{listing.name} has classes that the model does not know: {', '.join(unknown[:5])}.",
            f"The model knows: {', '.join(classifier.classes[:20])}.",
        )
    return index


def describe(run: str | Path) -> str:
    """The architecture of a run's network, printed, with a table of its stages. Raises RunError."""
    from headstart.backbone.describe import describe as in_words
    from headstart.runfolder import RunFolder

    classifier = Classifier.load(run, "cpu")
    plan = RunFolder(Path(run)).read_json("plan.json")
    return in_words(classifier.network.backbone, classifier.network.head, plan["boundary"])
