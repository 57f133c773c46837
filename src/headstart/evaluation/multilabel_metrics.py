"""The metrics of one split where a photo has any number of labels, as metrics.json holds them.

Definitions are scikit-learn's, which tests compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headstart.evaluation.metrics import calibration, check_finite, classification_report, ratio
from headstart.evaluation.statistics import LEVEL, Interval, balanced_accuracy, percent, wilson

DRAWS = 1000
FEWEST_DRAWS = 200
ENTRIES = 2e8
"""Photos x labels x draws of the bootstrap: more take minutes, so large sets get fewer draws."""
UNKNOWN_THRESHOLD = 0.5
"""Of a label that no val photo has."""


def evaluate_labels(
    probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str], thresholds: np.ndarray
) -> dict[str, Any]:
    """All metrics of one split. A label is predicted where its probability is its threshold or more.

    Args:
        probabilities: [N, C] in [0, 1], each label's own.
        targets: [N, C], 1 where the photo has the label.
        classes: C names.
        thresholds: [C].

    Returns:
        A dict for JSON, shares in [0, 1]; intervals are ``{"value", "low", "high", "method"}``::

            photos       N
            map          the mean of the labels' average precisions (of those that some photo has); None where there
                         are none
            f1_micro     F1 of all decisions together
            f1_macro     the mean of the labels' F1 (of those that occur among targets or predictions)
            accuracy     the share of photos with all labels right (exact match): Wilson
            headline     "map", or "f1_micro" where there is none
            report       {"classes": [{"label", "precision", "recall", "f1", "support", "ap", "threshold"}, ...],
                          "micro", "macro", "weighted": {"precision", "recall", "f1", "support"}}; ``ap`` is None for a
                         label that no photo has
            calibration  {"ece", "bins"} of all N x C probabilities: in a bin, the mean probability of a label and the
                         share of photos that have it
            log_loss     the mean binary cross-entropy of all decisions, in nats

        ``map`` and the two F1 have bootstrap intervals over photos (see ``_Draws``).

    Raises:
        TrainingError: outputs are not finite.
        ValueError: shapes do not fit, or values are no probabilities.
    """
    p, true = _checked(probabilities, targets, len(classes))
    predicted = p >= np.asarray(thresholds)
    report = classification_report((true & predicted).sum(0), true.sum(0), predicted.sum(0), classes)
    precisions = average_precisions(p, true)
    for row, ap, threshold in zip(report["classes"], precisions.tolist(), np.asarray(thresholds).tolist(), strict=True):
        row |= {"ap": None if np.isnan(ap) else ap, "threshold": threshold}
    found = {
        "map": None if np.isnan(precisions).all() else float(np.nanmean(precisions)),
        "f1_micro": report["micro"]["f1"], "f1_macro": report["macro"]["f1"],
    }  # fmt: skip
    return {
        "photos": len(p),
        **_intervals(found, p, true, predicted),
        "accuracy": wilson(int((predicted == true).all(1).sum()), len(p)).to_json(),
        "headline": "f1_micro" if found["map"] is None else "map",
        "report": report,
        "calibration": calibration(p.ravel(), true.ravel()),
        "log_loss": binary_log_loss(p, true),
    }


def average_precisions(scores: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The average precision of each label [C] by scores [N, C]; NaN where no photo of ``true`` [N, C] bool has it. The
    mean of the precisions at each score, weighted by what recall gains there; equal scores are one step.
    """
    once = np.ones((1, len(scores)))
    return np.array([_average_precision(*_ranked(s, t), once)[0] for s, t in zip(scores.T, true.T, strict=True)])


def mean_average_precision(scores: np.ndarray, true: np.ndarray) -> float | None:
    """The mean over the labels that some photo has; None where there are none."""
    found = average_precisions(scores, true)
    return None if np.isnan(found).all() else float(np.nanmean(found))


def best_thresholds(probabilities: np.ndarray, true: np.ndarray) -> np.ndarray:
    """For each label the threshold [C] with the highest F1 on photos with ``probabilities`` [N, C] and labels ``true``
    [N, C] bool: in the middle between two of the probabilities, of equal ones the nearest to 0.5. A label that no
    photo has gets ``UNKNOWN_THRESHOLD``.
    """
    return np.array([_best_threshold(p, t) for p, t in zip(probabilities.T, true.T, strict=True)])


def binary_log_loss(probabilities: np.ndarray, true: np.ndarray) -> float:
    """The mean over photos and labels of −ln p(what is so), clipped as ``metrics.log_loss`` is."""
    own = np.where(true, probabilities, 1 - probabilities)
    return float(-np.log(np.clip(own, np.finfo(np.float64).eps, None)).mean())


def _best_threshold(p: np.ndarray, true: np.ndarray) -> float:
    if not true.any():
        return UNKNOWN_THRESHOLD
    order, ends = _ranked(p, true)[0], _ends(np.sort(p)[::-1])
    hits, chosen = np.cumsum(true[order])[ends], ends + 1
    f1 = 2 * hits / (chosen + true.sum())
    values = np.append(p[order][ends], 0.0)
    middles = (values[:-1] + values[1:]) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(middles[best[np.abs(middles[best] - 0.5).argmin()]])


