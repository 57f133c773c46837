"""Compare an exported file with the classifier on photos: same classes, and how far the probabilities are apart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.events import OnProgress
from headstart.data.decode import decode
from headstart.data.schema import ImageRef
from headstart.inference.classifier import Classifier, Ref
from headstart.workflows.export.formats import Runner

LEAST_SAME = 0.995
"""Part of the photos that must get the same class; those between two classes are not plural."""
UNDECIDED = 0.02
"""Lead of the first class over the second below which a photo lies between two: rounding may decide it."""


@dataclass(frozen=True)
class Parity:
    """``same`` of ``photos`` get the class that the classifier gives; ``undecided`` of the others lie between two.
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


def outputs(runner: Runner, photos: Sequence[ImageRef], progress: OnProgress) -> tuple[np.ndarray, float]:
    """(probabilities [N, C], median ms per photo) of photos that are decoded in full, one at a time."""
    rows, taken = [], []
    for done, photo in enumerate(photos, 1):
        pixels = decode(photo).pixels
        began = time.perf_counter()
        rows.append(runner(pixels[None])[0])
        taken.append(time.perf_counter() - began)
        progress(done, len(photos))
    return np.stack(rows), 1000 * float(np.median(taken))


def expected(classifier: Classifier, photos: Sequence[Ref]) -> tuple[list[Ref], np.ndarray]:
    """(photos that can be read, the classifier's own probabilities [N, C] for them)."""
    found = [(photo, answer.probabilities) for photo, _, answer in classifier.stream(photos) if answer is not None]
    return [photo for photo, _ in found], np.array([probabilities for _, probabilities in found])


def compare(wanted: np.ndarray, found: np.ndarray, ms: float) -> Parity:
    """Set the two tables of probabilities [N, C] side by side."""
    same = wanted.argmax(1) == found.argmax(1)
    ordered = np.sort(wanted, axis=1)
    close = ordered[:, -1] - ordered[:, -2] < UNDECIDED
    return Parity(len(same), int(same.sum()), int((close & ~same).sum()), float(abs(wanted - found).max()), ms)
