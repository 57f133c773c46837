"""Predictions on standard output, as lines of text, JSON or CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from headstart.cli.messages import render
from headstart.inference.classifier import Prediction
from headstart.reporting.console import Console
from headstart.workflows.predict import predict

BETWEEN = "|"
"""Between the labels of a set in CSV."""


def print_predictions(
    run: Path, files: Iterable[str], form: str, coverage: float | None = None, device: str = "auto"
) -> int:
    """Print one line per photo ("text", "json" or "csv"); returns how many photos could not be read (each is named)."""
    answers = predict(run, files, coverage=coverage, device=device)
    if answers.promise is not None:
        Console(words=render).warning(answers.promise)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        sets = [] if coverage is None else ["labels"]
        writer.writerow(["path", "label", "confidence", *answers.classes, "problem", "unknown", "distance", *sets])
    problems = 0
    for prediction in answers:
        problems += prediction.problem is not None
        if form == "json":
            print(json.dumps(as_json(prediction, answers.classes), ensure_ascii=False))
        elif form == "csv":
            writer.writerow(_csv_row(prediction, len(answers.classes), coverage is not None))
        elif prediction.problem is None:
            print(_text(prediction))
        if prediction.problem is not None:
            print(f"headstart: {prediction.path}: {prediction.problem}", file=sys.stderr)
    return problems


def _text(prediction: Prediction) -> str:
    words = [f"{prediction.path}  {prediction.label}  {prediction.confidence:.3f}"]
    if prediction.labels is not None:
        words.append("{" + ", ".join(prediction.labels) + "}")
    return "  ".join([*words, *(["unknown?"] if prediction.unknown else [])])


def as_json(prediction: Prediction, classes: tuple[str, ...]) -> dict[str, object]:
    """A prediction as JSON: probabilities by class name, or the problem."""
    if prediction.problem is not None:
        return {"path": str(prediction.path), "label": None, "confidence": None, "problem": prediction.problem}
    probabilities = dict(zip(classes, (round(p, 6) for p in prediction.probabilities), strict=True))
    far = prediction.distance
    return {
        "path": str(prediction.path),
        "label": prediction.label,
        "confidence": round(float(prediction.confidence or 0), 6),
        **({} if prediction.labels is None else {"labels": list(prediction.labels)}),
        "unknown": prediction.unknown,
        "distance": None if far is None else round(far, 4),
        "probabilities": probabilities,
    }


def _csv_row(prediction: Prediction, classes: int, sets: bool) -> list[object]:
    if prediction.problem is not None:
        return [prediction.path, "", "", *[""] * classes, prediction.problem, "", "", *[""] * sets]
    far = prediction.distance
    return [
        prediction.path,
        prediction.label,
        f"{prediction.confidence:.6f}",
        *[f"{p:.6f}" for p in prediction.probabilities],
        "",
        *(["", ""] if far is None else ["yes" if prediction.unknown else "no", f"{far:.4f}"]),
        *([BETWEEN.join(prediction.labels or ())] if sets else []),
    ]
