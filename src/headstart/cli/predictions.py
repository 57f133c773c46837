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


def print_predictions(
    run: Path, files: Iterable[str], form: str, coverage: float | None = None, device: str = "auto"
) -> int:
    """Print one line per photo ("text", "json" or "csv"); returns how many photos could not be read (each is named)."""
    predictions = predict(run, files, coverage=coverage, device=device)
    if predictions.promise is not None:
        Console(words=render).warning(predictions.promise)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        sets = [] if coverage is None else ["labels"]
        writer.writerow(["path", "label", "confidence", *predictions.classes, "problem", "unknown", "distance", *sets])
    problems = 0
    for one in predictions:
        if form == "json":
            print(json.dumps(_as_json(one, predictions.classes), ensure_ascii=False))
        elif form == "csv":
            writer.writerow(_csv_row(one, len(predictions.classes), coverage is not None))
        elif one.problem is None:
            labels = "" if one.labels is None else f"  {{{', '.join(one.labels)}}}"
            print(f"{one.path}  {one.label}  {one.confidence:.3f}{labels}{'  unknown?' if one.unknown else ''}")
        if one.problem is not None:
            problems += 1
            print(f"headstart: {one.path}: {one.problem}", file=sys.stderr)
    return problems


def _as_json(prediction: Prediction, classes: tuple[str, ...]) -> dict[str, object]:
    """A prediction as JSON: probabilities by class name, or the problem."""
    if prediction.problem is not None:
        return {"path": str(prediction.path), "label": None, "confidence": None, "problem": prediction.problem}
    far = prediction.distance
    return {
        "path": str(prediction.path), "label": prediction.label,
        "confidence": round(float(prediction.confidence or 0), 6),
        **({} if prediction.labels is None else {"labels": list(prediction.labels)}),
        "unknown": prediction.unknown, "distance": None if far is None else round(far, 4),
        "probabilities": dict(zip(classes, (round(p, 6) for p in prediction.probabilities), strict=True)),
    }  # fmt: skip


def _csv_row(prediction: Prediction, classes: int, sets: bool) -> list[object]:
    if prediction.problem is not None:
        return [prediction.path, "", "", *[""] * classes, prediction.problem, "", "", *[""] * sets]
    far = prediction.distance
    return [
        prediction.path, prediction.label, f"{prediction.confidence:.6f}",
        *[f"{p:.6f}" for p in prediction.probabilities], "",
        *(["", ""] if far is None else ["yes" if prediction.unknown else "no", f"{far:.4f}"]),
        *(["|".join(prediction.labels or ())] if sets else []),
    ]  # fmt: skip
