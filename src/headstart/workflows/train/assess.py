"""Calibrate and evaluate a trained network, and make the classifier."""

from __future__ import annotations

import copy
import platform
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headstart._version import __version__
from headstart.core.events import Events
from headstart.core.text import printable
from headstart.data.schema import SPLITS, Split
from headstart.data.stratify import units
from headstart.evaluation.ood import class_means, some_of_each
from headstart.evaluation.uncertainty import Uncertainty
from headstart.inference.classifier import Classifier
from headstart.inference.features import FeatureExtractor
from headstart.models.heads import head_kind
from headstart.models.network import Network, head_logits
from headstart.reporting.command import call, command_line
from headstart.runs.folder import RunFolder
from headstart.training.preparation import Prepared
from headstart.training.strategies.base import FitContext, FitResult
from headstart.workflows.train.folds import Judged, out_of_fold, uncertainty_of_folds


@dataclass(frozen=True)
class Results:
    """Of a trained network: ``features`` [N, D] (by ``extractor``), ``probabilities`` [N, C] and metrics, per split.
    Those of "folds" are of train's photos, each by the model of its fold.
    """

    extractor: FeatureExtractor
    features: dict[Literal["val", "test"], np.ndarray]
    probabilities: dict[Judged, np.ndarray]
    metrics: dict[str, Any]
    seconds: dict[str, float]


def make_context(prepared: Prepared, state: Path, events: Events, folder: RunFolder | None = None) -> FitContext:
    """The input of a strategy; without a folder a resume finds the trainer's own state only."""
    options = prepared.options
    keep: dict[str, Any] = {"remember": folder.remember, "recall": folder.recall} if folder else {}
    return FitContext(
        len(prepared.dataset.classes), prepared.pixels, prepared.labels, prepared.backbone, options.head,
        tuple(options.dropout), prepared.plan, prepared.plan_for, prepared.machine, state, prepared.extractor,
        prepared.objective, events, _units(prepared), prepared.dataset.folds, prepared.parts.transform,
        prepared.parts.loss, prepared.parts.callbacks, **keep,
    )  # fmt: skip


def _units(prepared: Prepared) -> dict[Split, np.ndarray]:
    """Per split the unit of each photo: those of one group, and near duplicates, have one number."""
    alike = prepared.photos.alike
    members = {split: prepared.dataset.split(split) for split in SPLITS}
    return {s: np.array(units([m.group for m in own], [alike[m.number] for m in own])) for s, own in members.items()}


def assess(prepared: Prepared, fitted: FitResult, events: Events) -> tuple[FitResult, Results]:
    """Calibrate a trained network on val, unless it is already, and evaluate it on val and, this once, on test. The
    models of folds are calibrated, and evaluated on the photos that they did not see.
    """
    began = time.monotonic()
    extractor = prepared.extractor
    backbone = fitted.network.backbone
    if backbone.has_weights_of(prepared.backbone):
        extractor = extractor.joining(backbone.joined)
    else:
        extractor = replace(extractor, backbone=backbone, ready={})
    splits: tuple[Literal["val", "test"], ...] = ("val", "test")
    features = {s: _features(prepared, extractor, s, events) for s in splits if len(prepared.labels[s])}
    if fitted.temperature is None and not fitted.folds:
        fitted = (
            _calibrated(prepared, fitted, features["val"]) if "val" in features else replace(fitted, temperature=1.0)
        )
    objective = prepared.objective
    if "val" in features:
        logits = head_logits(fitted.network.head, features["val"])
        objective = objective.fitted(objective.probabilities(logits), prepared.labels["val"])
    fitted = replace(fitted, objective=objective)
    probabilities: dict[Judged, np.ndarray] = {}
    metrics: dict[str, Any] = {}
    if fitted.folds:
        probabilities["folds"], metrics["folds"] = out_of_fold(prepared, fitted.folds)
    for split, rows in features.items():
        logits, labels = head_logits(fitted.network.head, rows), prepared.labels[split]
        probabilities[split] = objective.probabilities(logits)
        metrics[split] = objective.metrics(probabilities[split], labels, prepared.dataset.classes)
        if not fitted.folds:  # an average of scaled outputs has no unscaled ones
            before = objective.before_scaling(logits, labels, fitted.temperature or 1.0)
            metrics[split]["calibration"]["before"] = before
    return fitted, Results(extractor, features, probabilities, metrics, {"evaluation": time.monotonic() - began})


