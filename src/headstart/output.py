"""Predictions on standard output. In: a run and files. Out: lines of text, JSON or CSV, written as they are made."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from headstart.classifier import Classifier, Prediction
from headstart.using import find_files


def print_predictions(run: Path, files: Iterable[str], form: str, device: str = "auto") -> int:
    """Print one line per photo ("text", "json" or "csv"); returns how many photos could not be read (each is named)."""
    classifier = Classifier.load(run, device)
    paths = find_files(files)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        writer.writerow(["path", "label", "confidence", *classifier.classes, "problem"])
    problems = 0
    for prediction in classifier.predict(paths):
        problems += prediction.problem is not None
        if form == "json":
            print(json.dumps(as_json(prediction, classifier.classes), ensure_ascii=False))
        elif form == "csv":
            writer.writerow(_csv_row(prediction, len(classifier.classes)))
        elif prediction.problem is None:
            print(f"{prediction.path}  {prediction.label}  {prediction.confidence:.3f}")
        if prediction.problem is not None:
            print(f"headstart: {prediction.path}: {prediction.problem}", file=sys.stderr)
    return problems


def as_json(prediction: Prediction, classes: tuple[str, ...]) -> dict[str, object]:
    """A prediction as JSON: probabilities by class name, or the problem."""
    if prediction.problem is not None:
        return {"path": str(prediction.path), "label": None, "confidence": None, "problem": prediction.problem}
    probabilities = dict(zip(classes, (round(p, 6) for p in prediction.probabilities), strict=True))
    return {
        "path": str(prediction.path),
        "label": prediction.label,
        "confidence": round(float(prediction.confidence or 0), 6),
        "probabilities": probabilities,
    }


def _csv_row(prediction: Prediction, classes: int) -> list[object]:
    if prediction.problem is not None:
        return [prediction.path, "", "", *[""] * classes, prediction.problem]
    return [
        prediction.path,
        prediction.label,
        f"{prediction.confidence:.6f}",
        *[f"{p:.6f}" for p in prediction.probabilities],
        "",
    ]
