"""``export``: a run's classifier as one file that runs without headstart. In: a run, a format. Out: the file, checked
on real photos against the classifier, and a JSON file beside it that says the same as its metadata.
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
from headstart.data.sources.unlabelled import find_files
from headstart.errors import DataError, HeadstartError, OptionError, RunError, did_you_mean
from headstart.inference.classifier import Classifier
from headstart.inference.device import Machine, find_machine
from headstart.reporting.console import console_events
from headstart.runs.images import RunPhoto, evenly, run_photos
from headstart.workflows.export.formats import FORMATS, Format
from headstart.workflows.export.graph import WholeClassifier
from headstart.workflows.export.parity import Parity, answers, compare, expected
from headstart.workflows.export.quantize import CALIBRATION

CALL_PHOTOS = "Name some: --photos FOLDER"
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
            right = "" if now["accuracy"] is None else f", accuracy {was['accuracy']:.4f} to {now['accuracy']:.4f}"
            lines.append(words + right)
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
    form = _format(format, int8)
    classifier = _exact(Classifier.load(run, "cpu"))
    path = _target(Path(run), form, out, int8, overwrite)
    labelled = [] if photos else _judged(Path(run))
    paths = find_files(photos) if photos else [photo.path for photo in labelled]
    if not paths:
        raise DataError(f"{run} has no val or test photos to check the file on.", CALL_PHOTOS)
    with console_events(quiet, listener) as events:
        events.message(f"Writing {path} …")
        draft = path.with_name(f".draft.{path.name}")
        try:
            exported = _checked(Path(run), classifier, form, draft, paths, labelled, int8, events)
            for made, place in zip(form.files(draft), form.files(path), strict=True):
                os.replace(made, place)
        finally:
            for made in form.files(draft):
                made.unlink(missing_ok=True)
        exported = replace(exported, path=path)
        write_json(path.with_name(path.name + ".json"), {**_facts(classifier), "checked": asdict(exported.parity)})
    return exported


def _judged(run: Path) -> list[RunPhoto]:
    """The run's own val and test photos. Raises DataError, with what to do, where they are gone."""
    try:
        return evenly(run_photos(run, ("val", "test")), CHECKED)
    except HeadstartError as error:
        raise DataError(f"The photos to check the file on are not there: {error.problem}", CALL_PHOTOS) from None


def _format(name: str, int8: bool) -> Format:
    if name not in FORMATS:
        raise OptionError(f"--format {name!r} is not one of {', '.join(FORMATS)}.", did_you_mean(name, FORMATS))
    if int8 and FORMATS[name].quantise is None:
        able = " or ".join(form.name for form in FORMATS.values() if form.quantise)
        raise OptionError(f"--int8 goes with --format {able}, not with {name}.", "Leave it out.")
    FORMATS[name].check(int8)
    return FORMATS[name]


def _target(run: Path, form: Format, out: str | Path | None, int8: bool, overwrite: bool) -> Path:
    path = Path(out) if out else run / f"model{'.int8' if int8 else ''}{form.suffix}"
    if path.suffix != form.suffix:
        raise OptionError(f"--out {path}: a file of format {form.name} ends in {form.suffix}.", "Name it so.")
    if not path.parent.is_dir():
        raise OptionError(f"--out {path}: there is no folder {path.parent}.", "Make it first.")
    if path.exists() and not overwrite:
        raise OptionError(f"{path} exists.", "Use --overwrite to replace it, or name another with --out.")
    return path


def _exact(classifier: Classifier) -> Classifier:
    """The classifier in float32, which the files compute in."""
    machine = find_machine("cpu")
    return replace(classifier, precision="float32").to(Machine(machine.device, False, machine.words))


def _facts(classifier: Classifier) -> dict[str, Any]:
    """What a file says of itself."""
    said = classifier.public_description()
    return {
        "classes": said["classes"],
        "input": "images: uint8 RGB photos of any one size [photos, height, width, 3], upright",
        "output": "probabilities: float32 [photos, classes], in the order of the classes",
        "preprocessing": said["preprocessing"],
        "architecture": said["architecture"],
        "provenance": said["provenance"],
    }


def _checked(
    run: Path, classifier: Classifier, form: Format, draft: Path, paths: list[Path], labelled: list[RunPhoto],
    int8: bool, events: Events,
) -> Exported:  # fmt: skip
    form.write(WholeClassifier(classifier.network, classifier.preprocessing), draft, _facts(classifier))
    good, wanted = expected(classifier, paths)
    if not good:
        raise DataError(f"None of the {len(paths)} photos to check the file on can be read.", f"The first: {paths[0]}")
    right = _labels(classifier, labelled, good)
    before, before_table = _measured(form, draft, good, wanted, events)
    if not before.good:
        raise RunError(f"The file does not answer as {run} does: {before}.", "This is a defect; nothing was written.")
    if not int8:
        return Exported(draft, form.name, _size(form, draft), before)
    was = {"bytes": _size(form, draft), "ms": before.ms, "accuracy": _accuracy(before_table, right)}
    events.message("Quantising …")
    _quantise(form, draft, _calibration(run, good, events))
    after, after_table = _measured(form, draft, good, wanted, events)
    now = {"bytes": _size(form, draft), "ms": after.ms, "accuracy": _accuracy(after_table, right)}
    return Exported(draft, form.name, _size(form, draft), after, {"before": was, "after": now})


def _measured(
    form: Format, draft: Path, good: list[Path], wanted: np.ndarray, events: Events
) -> tuple[Parity, np.ndarray]:
    table, ms = answers(form.open(draft), good, lambda done, total: events.progress("checking", done, total))
    return compare(wanted, table, ms), table


def _calibration(run: Path, checked: list[Path], events: Events) -> list[Path]:
    """Training photos, or, said aloud, some of those that the file is checked on."""
    try:
        return [photo.path for photo in evenly(run_photos(run, ("train",)), CALIBRATION)]
    except HeadstartError as error:
        events.warning(f"{error.problem} It is calibrated on photos that it is checked on: its accuracy may flatter.")
        return checked[:CALIBRATION]


def _quantise(form: Format, draft: Path, photos: list[Path]) -> None:
    assert form.quantise is not None
    wide = draft.with_name(f".wide{draft.name}")
    try:
        for made, kept in zip(form.files(draft), form.files(wide), strict=True):
            os.replace(made, kept)
        form.quantise(wide, draft, photos)
    finally:
        for kept in form.files(wide):
            kept.unlink(missing_ok=True)


def _labels(classifier: Classifier, labelled: list[RunPhoto], good: list[Path]) -> np.ndarray | None:
    """The classes [N] of photos whose labels the run knows."""
    index = {photo.path: classifier.classes.index(photo.label) for photo in labelled}
    return np.array([index[path] for path in good]) if index else None


def _accuracy(table: np.ndarray, right: np.ndarray | None) -> float | None:
    return None if right is None else float((table.argmax(1) == right).mean())


def _size(form: Format, path: Path) -> int:
    return sum(file.stat().st_size for file in form.files(path) if file.exists())
