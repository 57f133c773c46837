"""Labels that are probably wrong, and photos that look like no class. In: features and labels. Out: for each photo what
a probe that never saw it says, and how far it is from all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from headstart.models.network import softmax
from headstart.training.cross_validation import FOLDS, assign_folds, cross_validate
from headstart.training.linear_probe import USUAL_L2

NEIGHBOUR = 30
"""A stranger may have a few of its kind beside it: the thirtieth nearest photo tells how far it is from the set."""
STRANGE = 3.5
"""Strangeness from which a photo looks like no class (benchmarks/claims/check.py)."""
DOUBTED = 0.2
"""Probability of the own label below which another may be thought the right one: with more, a class that is merely hard
fills the list."""
CHUNK = 1024


@dataclass(frozen=True)
class LabelIssues:
    """``probabilities`` [N, C] by probes that did not see the photo; ``suspect`` [N]: its label is probably wrong;
    ``outlier_score`` [N]: how far it is from the others, in standard deviations, and how much its label is doubted.
    """

    probabilities: np.ndarray
    suspect: np.ndarray
    outlier_score: np.ndarray

    @property
    def answers(self) -> np.ndarray:
        """The most probable class of each photo [N]."""
        return np.asarray(self.probabilities.argmax(1))

    @property
    def strange(self) -> np.ndarray:
        """Which photos look like no class [N]."""
        return self.outlier_score > STRANGE


def find_label_issues(features: np.ndarray, labels: np.ndarray, classes: int, units: list[int]) -> LabelIssues:
    """What the photos themselves say of their labels.

    Args:
        features: [N, D]. labels: [N]. units: copies have one number, and are never on both sides of a fold;
            ``enough_to_judge`` says whether there are enough.
    """
    folds = assign_folds([str(label) for label in labels], units, seed=0)
    logits = cross_validate(features, labels, classes, folds, (USUAL_L2,), tolerance=1e-3).logits[0]
    probabilities = softmax(logits)
    # An odd photo of a class still looks like it to the probe; one of another world does not, whatever it is called.
    doubt = 1 - probabilities[np.arange(len(labels)), labels]
    doubted = suspects(probabilities, labels)
    if not _knows(probabilities, labels):
        doubt, doubted = np.zeros_like(doubt), np.zeros_like(doubted)
    return LabelIssues(probabilities, doubted, distances(features) + doubt)


def enough_to_judge(labels: np.ndarray, units: list[int]) -> bool:
    """Whether probes can be asked: of every class each fold leaves some other picture to learn from."""
    return all(len({units[i] for i in np.flatnonzero(labels == c)}) >= FOLDS for c in np.unique(labels))


def _knows(probabilities: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the probes are right more often than by always naming the largest class, beyond chance."""
    share = np.bincount(labels).max() / len(labels)
    noise = float(np.sqrt(share * (1 - share) / len(labels)))
    return bool((probabilities.argmax(1) == labels).mean() > share + 2 * noise)


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which labels are probably wrong [N]: another class is as probable as it usually is for photos that carry its
    label, and the own one is not.

    Confident learning (Northcutt et al. 2021, "Confident learning: estimating uncertainty in dataset labels", section
    3.1): a class's threshold is the mean probability that its own photos give it.
    """
    classes = probabilities.shape[1]
    usual = np.array([probabilities[labels == c, c].mean() if (labels == c).any() else 1.0 for c in range(classes)])
    sure = np.where(probabilities >= usual, probabilities, -1.0)
    own = probabilities[np.arange(len(labels)), labels]
    return np.asarray((sure.max(1) > 0) & (sure.argmax(1) != labels) & (own < DOUBTED))


def distances(features: np.ndarray) -> np.ndarray:
    """How far each photo is from the others [N]: its distance to the ``NEIGHBOUR`` th nearest, above the median and in
    standard deviations of the upper half.

    Distances to neighbours tell photos of another world (Sun et al. 2022, "Out-of-distribution detection with deep
    nearest neighbors"), here with square roots of the features, so that one large feature does not decide alone.
    """
    rows = torch.from_numpy(features)
    rows = torch.nn.functional.normalize(rows.sign() * rows.abs().sqrt())
    k = max(1, min(NEIGHBOUR, len(rows) // 4))
    far = torch.cat([(rows[i : i + CHUNK] @ rows.T).topk(k + 1)[0][:, k] for i in range(0, len(rows), CHUNK)])
    distance = 1 - far.double().numpy()  # the photo itself is the nearest of all
    middle, high = np.quantile(distance, [0.5, 0.9])
    return np.asarray((distance - middle) / max((high - middle) / 1.2816, 1e-9))
