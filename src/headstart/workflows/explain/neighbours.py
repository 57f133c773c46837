"""The training photos nearest to a photo by the network's features: a second kind of evidence, beside maps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from headstart.core.events import Events
from headstart.data.images import DecodedImages, centre, read_photos
from headstart.evaluation.ood import unit_rows
from headstart.inference.classifier import Classifier
from headstart.inference.features import FeatureExtractor
from headstart.runs.images import RunPhoto, run_photos
from headstart.workflows.explain.result import Neighbour


class TrainingPhotos:
    """The features of a run's training photos, from the cache where training left them there.

    Raises:
        RunError, DataError: the run does not say which they are, or they are gone.
    """

    def __init__(self, run: Path, classifier: Classifier, events: Events) -> None:
        expected = classifier.preprocessing
        self.size = expected.image_size
        members = run_photos(run, ("train",))
        pixels = read_photos(
            members, expected.resize, expected.interpolation,
            progress=partial(events.progress, "reading training photos"),
        )  # fmt: skip
        good = [i for i, digest in enumerate(pixels.digests) if digest is not None]
        self.members: list[RunPhoto] = [members[i] for i in good]
        self.pixels: DecodedImages = pixels.take(good)
        network = classifier.prepare_for(len(good))
        extractor = FeatureExtractor(
            classifier.network.backbone, expected, network.machine, network.precision, network.asked, ("end", network)
        )
        self.features = unit_rows(
            extractor.pooled(self.pixels, partial(events.progress, "features of training photos"))
        )

    def nearest(self, features: np.ndarray, k: int) -> list[Neighbour]:
        """The ``k`` nearest to one photo's features [D], the nearest first."""
        similarity = self.features @ unit_rows(features[None])[0]
        best = np.argsort(-similarity, kind="stable")[:k]
        return [self._neighbour(int(i), float(similarity[i])) for i in best]

    def _neighbour(self, i: int, similarity: float) -> Neighbour:
        picture = np.ascontiguousarray(centre(self.pixels.row(i), self.size))
        return Neighbour(self.members[i].shown, self.members[i].label, similarity, picture)
