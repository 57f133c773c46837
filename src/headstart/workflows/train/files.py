"""The files of a finished run."""

from __future__ import annotations

import contextlib
from typing import Any

from headstart.core.events import Events
from headstart.core.eviction import trim
from headstart.core.files import write_json, write_rows, write_text
from headstart.data.filenames import shown
from headstart.data.label_sets import joined_labels, label_columns
from headstart.data.schema import FOLD
from headstart.errors import RunError
from headstart.evaluation.metrics import few_per_class, judged_on
from headstart.inference.classifier import Classifier
from headstart.runs.figures import metrics_file
from headstart.runs.folder import RunFolder, write_history
from headstart.runs.model_card import model_card
from headstart.training.preparation import Prepared, check_facts
from headstart.training.strategies.base import FitResult
from headstart.workflows.train.assess import Results
from headstart.workflows.train.folds import of_split


def write_files(
    folder: RunFolder, prepared: Prepared, fitted: FitResult, results: Results, classifier: Classifier, events: Events
) -> dict[str, Any]:
    """Write the run folder's files, the report last, and return the metrics."""
    from headstart.workflows.train.report import run_page

    path = folder.path
    classifier.save(path)
    write_json(path / "plan.json", fitted.plan.to_json())
    write_history(path / "history.csv", fitted.probe.path if fitted.probe else (), fitted.history, fitted.folds)
    kind = {"labels": "multi"} if prepared.dataset.several else {}
    metrics = kind | results.metrics | {
        "training": {
            "strategy": fitted.plan.strategy, "parts": list(fitted.parts), "decision": fitted.decision,
            "temperature": fitted.temperature, "seconds": results.seconds,
            "leakage": {"handling": prepared.leakage, "near_duplicates_kept": prepared.leaked},
        }
    }  # fmt: skip
    write_json(path / "metrics.json", metrics_file(metrics))
    write_json(path / "check.json", check_facts(prepared))
    write_rows(path / "predictions.csv", *_predictions(prepared, results, classifier))
    card = model_card(path.resolve().name, classifier.description(), metrics, fitted.plan.to_json())
    write_text(path / "MODEL_CARD.md", card)
    # Last: a run that has a report is complete.
    write_text(path / "report.html", run_page(prepared, fitted, results, path, classifier))
    if caution := few_per_class(metrics[judged_on(metrics)]):
        events.message(caution)
    folder.close()
    with contextlib.suppress(RunError):
        trim(keep=[store.folder for store in [prepared.photos.pixels.store] if store is not None])
    events.message(f"Report: {path / 'report.html'}")
    return metrics


def _predictions(prepared: Prepared, results: Results, classifier: Classifier) -> tuple[list[str], list[list[Any]]]:
    """The columns and rows of predictions.csv; beside folds, with the fold of each photo; where photos have any number
    of labels, with the probability of each.
    """
    dataset, rows = prepared.dataset, list[list[Any]]()
    fold_of = {sample.number: fold or "" for sample, fold in dataset.numbered()} if dataset.folds else {}
    for judged, probabilities in results.probabilities.items():
        for sample, p in zip(dataset.split(of_split(judged)), probabilities, strict=True):
            place, found = shown(sample.path, dataset.root), classifier.decided(p)
            row = [place, judged, dataset.label_of(sample), joined_labels(found.labels), f"{found.confidence:.6f}"]
            row += [f"{one:.6f}" for one in p] if dataset.several else []
            rows.append([*row, fold_of[sample.number]] if dataset.folds else row)
    columns = ["path", "split", "label", "predicted", "confidence"]
    columns += label_columns(dataset.classes, columns) if dataset.several else []
    return [*columns, FOLD] if dataset.folds else columns, rows