def _ranked(scores: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(order from high to low, whether each in it is true, the places at which a score ends)."""
    order = np.argsort(-scores, kind="stable")
    return order, true[order], _ends(scores[order])


def _ends(ordered: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def _average_precision(order: np.ndarray, true: np.ndarray, ends: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """[B], one for each row of ``counts`` [B, N]: how often each photo was drawn."""
    drawn = counts[:, order]
    hits, all_ = np.cumsum(drawn * true, 1)[:, ends], np.cumsum(drawn, 1)[:, ends]
    precision = np.divide(hits, all_, out=np.zeros_like(hits), where=all_ > 0)
    gained = np.diff(hits, axis=1, prepend=0)
    total = hits[:, -1]
    weighed = (precision * gained).sum(1)
    return np.asarray(np.divide(weighed, total, out=np.full(len(counts), np.nan), where=total > 0))


def _intervals(
    found: dict[str, float | None], p: np.ndarray, true: np.ndarray, predicted: np.ndarray
) -> dict[str, Any]:
    """Each figure with its percentile bootstrap interval over photos; a draw averages over the labels that it has."""
    draws = int(np.clip(ENTRIES / p.size, FEWEST_DRAWS, DRAWS))
    rng = np.random.default_rng(0)
    drawn = _Draws()
    step = max(1, int(4e6 / len(p)))
    ranked = [_ranked(s, t) for s, t in zip(p.T, true.T, strict=True)]
    for first in range(0, draws, step):
        counts = rng.multinomial(len(p), np.full(len(p), 1 / len(p)), size=min(step, draws - first)).astype(np.float64)
        drawn.add("map", _mean_known(np.stack([_average_precision(*one, counts) for one in ranked], 1)))
        hits, twice = counts @ (true & predicted), counts @ (true.astype(np.float64) + predicted)
        drawn.add("f1_micro", ratio(2 * hits.sum(1), twice.sum(1)))
        each = np.divide(2 * hits, twice, out=np.full_like(hits, np.nan), where=twice > 0)
        drawn.add("f1_macro", _mean_known(each))
    method = f"bootstrap {percent(LEVEL)}, {draws} draws of photos"
    made = {name: None if value is None else drawn.interval(name, value, method) for name, value in found.items()}
    if made["map"] is not None:
        made["map"] = _widened(made["map"], average_precisions(p, true), true.sum(0))
    return {name: None if one is None else one.to_json() for name, one in made.items()}


def _widened(one: Interval, precisions: np.ndarray, support: np.ndarray) -> Interval:
    """The bootstrap interval of mean average precision, on each side at least as wide as the one that takes each
    label's for a share of its photos: with few of these the bootstrap alone is too narrow (Boyd, Eng & Page 2013,
    "Area under the precision-recall curve: point estimates and confidence intervals", ECML PKDD).
    """
    wilson_ = balanced_accuracy(np.nan_to_num(precisions) * support, support)
    method = f"{one.method}; at least Wilson over each label's photos, combined"
    return Interval(one.value, min(one.low, wilson_.low), max(one.high, wilson_.high), method)


class _Draws:
    """Figures of bootstrap draws, by name.

    An interval is on each side the wider of two: from percentiles, and those mirrored at the figure. A draw holds
    photos twice, which makes average precision too high, and so percentiles alone (``tests/evaluation`` simulates the
    coverage).
    """

    def __init__(self) -> None:
        self.found: dict[str, list[np.ndarray]] = {}

    def add(self, name: str, values: np.ndarray) -> None:
        self.found.setdefault(name, []).append(values)

    def interval(self, name: str, value: float, method: str) -> Interval:
        values = np.concatenate(self.found[name])
        if np.isnan(values).all():
            return Interval(value, value, value, method)
        low, high = np.nanquantile(values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]).tolist()
        bounds = min(low, 2 * value - high), max(high, 2 * value - low)
        return Interval(value, max(0.0, bounds[0]), min(1.0, bounds[1]), method)


def _mean_known(rows: np.ndarray) -> np.ndarray:
    """The mean of each row [B, C] without NaN; NaN where nothing is known."""
    known = ~np.isnan(rows)
    total = np.where(known, rows, 0.0).sum(1)
    return np.asarray(np.divide(total, known.sum(1), out=np.full(len(rows), np.nan), where=known.any(1)))


def _checked(probabilities: np.ndarray, targets: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Both [N, C], float64 and bool, after a check of what would silently make metrics wrong."""
    values, true = np.asarray(probabilities, np.float64), np.asarray(targets)
    if values.shape != true.shape or values.ndim != 2 or values.shape[1] != classes or not len(values):
        raise ValueError(f"probabilities {values.shape} and targets {true.shape} do not fit {classes} labels")
    check_finite(values)
    if values.min() < 0 or values.max() > 1:
        raise ValueError("values are no probabilities: apply the sigmoid to the logits first")
    return values, true.astype(bool)
