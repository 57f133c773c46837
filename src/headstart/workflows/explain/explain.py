"""``explain``: why a classifier answers as it does. In: a run and photos. Out: for each photo a picture with a map of
where the network looked, the training photos most like it, and one page of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from headstart.core.events import Events, Listener
from headstart.core.files import write_text
from headstart.data.images import centre, stream_photos
from headstart.data.sources.unlabelled import find_files
from headstart.errors import DataError, OptionError, did_you_mean
from headstart.inference.classifier import Classifier
from headstart.inference.saliency import Explainer
from headstart.reporting.console import console_events
from headstart.reporting.images import overlay, png
from headstart.training.config import NEIGHBOURS
from headstart.workflows.explain.neighbours import TrainingPhotos
from headstart.workflows.explain.report import render_explained
from headstart.workflows.explain.result import Explained, Explanation


def explain(
    run: str | Path,
    photos: Iterable[str | Path],
    *,
    out: str | Path | None = None,
    label: str | None = None,
    neighbours: int = NEIGHBOURS,
    overwrite: bool = False,
    device: str = "auto",
    quiet: bool = False,
    listener: Listener | None = None,
) -> Explanation:
    """Draw a saliency map (Grad-CAM) of each photo, and find the training photos most like it.

    Args:
        run: the run folder.
        photos: photos, folders and globs.
        out: a folder; by default ``explained`` in the run folder.
        label: the class to explain; by default each photo's prediction.
        neighbours: how many nearest training photos to show; 0 for none.
        overwrite: write into a folder that is not empty.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        quiet: no progress and messages on standard error, warnings only.
        listener: called with each event (``headstart.core.events``); with ``quiet`` it alone hears of them.

    Returns:
        Each photo with its prediction, map and neighbours, and the page of all.

    Raises:
        OptionError: an unknown class, a folder that exists, a network without feature maps.
        DataError: no photo that can be read.
        RunError: no model there.
    """
    if neighbours < 0:
        raise OptionError(f"--neighbours {neighbours} must not be negative.", "0 shows none.")
    classifier = Classifier.load(run, device)
    wanted = _class(classifier, label)
    folder = _folder(Path(out) if out else Path(run) / "explained", overwrite)
    paths = find_files(photos)
    explainer = Explainer(classifier)
    with console_events(quiet, listener) as events:
        near = TrainingPhotos(Path(run), classifier, events.progress) if neighbours else None
        found, bad = _explained(classifier, explainer, near, paths, wanted, neighbours, events)
        if not found:
            raise DataError("None of the photos can be read.", f"The first: {next(iter(bad.items()))}")
        folder.mkdir(parents=True, exist_ok=True)
        kept = tuple(_keep(photo, folder, n) for n, photo in enumerate(found, 1))
        page = folder / "explained.html"
        write_text(page, render_explained(kept, bad, Path(run).name))
        events.message(f"Page: {page}")
    return Explanation(kept, page, bad)


def _class(classifier: Classifier, label: str | None) -> int | None:
    if label is None:
        return None
    if label not in classifier.classes:
        raise OptionError(
            f"--class {label!r}: the model has no such class.",
            did_you_mean(label, classifier.classes) or f"It knows {', '.join(classifier.classes[:20])}.",
        )
    return classifier.classes.index(label)


def _folder(folder: Path, overwrite: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"--out {folder} is a file.", "Choose another name.")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise OptionError(f"--out {folder} exists.", "Use --overwrite to write over it, or choose another folder.")
    return folder


def _explained(
    classifier: Classifier, explainer: Explainer, near: TrainingPhotos | None, paths: Sequence[Path],
    wanted: int | None, neighbours: int, events: Events,
) -> tuple[list[Explained], dict[str, str]]:  # fmt: skip
    expected = classifier.preprocessing
    forward = classifier.prepare_for(len(paths))
    found: list[Explained] = []
    bad: dict[str, str] = {}
    reads = stream_photos(paths, expected.resize, expected.interpolation)
    for done, (path, read) in enumerate(zip(paths, reads, strict=True), 1):
        if read.pixels is None:
            bad[str(path)] = str(read.problem)
        else:
            photo = np.ascontiguousarray(centre(read.pixels, expected.image_size))
            features = forward(torch.from_numpy(photo[None])).float().numpy()
            (said,) = classifier.answers(features)
            about = int(said.probabilities.argmax()) if wanted is None else wanted
            heat = explainer.maps(photo[None], [about])[0]
            answer = classifier.prediction(path, said)
            alike = tuple(near.nearest(features[0], neighbours)) if near else ()
            found.append(Explained(answer, classifier.classes[about], photo, heat, overlay(photo, heat), alike))
        events.progress("explaining", done, len(paths))
    return found, bad


def _keep(photo: Explained, folder: Path, number: int) -> Explained:
    """The overlay as a PNG, numbered, since two photos may have one name."""
    image = folder / f"{number:04d}-{photo.prediction.path.stem[:80]}.png"
    image.write_bytes(png(photo.overlay))
    return replace(photo, image=image)
