"""The training photos that look most alike to the network. In: a run, photos. Out: for each the nearest training photos
by their features: a second kind of evidence, beside maps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from headstart.data.images import DecodedImages, centre, read_photos
from headstart.inference.classifier import Classifier
from headstart.inference.features import FeatureKey, extract
from headstart.runs.images import RunPhoto, run_photos
from headstart.workflows.explain.result import Neighbour

Progress = Callable[[str, int, int], None]


class TrainingPhotos:
    """The features of a run's training photos, from the cache where training left them there.

    Raises:
        RunError, DataError: the run does not say which they are, or they are gone.
    """

    def __init__(self, run: Path, classifier: Classifier, progress: Progress = lambda *_: None) -> None:
        expected = classifier.preprocessing
        self.size = expected.image_size
        members = run_photos(run, ("train",))
        pixels = read_photos(
            [photo.path for photo in members], expected.resize, expected.interpolation,
            progress=partial(progress, "reading training photos"),
        )  # fmt: skip
        good = [i for i, digest in enumerate(pixels.digests) if digest is not None]
        self.members: list[RunPhoto] = [members[i] for i in good]
        self.pixels: DecodedImages = pixels.take(good)
        forward = classifier.prepare_for(len(good))
        weights, device = classifier.network.backbone.weights_digest, forward.machine.device.type
        key = FeatureKey(weights, "end", expected, forward.precision, device, forward.asked)
        told = partial(progress, "features of training photos")
        self.features = _unit(extract(lambda: forward, key, self.pixels, progress=told))

    def nearest(self, features: np.ndarray, k: int) -> list[Neighbour]:
        """The ``k`` nearest to one photo's features [D], the nearest first."""
        similarity = self.features @ _unit(features[None])[0]
        best = np.argsort(-similarity, kind="stable")[:k]
        return [self._neighbour(int(i), float(similarity[i])) for i in best]

    def _neighbour(self, i: int, similarity: float) -> Neighbour:
        picture = np.ascontiguousarray(centre(self.pixels.row(i), self.size))
        return Neighbour(self.members[i].shown, self.members[i].label, similarity, picture)


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
