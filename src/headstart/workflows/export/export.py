"""``export``: a run's classifier as one file that runs without headstart, checked against it on real photos.

A JSON file beside it says the same as its metadata.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headstart.core.events import Events, Listener
from headstart.core.files import write_json
from headstart.data.schema import ImageRef
from headstart.data.sources.unlabelled import find_files
from headstart.errors import DataError, HeadstartError, OptionError, RunError, option
from headstart.inference.classifier import Classifier
from headstart.inference.device import Machine, find_machine
from headstart.reporting.console import console_events
from headstart.runs.folder import record
from headstart.runs.images import RunPhoto, evenly, run_photos
from headstart.workflows.export.formats import EXPORTERS, Exporter
from headstart.workflows.export.graph import WholeClassifier
from headstart.workflows.export.parity import Parity, compare, expected, outputs
from headstart.workflows.export.quantize import CALIBRATION

CALL_PHOTOS = "Name some with `photos`."
CHECKED = 500
"""Photos that a file is checked on, where there are so many."""


@dataclass(frozen=True)
class Exported:
    """``path``: the file; ``parity``: how it compares with the classifier; ``int8``: what eight bits changed."""

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
        """In words."""
        lines = [f"{self.path}: {self.bytes / 1e6:.1f} MB, {self.parity.ms:.1f} ms per photo", f"  {self.parity}"]
        if self.int8:
            was, now = self.int8["before"], self.int8["after"]
            words = f"  int8: {was['bytes'] / 1e6:.1f} to {now['bytes'] / 1e6:.1f} MB"
            words += f", {was['ms']:.1f} to {now['ms']:.1f} ms"
            accuracy = "" if now["accuracy"] is None else f", accuracy {was['accuracy']:.4f} to {now['accuracy']:.4f}"
            lines.append(words + accuracy)
        return "\n".join(lines)


def export(
    run: str | Path,
    *,
    format: Literal["onnx", "torch", "openvino"] = "onnx",
    out: str | Path | None = None,
    int8: bool = False,
    photos: Sequence[str | Path] = (),
    overwrite: bool = False,
    quiet: bool = False,
    listener: Listener | None = None,
) -> Exported:
    """Write the whole classifier, preprocessing included, as one file.

    Args:
        run: the run folder.
        format: "onnx", "torch" (torch.export) or "openvino".
        out: the file; by default ``model.onnx`` and so on in the run folder.
        int8: quantize to 8 bits after training, calibrated on training photos.
        photos: photos, folders and globs to check the file on; by default the run's own val and test photos.
        overwrite: replace a file that is there already.
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.

    Returns:
        The file, its size, and how its predictions compare with the classifier's.

    Raises:
        OptionError: an unknown format, a package that is not installed, a file that exists.
        DataError: no photo to check on.
        RunError: no model there, or a file whose predictions differ from the classifier's; nothing is left of it.
    """
    form = _exporter(format, int8)
    classifier = _exact(Classifier.load(run, "cpu"))
    path = _target(Path(run), form, out, int8, overwrite)
    chosen = find_files(photos) if photos else _own_photos(Path(run))
    if not chosen:
        raise DataError(f"{run} has no val or test photos to check the file on.", CALL_PHOTOS)
    beside = path.with_name(path.name + ".json")
    with console_events(quiet, listener) as events:
        events.message(f"Writing {path} …")
        draft = path.with_name(f".draft.{path.name}")
        try:
            exported = _checked(Path(run), classifier, form, draft, chosen, int8, events)
            for made, place in zip(form.files(draft), form.files(path), strict=True):
                os.replace(made, place)
        finally:
            for made in form.files(draft):
                made.unlink(missing_ok=True)
        exported = replace(exported, path=path)
        write_json(beside, {**_facts(classifier), "checked": asdict(exported.parity)})
        record([*form.files(path), beside])
    return exported


def _own_photos(run: Path) -> list[RunPhoto]:
    """The run's own val and test photos. Raises DataError, with what to do, where they are gone."""
    try:
        return evenly(run_photos(run, ("val", "test")), CHECKED)
    except HeadstartError as error:
        raise DataError(f"The photos to check the file on are not there: {error.problem}", CALL_PHOTOS) from None


