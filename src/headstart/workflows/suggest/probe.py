"""A linear probe of few labelled photos: nothing is held out; L2 and temperature come from cross-validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from headstart.data.stratify import places
from headstart.evaluation.calibration import temperature
from headstart.models.network import softmax
from headstart.training.cross_validation import FOLDS, STRENGTHS, assign_folds, cross_validate
from headstart.training.linear_probe import Probe
from headstart.training.logistic_regression import Rows, solve
from headstart.training.strengths import USUAL_L2, prior_penalty


def fit_few(features: np.ndarray, labels: np.ndarray, classes: int, unit: Sequence[int]) -> Probe:
    """A probe of features [N, D] with labels [N] below ``classes``. ``unit`` [N]: equal for photos that stay in one
    fold. With one photo (or unit) of a class there are no folds, and the usual L2 is taken.
    """
    of_class = (places(unit[i] for i in np.flatnonzero(labels == c).tolist()) for c in range(classes))
    folds = min(FOLDS, *map(len, of_class))
    l2, scaled_by = USUAL_L2, 1.0
    if folds > 1:
        of = assign_folds(list(map(str, labels)), unit, 0, folds)
        out = cross_validate(features, labels, classes, of)
        hits = (out.logits.argmax(2) == labels).sum(1)
        best = max(range(len(STRENGTHS)), key=lambda s: float(hits[s]) - prior_penalty(STRENGTHS[s]))
        l2 = STRENGTHS[best]
        scaled_by = temperature(torch.from_numpy(out.logits[best]).double(), torch.from_numpy(labels).long())
    rows = Rows(torch.from_numpy(np.ascontiguousarray(features)))
    ((_, weight, bias),) = next(iter(solve(rows, torch.from_numpy(labels).long(), classes, [l2])))
    weight = weight / rows.scale
    bias = bias - weight @ rows.mean
    return Probe((weight / scaled_by).float(), (bias / scaled_by).float(), l2, (), scaled_by)


def probabilities(probe: Probe, features: np.ndarray) -> np.ndarray:
    """Of photos with features [N, D]: [N, C]."""
    return np.asarray(softmax((features @ probe.weight.numpy().T + probe.bias.numpy()).astype(np.float64)))
