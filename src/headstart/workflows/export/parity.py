"""Does the file answer as the classifier does? In: both, and photos. Out: how many photos get the same class, and how
far their probabilities are apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.data.decode import decode
from headstart.inference.classifier import Classifier
from headstart.workflows.export.formats import Runner

LEAST_SAME = 0.995
"""Part of the photos that must get the same class; those between two classes are not counted."""
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


def answers(runner: Runner, paths: Sequence[Path], progress: Callable[[int, int], None]) -> tuple[np.ndarray, float]:
    """(probabilities [N, C], median ms per photo) of photos that are decoded in full, one at a time."""
    rows, taken = [], []
    for done, path in enumerate(paths, 1):
        pixels = decode(path).pixels
        began = time.perf_counter()
        rows.append(runner(pixels[None])[0])
        taken.append(time.perf_counter() - began)
        progress(done, len(paths))
    return np.stack(rows), 1000 * float(np.median(taken))


def expected(classifier: Classifier, paths: Sequence[Path]) -> tuple[list[Path], np.ndarray]:
    """(photos that can be read, the classifier's own probabilities [N, C] for them)."""
    found = [prediction for prediction in classifier.predict(paths) if prediction.problem is None]
    return [prediction.path for prediction in found], np.array([prediction.probabilities for prediction in found])


def compare(wanted: np.ndarray, found: np.ndarray, ms: float) -> Parity:
    """Set the two tables of probabilities [N, C] side by side."""
    same = wanted.argmax(1) == found.argmax(1)
    ordered = np.sort(wanted, axis=1)
    close = ordered[:, -1] - ordered[:, -2] < UNDECIDED
    return Parity(len(same), int(same.sum()), int((close & ~same).sum()), float(abs(wanted - found).max()), ms)