def _calibrated(prepared: Prepared, fitted: FitResult, features: np.ndarray) -> FitResult:
    """Divide the head's logits by the temperature that fits val's ``features`` [N, D].

    The temperature is in the weights, so that readers of the model need not know it.
    """
    head = copy.deepcopy(fitted.network.head)
    temperature = prepared.objective.temperature(head_logits(head, features), prepared.labels["val"])
    head_kind(prepared.options.head)[0].scale(head, temperature)
    return replace(fitted, network=Network(fitted.network.backbone, head).eval(), temperature=temperature)


def _features(
    prepared: Prepared, extractor: FeatureExtractor, split: Split, events: Events, members: np.ndarray | None = None
) -> np.ndarray:
    """The features [N, D] of a split, or of some of its photos; those of a trained backbone are not cached."""
    pixels = prepared.pixels[split] if members is None else prepared.pixels[split].take(members.tolist())
    if not extractor.backbone.has_weights_of(prepared.backbone):
        return extractor.uncached(pixels)
    return extractor.pooled(pixels, lambda done, total: events.progress(f"features of {split}", done, total))


def fit_uncertainty(prepared: Prepared, fitted: FitResult, results: Results, events: Events) -> Uncertainty | None:
    """What predictions need to report their uncertainty; its evaluation on test is added to ``results.metrics``."""
    if fitted.folds:
        rows = _features(prepared, results.extractor, "train", events)
        last_stage = results.extractor.backbone.last(rows)
        found = uncertainty_of_folds(prepared, last_stage, results.probabilities["folds"])
        _measure_uncertainty(found, prepared, results)
        return found
    if "val" not in results.features:
        return None
    labels, last = prepared.labels, results.extractor.backbone.last  # the last stage alone knows what is unlike them
    members = some_of_each(labels["train"])
    rows = _features(prepared, results.extractor, "train", events, members)
    means = class_means(last(rows), labels["train"][members])
    own = prepared.objective.own(results.probabilities["val"], labels["val"])
    found = Uncertainty.learn(means, last(results.features["val"]), own)
    _measure_uncertainty(found, prepared, results)
    return found


def _measure_uncertainty(found: Uncertainty, prepared: Prepared, results: Results) -> None:
    if "test" in results.features:
        last, labels = results.extractor.backbone.last, prepared.labels
        far = found.distances(last(results.features["test"]))
        results.metrics["test"]["certainty"] = found.measured(far, results.probabilities["test"], labels["test"])


def asked_by(prepared: Prepared) -> str:
    """The command of this training; with parts of the caller's own, the call in Python."""
    options, parts = prepared.options, prepared.parts
    if parts.given:
        return call("train", options.data, options.given(), parts.written)
    return command_line("train", options.data, options.given())


def make_classifier(prepared: Prepared, fitted: FitResult, certainty: Uncertainty | None = None) -> Classifier:
    """The classifier, with its provenance, whose texts every reader of JSON takes: file names may hold any bytes."""
    import torch

    options, plan, parts = prepared.options, fitted.plan, prepared.parts
    provenance = {
        "headstart": __version__, "torch": torch.__version__, "timm": version("timm"),
        "python": platform.python_version(), "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": prepared.machine.words, "command": asked_by(prepared),
        "data": {
            "name": printable(prepared.dataset.name), "digest": prepared.dataset.digest,
            "summary": printable(prepared.dataset.summary),
        },
        "backbone": {"source": printable(prepared.backbone.source), "weights_digest": prepared.backbone.weights_digest},
        "strategy": plan.strategy, "seed": options.seed, "temperature": fitted.temperature,
        **({"parts": {name: printable(text) for name, text in parts.told.items()}} if parts.given else {}),
    }  # fmt: skip
    return Classifier(
        fitted.network, prepared.extractor.preprocessing, prepared.dataset.classes, options.head,
        tuple(options.dropout), plan.precision, provenance, certainty, objective=fitted.objective,
    )  # fmt: skip
