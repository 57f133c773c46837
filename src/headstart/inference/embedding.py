"""The features of photos by a classifier's own backbone, from the cache where it has them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from headstart.core.events import Events
from headstart.data.images import DecodedImages, read_photos
from headstart.data.schema import ImageRef
from headstart.errors import DataError
from headstart.inference.classifier import Classifier, name_of
from headstart.inference.features import ALL_STAGES, FeatureExtractor


def features_by(
    classifier: Classifier, photos: Sequence[ImageRef], events: Events, what: str = "photos", last: bool = False
) -> tuple[DecodedImages, list[int], np.ndarray]:
    """(all photos as read, which of them could be, the features [N, D] of these).

    Args:
        classifier: its preprocessing and precision are used.
        photos: of any kind.
        events: hear of the progress.
        what: the photos are called in it.
        last: features without joined stages.

    Raises:
        DataError: none of them can be read.
    """
    expected = classifier.preprocessing
    progress = partial(events.progress, f"reading {what}")
    pixels = read_photos(photos, expected.resize, expected.interpolation, ranges=expected.ranges, progress=progress)
    good = [i for i, digest in enumerate(pixels.digests) if digest is not None]
    if not good:
        first = next(f"The first: {name_of(p)}: {why}." for p, why in zip(photos, pixels.problems, strict=True) if why)
        raise DataError(f"None of the {what} can be read.", first)
    network = classifier.prepare_for(len(good))
    backbone = classifier.network.backbone.joining(()) if last else classifier.network.backbone
    ready = {ALL_STAGES: network}
    extractor = FeatureExtractor(backbone, expected, network.machine, network.precision, network.asked, ready)
    return pixels, good, extractor.pooled(pixels.take(good), partial(events.progress, f"features of {what}"))
