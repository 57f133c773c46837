"""What a run keeps to state the uncertainty of a prediction: conformal sets of labels, and out-of-distribution photos.

It holds numbers of val photos without their names, and one mean of features per class: no photo, and a photo's own
features only where a class was trained on a single one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.core.formats import DAMAGED, check_format
from headstart.errors import RunError
from headstart.evaluation import ood
from headstart.evaluation.conformal import label_set, least_probability, photos_needed, rank
from headstart.models.serialization import load_state, save_state

FILE = "certainty.safetensors"
FORMAT = 1
USUAL = 0.95
"""The part of val photos whose distance to the training photos counts as usual; photos farther away are unknown."""
LEVELS = (0.8, 0.9, 0.95)  # coverages that metrics.json evaluates


@dataclass(frozen=True)
class Uncertainty:
    """``own`` [n] float64, ascending: the probability of each val photo's own class (of any number of labels: of the
    least probable of what is so, that it has a label or has not). ``far`` [n] float64, ascending:
    its distance to ``means`` [K, D] float16 (see ``ood``). After a cross-validation in ``folds`` these are of all
    photos, each judged by the model that did not see it.
    """

    own: np.ndarray
    far: np.ndarray
    means: np.ndarray
    folds: int = 0

    @classmethod
    def learn(cls, means: np.ndarray, features: np.ndarray, own: np.ndarray) -> Uncertainty:
        """From val photos: features [n, D], and the probability of what is true of each [n] (``Objective.own``)."""
        return cls(np.sort(own).astype(np.float64), np.sort(ood.distances(features, means)), means)

    @cached_property
    def usual(self) -> float | None:
        """The distance that counts as 1: a new photo like those of val is nearer with probability ``USUAL``, at least.
        None with fewer than 19 val photos, which are too few.
        """
        k = rank(len(self.far), USUAL)
        return max(float(self.far[k - 1]), 1e-6) if k <= len(self.far) else None

    @cached_property
    def _wide(self) -> np.ndarray:
        return self.means.astype(np.float32)  # once: numpy is slow at it, and a server is asked for one photo

    def distances(self, features: np.ndarray) -> list[float] | list[None]:
        """Of photos with features [N, D], in units of ``usual``: above 1 is unknown. None where that is not known."""
        if self.usual is None:
            return [None] * len(features)
        found: list[float] = (ood.distances(features, self._wide) / self.usual).tolist()
        return found

    def promise(self, coverage: float) -> str:
        """What sets at this coverage guarantee, in words. Raises OptionError."""
        least = least_probability(self.own, coverage)
        if len(self.own) < (needed := photos_needed(coverage)):
            photos = "photos" if self.folds else "validation photos"
            too_few = f"they need {needed} {photos}; this run had {len(self.own)}."
            return f"Sets at {coverage:g} hold every class and are of no use: {too_few}"
        if self.folds:
            share = f"the {len(self.own)} photos of the {self.folds} folds, about {100 * coverage:g} % of the sets hold"
        else:
            share = f"the {len(self.own)} validation photos, at least {100 * coverage:g} % of the sets hold"
        return f"Of new photos like {share} the true class: on average, not for each class nor each photo." + (
            " The predictions alone are correct as often, so every set holds one label." if least > 0.5 else ""
        )

    def measured(self, far: Sequence[float | None], probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """How sets and the mark ``unknown`` do on photos that had no part in fitting them: distances ``far`` [N],
        ``probabilities`` [N, C], ``labels`` [N].

        Where photos have any number of labels, ``labels`` [N, C], there are no sets.

        Returns ``sets``, for each of ``LEVELS`` its ``coverage``, ``holds`` (part of the sets that hold the true class)
        and ``labels`` (mean size); and ``unknown``, the part of the photos that is marked so, or None.
        """
        sets = []
        for coverage in LEVELS if labels.ndim == 1 else ():
            least = least_probability(self.own, coverage)
            found = [label_set(row, least) for row in probabilities]
            holds = np.mean([label in chosen for label, chosen in zip(labels.tolist(), found, strict=True)])
            size = np.mean([len(chosen) for chosen in found])
            sets.append({"coverage": coverage, "holds": float(holds), "labels": float(size)})
        known = [distance > 1 for distance in far if distance is not None]
        return {"sets": sets, "unknown": sum(known) / len(known) if known else None}

    def save(self, folder: Path) -> None:
        """Write ``certainty.safetensors``, atomically. Raises RunError."""
        tensors = {name: torch.from_numpy(getattr(self, name)) for name in ("own", "far", "means")}
        facts = {"format": FORMAT, **({"folds": self.folds} if self.folds else {})}
        save_state(folder / FILE, tensors, facts)

    @classmethod
    def load(cls, folder: Path, dim: int) -> Uncertainty | None:
        """From a run whose network has ``dim`` features; None where an older headstart kept nothing. Raises RunError
        where the file is damaged, newer than this headstart, or of another model.
        """
        path = folder / FILE
        if not path.exists():
            return None
        tensors, facts = load_state(path)
        check_format(path, facts, FORMAT)
        if not _fits(tensors, dim):
            raise RunError(f"{path} does not fit the model beside it.", "Train it again.")
        folds = facts.get("folds", 0)
        if type(folds) is not int or folds < 0:
            raise RunError(f"{path}: folds is no number of folds.", DAMAGED)
        own, far, means = (tensors[name].numpy() for name in ("own", "far", "means"))
        return cls(own, far, means, folds)


def _fits(tensors: Mapping[str, torch.Tensor], dim: int) -> bool:
    """Whether they are what ``Uncertainty`` says: types, shapes, order and bounds."""
    kinds = {"own": torch.float64, "far": torch.float64, "means": torch.float16}
    if any(name not in tensors or tensors[name].dtype != kind for name, kind in kinds.items()):
        return False
    own, far, means = (tensors[name] for name in kinds)
    if own.ndim != 1 or own.shape != far.shape or means.ndim != 2 or len(means) == 0 or means.shape[1] != dim:
        return False
    bounds = ((own, 0.0, 1.0), (far, 0.0, 2.0))  # NaN is in none
    in_order = all(
        bool(((t >= low - 0.01) & (t <= high + 0.01)).all() and (t.diff() >= 0).all()) for t, low, high in bounds
    )
    return in_order and bool(torch.isfinite(means).all())


def is_unknown(distance: float | None) -> bool | None:
    """Whether a photo at this distance is called unknown; None where the distance is not known."""
    return None if distance is None else distance > 1
