"""``export``: a run's classifier as one file that runs without headstart, checked against it on real photos.

A JSON file beside it says the same as its metadata.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np

from headstart.core.arguments import typed
from headstart.core.events import Events, Listener
from headstart.core.files import work_folder, write_json
from headstart.core.paths import Place
from headstart.core.ranges import Ranges
from headstart.core.text import joined
from headstart.data.images import full_size
from headstart.data.label_sets import labels_in
from headstart.data.schema import ImageRef
from headstart.data.sources.unlabelled import find_files, tell_skipped
from headstart.errors import DataError, HeadstartError, OptionError, RunError, option
from headstart.evaluation.objective import MULTICLASS, Objective
from headstart.inference.classifier import Classifier, Model, name_of, name_of_run
from headstart.inference.device import Machine, find_machine
from headstart.reporting.console import console_events
from headstart.runs.figures import short_figures
from headstart.runs.folder import record
from headstart.runs.images import RunPhoto, evenly, run_photos
from headstart.workflows.export.files import move, put, target
from headstart.workflows.export.formats import EXPORTERS, INPUT, Exporter
from headstart.workflows.export.graph import WholeClassifier
from headstart.workflows.export.quantize import CALIBRATION

CALL_PHOTOS = "Name some with `photos`."
CHECKED = 500
"""Photos that a file is checked on, at most."""
LEAST_SAME = 0.995
"""Share of the photos that must get the same class, or lie between two classes."""
UNDECIDED = 0.02
"""Lead of the first class over the second below which a photo lies between two: rounding may decide it."""


@dataclass(frozen=True)
class Parity:
    """``same`` of ``photos`` get the class that the classifier predicts; ``undecided`` of the others lie between two.
    ``largest``: the largest difference of a probability. ``ms``: median time of the file for one photo.
    """

    photos: int
    same: int
    undecided: int
    largest: float
    ms: float

    @property
    def good(self) -> bool:
        return self.photos > 0 and self.same + self.undecided >= LEAST_SAME * self.photos

    def __str__(self) -> str:
        between = f" ({self.undecided} of the others lie between two classes)" if self.undecided else ""
        return (
            f"the same class as the classifier for {self.same} of {self.photos} photos{between}, largest difference of"
            f" a probability {self.largest:.2g}"
        )


class LabelParity(Parity):
    """Likewise for any number of labels: ``same`` photos get the same labels; those of ``undecided`` others that
    differ are as near to their threshold.
    """

    def __str__(self) -> str:
        between = f" ({self.undecided} of the others are at a threshold)" if self.undecided else ""
        return (
            f"the same labels as the classifier for {self.same} of {self.photos} photos{between}, largest difference of"
            f" a probability {self.largest:.2g}"
        )


def compare(wanted: np.ndarray, found: np.ndarray, ms: float, objective: Objective = MULTICLASS) -> Parity:
    """Compare the classifier's probabilities [N, C] with a file's."""
    largest = float(abs(wanted - found).max())
    if objective.several:
        ours, theirs = objective.decide(wanted), objective.decide(found)
        # Where a label differs, its threshold lies between the two.
        near = ((ours == theirs) | (abs(wanted - found) < UNDECIDED / 2)).all(1)
        equal = (ours == theirs).all(1)
        return LabelParity(len(equal), int(equal.sum()), int((near & ~equal).sum()), largest, ms)
    same = wanted.argmax(1) == found.argmax(1)
    ordered = np.sort(wanted, axis=1)
    close = ordered[:, -1] - ordered[:, -2] < UNDECIDED
    return Parity(len(same), int(same.sum()), int((close & ~same).sum()), largest, ms)


@dataclass(frozen=True)
class Exported:
    """``path``: the file; ``parity``: its comparison with the classifier; ``int8``: size, ms and accuracy before and
    after quantization.
    """

    path: Path
    format: str
    bytes: int
    parity: Parity
    int8: dict[str, Any] | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {**asdict(self), "path": str(self.path)}

    @property
    def text(self) -> str:
        """The result as lines."""
        lines = [f"{self.path}: {self.bytes / 1e6:.1f} MB, {self.parity.ms:.1f} ms per photo", f"  {self.parity}"]
        if self.int8:
            was, now = self.int8["before"], self.int8["after"]
            words = f"  int8: {was['bytes'] / 1e6:.1f} to {now['bytes'] / 1e6:.1f} MB"
            words += f", {was['ms']:.1f} to {now['ms']:.1f} ms"
            if now["accuracy"] is not None:
                words += f", accuracy {was['accuracy']:.4f} to {now['accuracy']:.4f}"
            lines.append(words)
        return joined(lines)


@typed
def export(
    run: Model,
    *,
    format: Literal["onnx", "torch", "openvino", "web", "litert", "executorch"] = "onnx",
    out: Place | None = None,
    int8: bool = False,
    photos: Any = (),
    web_runtime: Place | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    listener: Listener | None = None,
) -> Exported:
    """Write the whole classifier, preprocessing included, as one file, or as a folder for a web server.

    Args:
        run: as for ``predict``.
        format: "onnx", "torch" (torch.export), "openvino", "litert" (formerly TensorFlow Lite), "executorch", or
            "web": a folder with a page that predicts in the browser.
        out: the file or folder; by default ``model.onnx`` and so on in the run folder.
        int8: quantize to 8 bits after training, calibrated on training photos.
        photos: photos to check the file on, as the files of ``predict``; by default the run's own val and test photos.
        web_runtime: where onnxruntime-web is, for "web": its npm package as a folder or ``.tgz``; by default it is
            downloaded once (14 MB).
        overwrite: replace what an earlier export wrote.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.

    Returns:
        The file, its size, and how its predictions compare with the classifier's.

    Raises:
        OptionError: an unknown format, a package that is not installed, a file that exists.
        DataError: no photo to check on.
        DownloadError: onnxruntime-web cannot be fetched.
        RunError: no model there, or a file whose predictions differ from the classifier's; nothing is left of it.
    """
    form = EXPORTERS.get(format)
    if int8 and form.quantise is None:
        able = " or ".join(option("format", repr(form.name)) for form in EXPORTERS if form.quantise)
        raise OptionError(f"{option('int8')} goes with {able}, not with {format}.", "Leave it out.", option="int8")
    if web_runtime is not None and form.ready is None:
        problem = f"{option('web_runtime')} goes with {option('format', repr('web'))}, not with {format}."
        raise OptionError(problem, "Leave it out.", option="web_runtime")
    form.check(int8)
    machine = find_machine("cpu")  # in float32, as the files compute
    exact = Machine(machine.device, False, machine.words)
    classifier = replace(Classifier.apart(run), precision="float32").to(exact)
    path = target(run, form, out, int8, overwrite)
    given = find_files(() if photos is None else photos, "photos")
    chosen = list(given.photos) or _own_photos(run)
    if not chosen:
        raise DataError(f"{name_of_run(run)} has no val or test photos to check the file on.", CALL_PHOTOS)
    facts = _facts(run, classifier)
    graph = WholeClassifier(classifier.network, classifier.preprocessing, classifier.objective, classifier.certainty)
    with console_events(quiet, listener) as events:
        tell_skipped(given, events)
        if form.ready is not None:
            form = form.ready(None if web_runtime is None else Path(web_runtime), events)
        events.message(f"Writing {path} …")
        # Hidden: after a kill it must not pass for a file of the user's, which keeps a run from being replaced.
        with work_folder(path.parent) as folder:
            draft = folder / path.name
            form.write(graph, draft, facts)
            exported = replace(_checked(run, classifier, form, draft, chosen, int8, events), path=path)
            write_json(form.about(draft), {**facts, "checked": asdict(exported.parity)})
            record(put(form, draft, path))
    return exported


def _own_photos(run: Model) -> list[RunPhoto]:
    """The run's own val and test photos; after folds without a test split, all of them. Raises DataError, with what to
    do, where they are gone.
    """
    try:
        return evenly(run_photos(Path(run), ("val", "test")) or run_photos(Path(run), ("train",)), CHECKED)
    except HeadstartError as error:
        raise DataError(f"The photos to check the file on are not there: {error.problem}", CALL_PHOTOS) from None


def _facts(run: Model, classifier: Classifier) -> dict[str, Any]:
    """The metadata of a file."""
    described = classifier.public_description()
    return {
        "name": PurePath(name_of_run(run)).name,
        "classes": described["classes"],
        "input": INPUT + _scaling(classifier),
        "output": f"probabilities: float32 [photos, classes], in the order of the classes{_deciding(classifier)}",
        **{
            name: described[name]
            for name in ("preprocessing", "architecture", "provenance", "labels")
            if name in described
        },
        "figures": short_figures(run),
    }


def _deciding(classifier: Classifier) -> str:
    """What the caller has to know to decide, where a photo has any number of labels."""
    rule = "; each class is a label of its own: a photo has those whose probability is labels.thresholds or more"
    return rule if classifier.objective.several else ""


def _scaling(classifier: Classifier) -> str:
    """What the caller has to do with photos of more than 8 bits, if the model was trained on such."""
    ranges = (classifier.preprocessing.ranges or Ranges())._asdict().items()
    told = [f"of {name} v, round(255 * (v - {pair[0]:g}) / {pair[1] - pair[0]:g})" for name, pair in ranges if pair]
    return f"; of more than 8 bits, scaled before that: {', '.join(told)}, within 0 and 255" if told else ""


def _checked(
    run: Model, classifier: Classifier, form: Exporter, draft: Path, photos: Sequence[ImageRef],
    int8: bool, events: Events,
) -> Exported:  # fmt: skip
    """Compare the draft with the classifier, and quantize it where ``int8`` asks for that."""
    predicted = [(photo, answer.probabilities) for photo, _, answer in classifier.stream(photos) if answer is not None]
    if not predicted:
        raise DataError(
            f"None of the {len(photos)} photos to check the file on can be read.", f"First: {name_of(photos[0])}"
        )
    good = [photo for photo, _ in predicted]
    wanted = np.array([probabilities for _, probabilities in predicted])
    targets = _targets(classifier, good)
    parity, before = _measured(form, draft, good, classifier, wanted, targets, events)
    if not parity.good:
        raise RunError(
            f"The file's predictions differ from those of {name_of_run(run)}: {parity}.",
            "This is a defect; nothing was written.",
        )
    if not int8:
        return Exported(draft, form.name, before["bytes"], parity)
    events.message("Quantizing …")
    try:
        calibration: Sequence[ImageRef] = evenly(run_photos(Path(run), ("train",)), CALIBRATION)
    except HeadstartError as error:
        events.warning(
            f"{error.problem} It is calibrated on photos that it is checked on: its accuracy may be optimistic."
        )
        calibration = good[:CALIBRATION]
    wide = draft.with_name(f"wide.{draft.name}")
    move(form, draft, wide)
    assert form.quantise is not None
    form.quantise(wide, draft, calibration, classifier.preprocessing.ranges)
    parity, after = _measured(form, draft, good, classifier, wanted, targets, events)
    return Exported(draft, form.name, after["bytes"], parity, {"before": before, "after": after})


def _targets(classifier: Classifier, photos: Sequence[ImageRef]) -> np.ndarray | None:
    """The classes of the photos, where they are a run's own."""
    several, classes = classifier.objective.several, classifier.classes
    texts = [photo.label for photo in photos if isinstance(photo, RunPhoto)]
    if len(texts) < len(photos):
        return None
    own = [[classes.index(label) for label in labels_in(text, several)] for text in texts]
    return classifier.objective.targets(own if several else [one for (one,) in own], len(classes))


def _measured(
    form: Exporter, draft: Path, photos: Sequence[ImageRef], classifier: Classifier, wanted: np.ndarray,
    targets: np.ndarray | None, events: Events,
) -> tuple[Parity, dict[str, Any]]:  # fmt: skip
    """(comparison with the classifier, size, time and accuracy) on photos that are decoded in full, one at a time; no
    accuracy where the labels are not known.
    """
    runner, rows, seconds = form.open(draft), [], []
    for done, photo in enumerate(photos, 1):
        pixels = full_size(photo, classifier.preprocessing.ranges)
        began = time.perf_counter()
        rows.append(runner(pixels[None])[0])
        seconds.append(time.perf_counter() - began)
        events.progress("checking", done, len(photos))
    found, ms = np.stack(rows), 1000 * float(np.median(seconds))
    accuracy = None
    if targets is not None:
        right = classifier.objective.decide(found) == targets
        accuracy = float((right.all(1) if right.ndim == 2 else right).mean())
    return compare(wanted, found, ms, classifier.objective), {"bytes": form.size(draft), "ms": ms, "accuracy": accuracy}
