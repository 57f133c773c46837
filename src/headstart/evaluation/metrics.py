"""What metrics.json says of one split. In: probabilities [N, C], labels [N], classes. Out: a dict for json.

Everything but calibration, log loss and top-5 follows from the confusion matrix; definitions are scikit-learn's, and
tests hold them to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headstart.errors import TrainingError
from headstart.evaluation.statistics import wilson

CALIBRATION_BINS = 15  # as in Guo et al. (2017)
TOP5_FROM_CLASSES = 10  # below ten classes five guesses say little
AVERAGES = ("micro", "macro", "weighted")


def evaluate(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """All figures of one split.

    ``probabilities``: [N, C], rows summing to 1 (softmax, not logits); ``labels``: [N] int in [0, C); ``classes``: C
    names. The answer is the most probable class, the first of equals. Returns (shares in [0, 1])::

        photos       N
        accuracy     {"value", "low", "high", "method"}: Wilson 95 %, over photos
        report       {"classes": [{"label", "precision", "recall", "f1", "support"}, ...],
                      "micro", "macro", "weighted": {"precision", "recall", "f1", "support"}}
        confusion    C rows (true) of C counts (predicted)
        top5         as accuracy; None below ten classes
        calibration  {"ece", "bins": [{"low", "high", "count", "confidence", "accuracy"}, ...]}
        log_loss     mean of −ln p(true class), in nats

    Raises TrainingError if outputs are not finite, ValueError for shapes that do not fit or rows that are no
    probabilities.
    """
    probabilities, labels = _checked(probabilities, labels, len(classes))
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, len(classes))
    return {
        "photos": len(labels),
        "accuracy": wilson(int(confusion.trace()), len(labels)).to_json(),
        "report": classification_report(confusion, classes),
        "confusion": confusion.tolist(),
        "top5": _top5(probabilities, labels),
        "calibration": calibration(probabilities.max(axis=1), predicted == labels),
        "log_loss": log_loss(probabilities, labels),
    }


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts [C, C] int64: row = true class, column = predicted class."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def classification_report(confusion: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 per class and their three averages; where one is 0/0 it is 0.

    ``macro`` and ``weighted`` run over the classes that occur among labels or answers: a class that this split does not
    hold says nothing about the classifier. With one answer per photo the ``micro`` averages all equal the accuracy.
    """
    right = np.diag(confusion)
    support, answers = confusion.sum(axis=1), confusion.sum(axis=0)
    scores = {
        "precision": _ratio(right, answers),
        "recall": _ratio(right, support),
        "f1": _ratio(2 * right, support + answers),
    }
    occurs = (support + answers) > 0
    micro = float(right.sum() / support.sum())
    return {
        "classes": [
            {"label": label, **{name: float(score[c]) for name, score in scores.items()}, "support": int(support[c])}
            for c, label in enumerate(classes)
        ],
        "micro": _average_row(dict.fromkeys(scores, micro), support),
        "macro": _average_row({name: float(score[occurs].mean()) for name, score in scores.items()}, support),
        "weighted": _average_row(
            {name: float(score @ support / support.sum()) for name, score in scores.items()}, support
        ),
    }


def calibration(confidence: np.ndarray, correct: np.ndarray, bins: int = CALIBRATION_BINS) -> dict[str, Any]:
    """Expected calibration error of the top answer over equal-width bins ``(low, high]`` of its probability.

    ``confidence`` [N] in (0, 1], ``correct`` [N] bool. ``ece`` is the mean over photos of |accuracy − confidence| of
    their bin; an empty bin has None for both. Source: Naeini et al. (2015), AAAI; Guo et al. (2017), ICML, section 2.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    mean_confidence = _ratio(np.bincount(place, weights=confidence, minlength=bins), count)
    accuracy = _ratio(np.bincount(place, weights=correct, minlength=bins), count)
    rows = [
        {
            "low": float(edges[b]),
            "high": float(edges[b + 1]),
            "count": int(count[b]),
            "confidence": float(mean_confidence[b]) if count[b] else None,
            "accuracy": float(accuracy[b]) if count[b] else None,
        }
        for b in range(bins)
    ]
    return {"ece": float(np.abs(accuracy - mean_confidence) @ count / count.sum()), "bins": rows}


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of −ln p(true class) in nats. Clipped at the float64 epsilon, as scikit-learn does: one probability of
    exactly 0 shall not make the mean infinite.
    """
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(own, np.finfo(np.float64).eps, None)).mean())


def format_report(metrics: dict[str, Any], classes: Sequence[str] | None = None) -> str:
    """The classification report as text: Label, f1-score, precision, recall, support; one row per class, then the three
    averages.

    ``classes`` gives other names to show (one per class, same order), such as a dog's breed for its WordNet number.
    """
    report = metrics["report"]
    names = classes if classes is not None else [row["label"] for row in report["classes"]]
    rows = [(str(c), name, row) for c, (name, row) in enumerate(zip(names, report["classes"], strict=True))]
    rows += [(f"{average} avg", "", report[average]) for average in AVERAGES]
    header = ("", "Label", "f1-score", "precision", "recall", "support")
    cells = [header] + [
        (index, name, f"{row['f1']:.6f}", f"{row['precision']:.6f}", f"{row['recall']:.6f}", str(row["support"]))
        for index, name, row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in cells
    )


def _checked(probabilities: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Both in working precision (float64, int64), after everything that would make the figures wrong without a word."""
    values, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if values.ndim != 2 or values.shape[1] != classes or truth.shape != values.shape[:1] or not len(truth):
        raise ValueError(f"probabilities {values.shape} and labels {truth.shape} do not fit {classes} classes")
    if truth.min() < 0 or truth.max() >= classes:
        raise ValueError(f"labels {truth.min()} to {truth.max()} do not fit {classes} classes")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise TrainingError(
            f"The model's outputs are not finite for {(~finite).sum()} of {len(values)} photos",
            "Its weights may hold NaN or overflow in low precision; try --precision float32.",
        )
    total = values.sum(axis=1, keepdims=True)
    # Half-precision softmax misses 1 by up to a percent; logits miss it by far.
    if values.min() < 0 or np.abs(total - 1).max() > 0.02:
        raise ValueError("rows are no probabilities: apply softmax to the logits first")
    return values / total, truth.astype(np.int64)


def _top5(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any] | None:
    """Share of photos whose class is among the five most probable; equals rank in class order, as argmax does."""
    classes = probabilities.shape[1]
    if classes < TOP5_FROM_CLASSES:
        return None
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    earlier = np.arange(classes)[None, :] < labels[:, None]
    rank = ((probabilities > own) | ((probabilities == own) & earlier)).sum(axis=1)
    return wilson(int((rank < 5).sum()), len(labels)).to_json()


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """``over / under``, 0 where under is 0."""
    return np.asarray(np.divide(over, under, out=np.zeros(len(under)), where=under > 0))


def _average_row(scores: dict[str, float], support: np.ndarray) -> dict[str, Any]:
    return {**scores, "support": int(support.sum())}
