"""From a fitted network to figures and a classifier: evaluation, calibration, uncertainty."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from headstart._version import __version__
from headstart.core.events import Events
from headstart.data.schema import Split
from headstart.evaluation.calibration import before_scaling, scale_head
from headstart.evaluation.metrics import evaluate
from headstart.evaluation.ood import class_means, some_of_each
from headstart.evaluation.uncertainty import Uncertainty
from headstart.inference.classifier import Classifier
from headstart.models.network import head_logits, softmax
from headstart.reporting.command import command_line
from headstart.runs.folder import RunFolder
from headstart.training.preparation import Prepared
from headstart.training.strategies import FitContext, FitResult, network_features, pooled_features


@dataclass
class Results:
    """What a trained network does on val and test: features [N, D], probabilities [N, C] and metrics per split."""

    features: dict[Split, np.ndarray]
    probabilities: dict[Split, np.ndarray]
    metrics: dict[str, Any]
    seconds: dict[str, float]


def make_context(prepared: Prepared, state: Path, events: Events, folder: RunFolder | None = None) -> FitContext:
    """The task for the strategies; without a folder nothing is kept for a resume but the loop's own state."""
    options = prepared.options
    keep: dict[str, Any] = {"remember": folder.remember, "recall": folder.recall} if folder else {}
    return FitContext(
        len(prepared.dataset.classes), prepared.pixels, prepared.labels, prepared.backbone, options.head,
        tuple(options.dropout), prepared.plan, prepared.plan_for, prepared.machine, state,
        events, ready=prepared.ready, **keep,
    )  # fmt: skip


def judge(prepared: Prepared, outcome: FitResult, events: Events) -> Results:
    """Read val, and test for the one time, with the network that val chose; val also says what its head's logits are
    divided by, if that has not been done.
    """
    began = time.monotonic()
    judged: tuple[Split, ...] = ("val", "test")
    features = {s: _features(prepared, outcome, s, events) for s in judged if len(prepared.labels[s])}
    head = outcome.network.head
    if outcome.temperature is None:
        outcome.temperature = scale_head(head, features["val"], prepared.labels["val"]) if "val" in features else 1.0
    probabilities: dict[Split, np.ndarray] = {}
    metrics: dict[str, Any] = {}
    for split, rows in features.items():
        logits, labels = head_logits(head, rows), prepared.labels[split]
        probabilities[split] = softmax(logits)
        metrics[split] = evaluate(probabilities[split], labels, prepared.dataset.classes)
        metrics[split]["calibration"]["before"] = before_scaling(logits, labels, outcome.temperature)
    return Results(features, probabilities, metrics, {"evaluation": time.monotonic() - began})


def _features(
    prepared: Prepared, outcome: FitResult, split: Split, events: Events, members: np.ndarray | None = None
) -> np.ndarray:
    """What the trained network's head sees of a split [N, D], or of some of its photos."""
    task = replace(make_context(prepared, Path(), events), plan=prepared.plan)
    if outcome.network.backbone is prepared.backbone:  # frozen: in the cache
        rows = pooled_features(task, split)
        return rows if members is None else rows[members]
    pixels = prepared.pixels[split]
    return network_features(outcome.network, task, pixels if members is None else pixels.take(members.tolist()))


def fit_uncertainty(prepared: Prepared, outcome: FitResult, results: Results, events: Events) -> Uncertainty | None:
    """What the run keeps to say how sure an answer is, and how that did on test, in ``results.metrics``."""
    if "val" not in results.features:
        return None
    labels = prepared.labels
    members = some_of_each(labels["train"])
    means = class_means(_features(prepared, outcome, "train", events, members), labels["train"][members])
    found = Uncertainty.learn(means, results.features["val"], results.probabilities["val"], labels["val"])
    if "test" in results.features:
        far = found.distances(results.features["test"])
        results.metrics["test"]["certainty"] = found.measured(far, results.probabilities["test"], labels["test"])
    return found


def make_classifier(prepared: Prepared, outcome: FitResult, certainty: Uncertainty | None = None) -> Classifier:
    """The artefact, with where it comes from."""
    import torch

    options, plan = prepared.options, outcome.plan
    provenance = {
        "headstart": __version__, "torch": torch.__version__, "timm": version("timm"),
        "python": platform.python_version(), "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": prepared.machine.words, "command": command_line("train", options.data, options.given()),
        "data": {
            "name": prepared.dataset.name, "digest": prepared.dataset.digest, "summary": prepared.dataset.summary
        },
        "backbone": {"source": prepared.backbone.source, "weights_digest": prepared.backbone.weights_digest},
        "strategy": plan.strategy, "seed": options.seed, "temperature": outcome.temperature,
    }  # fmt: skip
    preprocessing = prepared.backbone.preprocessing.at(plan.image_size, plan.resize)
    return Classifier(
        outcome.network,
        preprocessing,
        prepared.dataset.classes,
        options.head,
        tuple(options.dropout),
        plan.precision,
        provenance,
        certainty,
    )
