"""The metrics of one split, as metrics.json holds them.

Everything but calibration, log loss and top-5 follows from the confusion matrix. Definitions are scikit-learn's, which
tests compare with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.text import elided, printable
from headstart.errors import TrainingError
from headstart.evaluation.statistics import balanced_accuracy, wilson

UNEVEN = 3
"""Photos of the largest class for each of the smallest, from which classes are uneven: accuracy then says little about
the small classes, and choices and headlines use balanced accuracy."""
DENSE = 100
"""Classes up to which metrics.json holds the confusion matrix; with more it holds the pairs that are most confused.
predictions.csv holds each photo."""
CONFUSED = 100
LONGEST_REPORT, WORST = 40, 10
"""Classes up to which a report in text has a row for each, and how many of the worst it has where there are more."""


def evaluate(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str], inflation: float = 1.0
) -> dict[str, Any]:
    """All metrics of one split. The prediction is the most probable class, the first of equals.

    Args:
        probabilities: [N, C], rows summing to 1 (softmax, not logits).
        labels: [N] int in [0, C).
        classes: C names.
        inflation: of the variance that intervals are made from, where verdicts are not independent.

    Returns:
        A dict for JSON, shares in [0, 1]::

            photos       N
            accuracy     {"value", "low", "high", "method"}: Wilson 95 %, over photos
            report       {"classes": [{"label", "precision", "recall", "f1", "support"}, ...],
                          "micro", "macro", "weighted": {"precision", "recall", "f1", "support"}}
            balanced_accuracy  likewise: the mean recall of the classes that have photos
            headline     "balanced_accuracy" where the classes are uneven, else "accuracy"
            confusion    C rows (true) of C counts (predicted); None above ``DENSE`` classes
            confused     [{"true", "predicted", "photos"}, ...]: class indices, most photos first; only where confusion
                         is None
            top5         as accuracy; None below ten classes
            calibration  {"ece", "bins": [{"low", "high", "count", "confidence", "accuracy"}, ...]}
            log_loss     mean of −ln p(true class), in nats

    Raises:
        TrainingError: outputs are not finite.
        ValueError: shapes do not fit, or rows are no probabilities.
    """
    probabilities, labels = _checked(probabilities, labels, len(classes))
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, len(classes))
    return {
        "photos": len(labels),
        "accuracy": wilson(int(confusion.trace()), len(labels), inflation=inflation).to_json(),
        "balanced_accuracy": balanced_accuracy(np.diag(confusion), confusion.sum(1), inflation=inflation).to_json(),
        "headline": "balanced_accuracy" if uneven(confusion.sum(1)) else "accuracy",
        "report": classification_report(np.diag(confusion), confusion.sum(1), confusion.sum(0), classes),
        **_confusion(confusion),
        "top5": _top5(probabilities, labels, inflation),
        "calibration": calibration(probabilities.max(axis=1), predicted == labels),
        "log_loss": log_loss(probabilities, labels),
    }


def uneven(counts: np.ndarray) -> bool:
    """Whether one class has ``UNEVEN`` times the photos of another; ``counts`` [C]. A class without does not count."""
    held = counts[counts > 0]
    return bool(len(held)) and bool(held.max() >= UNEVEN * held.min())


JUDGED = {"test": "test", "folds": "out-of-fold", "val": "validation"}
"""Where the figures of a run can be from, the best evidence first, with the word for such a photo."""


def judged_on(metrics: Mapping[str, Any]) -> str:
    """Which figures of a run sum it up, of metrics.json: those of "test", of "folds", or of "val"."""
    return next(split for split in JUDGED if metrics.get(split))


def spread(folds: Mapping[str, Any]) -> str:
    """How the folds' accuracies differ, in words: ``5 folds, from 93.3 % to 98.3 %``."""
    found = [row["accuracy"] for row in folds["each"]]
    return f"{len(found)} folds, from {100 * min(found):.1f} % to {100 * max(found):.1f} %"


