"""``explain``: saliency maps of photos, and the training photos nearest to them by features, as one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.arguments import Device, typed
from headstart.core.events import Events, Listener
from headstart.core.files import file_name, replacing, write_text
from headstart.core.paths import Place, taken
from headstart.core.text import elided, listed, plural
from headstart.data.images import centre, stream_photos
from headstart.data.schema import ImageRef
from headstart.data.sources.unlabelled import find_files, tell_skipped
from headstart.errors import DataError, OptionError, RunError, did_you_mean, option
from headstart.evaluation.ood import unit_rows
from headstart.inference.classifier import Classifier, Model, name_of, name_of_run
from headstart.inference.embedding import features_by
from headstart.inference.saliency import Explainer
from headstart.inference.uses import NEIGHBOURS
from headstart.reporting.console import console_events
from headstart.reporting.images import overlay, png
from headstart.reporting.page import photo, render_page
from headstart.reporting.samples import picture
from headstart.runs.folder import inside, record
from headstart.runs.images import run_photos
from headstart.workflows.explain.result import Explained, Explanation, Neighbour

Nearest = Callable[[np.ndarray, int], tuple[Neighbour, ...]]


@typed
def explain(
    run: Model,
    photos: Any,
    *,
    out: Place | None = None,
    label: str | None = None,
    neighbours: int = NEIGHBOURS,
    overwrite: bool = False,
    device: Device = "auto",
    quiet: bool = False,
    listener: Listener | None = None,
) -> Explanation:
    """Draw a saliency map (Grad-CAM) of each photo, and find the training photos most like it.

    Args:
        run: as for ``predict``.
        photos: as the files of ``predict``.
        out: a folder; by default ``explained`` in the run folder.
        label: the class to explain; by default each photo's prediction, of several labels the most probable one.
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
        raise OptionError(f"{option('neighbours', neighbours)} must not be negative.", "0 shows none.")
    classifier = Classifier.of(run, device)
    if label is not None and label not in classifier.classes:
        raise OptionError(
            f"{option('label', repr(label))}: the model has no such class.",
            did_you_mean(label, classifier.classes)
            or f"Its classes: {listed(list(map(elided, classifier.classes)), 20)}.",
            option="label",
        )
    folder = Path(out) if out else inside(run, "explained")
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{option('out', repr(str(folder)))} is a file.", "Choose another name.", option="out")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise taken(folder)
    given = find_files(photos, "photos")
    paths = list(given.photos)
    if not paths:
        raise DataError("There are no photos to explain.", "Give some in `photos`.")
    explainer = Explainer(classifier)
    with console_events(quiet, listener) as events:
        tell_skipped(given, events)
        nearest = _nearest(run, classifier, events) if neighbours else None
        found, bad = _explained(classifier, explainer, nearest, paths, label, neighbours, events)
        if not found:
            first, reason = next(iter(bad.items()))
            raise DataError("None of the photos can be read.", f"The first: {first}: {reason}.")
        kept = []
        for n, one in enumerate(found, 1):
            name = file_name(one.prediction.path.stem, 100)
            image = folder / f"{n:04d}-{name}.png"  # numbered: two photos may have one name
            with replacing(image) as temporary:
                temporary.write_bytes(png(one.overlay))
            kept.append(replace(one, image=image))
        page = folder / "explained.html"
        write_text(page, _page(kept, bad, name_of_run(run)))
        record([page, *(one.image for one in kept if one.image)])
        events.message(f"Page: {page}")
    return Explanation(tuple(kept), page, bad)


def _explained(
    classifier: Classifier, explainer: Explainer, nearest: Nearest | None, paths: Sequence[ImageRef], label: str | None,
    neighbours: int, events: Events,
) -> tuple[list[Explained], dict[str, str]]:  # fmt: skip
    """(explained photos, unreadable files with reasons)."""
    expected = classifier.preprocessing
    classifier.prepare_for(len(paths))
    found: list[Explained] = []
    bad: dict[str, str] = {}
    reads = stream_photos(paths, expected.resize, expected.interpolation, ranges=expected.ranges)
    for done, (path, read) in enumerate(zip(paths, reads, strict=True), 1):
        if read.pixels is None:
            bad[name_of(path)] = str(read.problem)
        else:
            pixels = np.ascontiguousarray(centre(read.pixels, expected.image_size))
            features = classifier.features(pixels[None])
            (answer,) = classifier.answers(features)
            decided = classifier.decided(answer.probabilities).first
            target = decided if label is None else classifier.classes.index(label)
            heat = explainer.maps(pixels[None], [target])[0]
            prediction = classifier.prediction(path, answer)
            similar = nearest(features[0], neighbours) if nearest else ()
            found.append(
                Explained(prediction, classifier.classes[target], pixels, heat, overlay(pixels, heat), similar)
            )
        events.progress("explaining", done, len(paths))
    return found, bad


def _nearest(run: Model, classifier: Classifier, events: Events) -> Nearest:
    """A function of a photo's features [D] and k that finds the k nearest training photos by cosine similarity; the
    features of the training photos are in the cache if training left them there.

    Raises:
        RunError, DataError: the run does not name its training photos, or they are gone.
    """
    try:
        members = run_photos(Path(run), ("train",))
    except RunError as error:
        hint = f"{error.hint or ''} `neighbours=0` does without the training photos."
        raise RunError(error.problem, hint.strip()) from None
    read, good, features = features_by(classifier, members, events, "training photos", last=True)
    members, pixels, rows = [members[i] for i in good], read.take(good), unit_rows(features)
    backbone, size = classifier.network.backbone, classifier.preprocessing.image_size

    def nearest(features: np.ndarray, k: int) -> tuple[Neighbour, ...]:
        similarity = rows @ unit_rows(backbone.last(features[None]))[0]
        return tuple(
            Neighbour(members[i].shown, members[i].label, float(similarity[i]), picture(pixels, i, size))
            for i in np.argsort(-similarity, kind="stable")[:k].tolist()
        )

    return nearest


def _page(photos: Sequence[Explained], bad: dict[str, str], run: str) -> str:
    """One self-contained HTML page."""
    report = {
        "title": run,
        "answer": f"Saliency maps of {plural(len(photos), 'photo')}",
        "more": (
            "Warm colours: the regions that support the class (Grad-CAM), at the grid of the feature maps that the head"
            " reads, within the part of the photo that the network sees. A map shows where the evidence is, not why."
        ),
        "caveats": [],
        "facts": [],
    }
    rows = [
        {
            "one": one,
            "photo": photo(one.photo, 224),
            "overlay": photo(one.overlay, 224),
            "neighbours": [(photo(n.picture, 96), n.label, n.similarity) for n in one.neighbours],
        }
        for one in photos
    ]
    return render_page("workflows/explain/explain.html.j2", report=report, rows=rows, bad=bad)