def _exporter(name: str, int8: bool) -> Exporter:
    form = EXPORTERS.get(name)
    if int8 and form.quantise is None:
        able = " or ".join(option("format", repr(form.name)) for form in EXPORTERS if form.quantise)
        raise OptionError(f"{option('int8')} goes with {able}, not with {name}.", "Leave it out.", option="int8")
    form.check(int8)
    return form


def _target(run: Path, form: Exporter, out: str | Path | None, int8: bool, overwrite: bool) -> Path:
    path = Path(out) if out else run / f"model{'.int8' if int8 else ''}{form.suffix}"
    asked = option("out", repr(str(path)))
    if path.suffix != form.suffix:
        raise OptionError(f"{asked}: a file of format {form.name} ends in {form.suffix}.", "Name it so.", option="out")
    if not path.parent.is_dir():
        raise OptionError(f"{asked}: there is no folder {path.parent}.", "Make it first.", option="out")
    if path.exists() and not overwrite:
        raise OptionError(f"{path} exists.", "Use `overwrite=True` to replace it, or name another file with `out`.")
    return path


def _exact(classifier: Classifier) -> Classifier:
    """The classifier in float32, which the files compute in."""
    machine = find_machine("cpu")
    return replace(classifier, precision="float32").to(Machine(machine.device, False, machine.words))


def _facts(classifier: Classifier) -> dict[str, Any]:
    """The metadata of a file."""
    described = classifier.public_description()
    return {
        "classes": described["classes"],
        "input": "images: uint8 RGB photos of any one size [photos, height, width, 3], upright",
        "output": "probabilities: float32 [photos, classes], in the order of the classes",
        "preprocessing": described["preprocessing"],
        "architecture": described["architecture"],
        "provenance": described["provenance"],
    }


def _checked(
    run: Path, classifier: Classifier, form: Exporter, draft: Path, photos: Sequence[Path | RunPhoto],
    int8: bool, events: Events,
) -> Exported:  # fmt: skip
    form.write(WholeClassifier(classifier.network, classifier.preprocessing), draft, _facts(classifier))
    good, wanted = expected(classifier, photos)
    if not good:
        raise DataError(f"None of the {len(photos)} photos to check the file on can be read.", f"First: {photos[0]}")
    labels = [classifier.classes.index(photo.label) for photo in good if isinstance(photo, RunPhoto)]
    before = _measured(form, draft, good, wanted, labels, events)
    if not before[0].good:
        raise RunError(
            f"The file's predictions differ from those of {run}: {before[0]}.", "This is a defect; nothing was written."
        )
    if not int8:
        return Exported(draft, form.name, before[1]["bytes"], before[0])
    events.message("Quantising …")
    _quantise(form, draft, _calibration(run, good, events))
    after = _measured(form, draft, good, wanted, labels, events)
    return Exported(draft, form.name, after[1]["bytes"], after[0], {"before": before[1], "after": after[1]})


def _measured(
    form: Exporter, draft: Path, good: Sequence[ImageRef], wanted: np.ndarray, labels: list[int], events: Events
) -> tuple[Parity, dict[str, Any]]:
    """(comparison with the classifier, size, time and accuracy); no accuracy where the labels are not known."""
    table, ms = outputs(form.open(draft), good, lambda done, total: events.progress("checking", done, total))
    size = sum(file.stat().st_size for file in form.files(draft) if file.exists())
    accuracy = float((table.argmax(1) == np.array(labels)).mean()) if labels else None
    return compare(wanted, table, ms), {"bytes": size, "ms": ms, "accuracy": accuracy}


def _calibration(run: Path, checked: Sequence[ImageRef], events: Events) -> Sequence[ImageRef]:
    """Training photos, or, with a warning, some of those that the file is checked on."""
    try:
        return evenly(run_photos(run, ("train",)), CALIBRATION)
    except HeadstartError as error:
        events.warning(
            f"{error.problem} It is calibrated on photos that it is checked on: its accuracy may be optimistic."
        )
        return checked[:CALIBRATION]


def _quantise(form: Exporter, draft: Path, photos: Sequence[ImageRef]) -> None:
    assert form.quantise is not None
    wide = draft.with_name(f".wide{draft.name}")
    try:
        for made, kept in zip(form.files(draft), form.files(wide), strict=True):
            os.replace(made, kept)
        form.quantise(wide, draft, photos)
    finally:
        for kept in form.files(wide):
            kept.unlink(missing_ok=True)