def headline(figures: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(name, interval) of the figure that sums up one split; files of older versions have accuracy only."""
    name = figures.get("headline", "accuracy")
    return NAMES[name], figures[name]


NAMES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "map": "mean average precision",
    "f1_micro": "micro F1", "f1_macro": "macro F1",
}  # fmt: skip
"""Figures with an interval, in words."""


def has_labels(figures: Mapping[str, Any]) -> bool:
    """Whether these figures of a split are of photos with any number of labels."""
    return "f1_micro" in figures


def accuracies(figures: dict[str, Any]) -> str:
    """Accuracy with its interval in words, and balanced accuracy, which comes first where classes are uneven; for any
    number of labels mean average precision, the two F1 and exact match. Each on a line of its own.
    """
    names = [name for name in NAMES if figures.get(name)]
    names.sort(key=lambda name: (name != figures.get("headline", "accuracy"), name == "accuracy"))
    words = {**NAMES, "accuracy": "all labels right" if has_labels(figures) else "accuracy"}
    first, *others = (
        f"{words[name]} {one['value']:.3f} (95 % interval {one['low']:.3f} to {one['high']:.3f})"
        for name, one in ((name, figures[name]) for name in names)
    )
    return ",\n".join([first, *(f"  {one}" for one in others)])


def few_per_class(figures: dict[str, Any]) -> str:
    """A caution where most classes have fewer than five photos; "" elsewhere."""
    held = [row["support"] for row in figures["report"]["classes"] if row["support"]]
    few = sum(support < 5 for support in held)
    if 2 * few <= len(held):
        return ""
    one, all_ = ("label", "labels") if has_labels(figures) else ("class", "classes")
    return (
        f"{few:,} of {len(held):,} {all_} have fewer than 5 photos here: the figures of a single {one} mean nothing by"
        f" themselves, only those over all {all_} do."
    )


def _confusion(confusion: np.ndarray) -> dict[str, Any]:
    if len(confusion) <= DENSE:
        return {"confusion": confusion.tolist()}
    true, predicted = np.nonzero(confusion * (1 - np.eye(len(confusion), dtype=np.int64)))
    photos = confusion[true, predicted]
    most = np.lexsort((predicted, true, -photos))[:CONFUSED]
    rows = zip(true[most].tolist(), predicted[most].tolist(), photos[most].tolist(), strict=True)
    return {"confusion": None, "confused": [{"true": t, "predicted": p, "photos": n} for t, p, n in rows]}


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts [C, C] int64: row = true class, column = predicted class."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def classification_report(
    hits: np.ndarray, support: np.ndarray, predicted: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """Precision, recall and F1 per class and their three averages; where one is 0/0 it is 0.

    ``macro`` and ``weighted`` run over the classes that occur among labels or predictions: a class that this split does
    not hold says nothing about the classifier. With one prediction per photo all ``micro`` averages are the accuracy.

    Args:
        hits, support, predicted: [C] int: photos of each class that were predicted as it, that have it as label, and
            that were predicted as it, rightly or not.
        classes: C names.
    """
    scores, occurs, photos = _scores(hits, support, predicted), (support + predicted) > 0, int(support.sum())
    sums = _scores(*(counts.sum(keepdims=True) for counts in (hits, support, predicted)))
    averages = {
        "micro": {name: float(score[0]) for name, score in sums.items()},
        "macro": {name: float(score[occurs].mean()) if occurs.any() else 0.0 for name, score in scores.items()},
        "weighted": {name: float(score @ support / max(1, photos)) for name, score in scores.items()},
    }
    rows = [
        {"label": label, **{name: float(score[c]) for name, score in scores.items()}, "support": int(support[c])}
        for c, label in enumerate(classes)
    ]
    return {"classes": rows} | {name: {**average, "support": photos} for name, average in averages.items()}


def _scores(hits: np.ndarray, support: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "precision": ratio(hits, predicted), "recall": ratio(hits, support),
        "f1": ratio(2 * hits, support + predicted),
    }  # fmt: skip


def calibration(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> dict[str, Any]:
    """Expected calibration error over equal-width bins ``(low, high]`` of the predicted class's probability
    ``confidence`` [N] in (0, 1]; ``correct`` [N] bool. 15 bins as in Guo et al.

    Returns ``ece``, the mean over photos of |accuracy − confidence| of their bin, and ``bins``; an empty bin has None
    for both. Source: Naeini et al. (2015), AAAI; Guo et al. (2017), ICML, section 2.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    mean_confidence = ratio(np.bincount(place, weights=confidence, minlength=bins), count)
    accuracy = ratio(np.bincount(place, weights=correct, minlength=bins), count)
    columns = (column.tolist() for column in (edges[:-1], edges[1:], count, mean_confidence, accuracy))
    rows = [
        {"low": low, "high": high, "count": n, "confidence": mean if n else None, "accuracy": share if n else None}
        for low, high, n, mean, share in zip(*columns, strict=True)
    ]
    return {"ece": float(np.abs(accuracy - mean_confidence) @ count / count.sum()), "bins": rows}


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of −ln p(true class) in nats. Clipped at the float64 epsilon, as scikit-learn does: one probability of
    exactly 0 must not make the mean infinite.
    """
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(own, np.finfo(np.float64).eps, None)).mean())


def format_report(metrics: dict[str, Any], classes: Sequence[str] | None = None) -> str:
    """The classification report as text: Label, precision, recall, f1-score, support (for any number of labels also the
    average precision and the threshold); one row per class, then the three averages. Of more than ``LONGEST_REPORT``
    classes the worst are shown.

    ``classes`` gives other names to show (one per class, same order), such as a dog's breed for its WordNet number.
    """
    report = metrics["report"]
    names = classes if classes is not None else [row["label"] for row in report["classes"]]
    rows = [
        (str(c), name, row) for c, (name, row) in enumerate(zip(map(_short, names), report["classes"], strict=True))
    ]
    rest = 0
    if len(rows) > LONGEST_REPORT:
        shown = [rows[c] for c in worst_first(report["classes"])[:WORST]]
        rest, rows = len(rows) - len(shown), shown
    rows += [(f"{average} avg", "", report[average]) for average in ("micro", "macro", "weighted")]
    more = ("ap", "threshold") if has_labels(metrics) else ()
    cells: list[tuple[str, ...]] = [("", "Label", "precision", "recall", "f1-score", "support", *more)]
    for index, name, row in rows:
        scores = (f"{row[score]:.3f}" for score in ("precision", "recall", "f1"))
        own = ("" if (value := row.get(score)) is None else f"{value:.3f}" for score in more)
        cells.append((index, name, *scores, str(row["support"]), *own))
    first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    lines = [
        "  ".join([line[0].ljust(first), *(cell.rjust(w) for cell, w in zip(line[1:], others, strict=True))])
        for line in cells
    ]
    if rest:
        lines.insert(-3, f"… the {WORST} worst classes; {rest:,} more are in the report")
    return "\n".join(lines)


def worst_first(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The indices of ``report.classes``, the lowest F1 first, of equals the one with more photos; classes without any
    come last.
    """
    return sorted(range(len(rows)), key=lambda c: (not rows[c]["support"], rows[c]["f1"], -rows[c]["support"], c))


def _short(name: str) -> str:
    return elided(printable(name), 60)  # one long name must not push the figures out of sight


def _checked(probabilities: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Both in working precision (float64, int64), after a check of what would silently make metrics wrong."""
    values, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if values.ndim != 2 or values.shape[1] != classes or truth.shape != values.shape[:1] or not len(truth):
        raise ValueError(f"probabilities {values.shape} and labels {truth.shape} do not fit {classes} classes")
    if truth.min() < 0 or truth.max() >= classes:
        raise ValueError(f"labels {truth.min()} to {truth.max()} do not fit {classes} classes")
    check_finite(values)
    total = values.sum(axis=1, keepdims=True)
    # Half-precision softmax misses 1 by up to a percent; logits miss it by far.
    if values.min() < 0 or np.abs(total - 1).max() > 0.02:
        raise ValueError("rows are no probabilities: apply softmax to the logits first")
    return values / total, truth.astype(np.int64)


def check_finite(values: np.ndarray) -> None:
    """Raises TrainingError where outputs [N, C] are not finite."""
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        problem = f"The model's outputs are not finite for {(~finite).sum()} of {len(values)} photos"
        raise TrainingError(problem, "Its weights may hold NaN or overflow in low precision; try `precision=float32`.")


def _top5(probabilities: np.ndarray, labels: np.ndarray, inflation: float) -> dict[str, Any] | None:
    """Share of photos whose class is among the five most probable; equals rank in class order, as argmax does."""
    classes = probabilities.shape[1]
    if classes < 10:  # five guesses say little
        return None
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    earlier = np.arange(classes)[None, :] < labels[:, None]
    rank = ((probabilities > own) | ((probabilities == own) & earlier)).sum(axis=1)
    return wilson(int((rank < 5).sum()), len(labels), inflation=inflation).to_json()


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """``over / under``, 0 where under is 0."""
    return np.asarray(np.divide(over, under, out=np.zeros(len(under)), where=under > 0))
