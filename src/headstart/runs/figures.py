"""metrics.json and plan.json of a run, checked: a run folder may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from headstart.core.formats import DAMAGED, checked
from headstart.errors import RunError
from headstart.evaluation.metrics import JUDGED, NAMES, headline
from headstart.runs.folder import RunFolder
from headstart.training.plan import Plan

METRICS_FORMAT = 4
"""Of metrics.json: 4 where photos have any number of labels; 3 where there are folds in place of val; else 2 where a
confusion matrix is left out, because there are too many classes; else 1, as before."""
Share = Annotated[float, Meta(ge=0, le=1.001)]  # an average of ones may be a little more than one
Count = Annotated[int, Meta(ge=0, le=10**12)]
Amount = Annotated[float, Meta(ge=0, le=1e12)]
Text = Annotated[str, Meta(max_length=10_000)]


class Accuracy(Struct):
    """``accuracy``: with its interval."""

    value: Share
    low: Share
    high: Share
    method: Text = ""


class Scores(Struct):
    """A row of the report."""

    precision: Share
    recall: Share
    f1: Share
    support: Count


class ClassScores(Scores, kw_only=True):
    """Of one class."""

    label: Text


class Report(Struct):
    """``report``."""

    classes: list[ClassScores]
    micro: Scores
    macro: Scores
    weighted: Scores


class Calibration(Struct):
    """``calibration``; ``before`` scaling."""

    ece: Share
    before: Calibration | None = None


class SetsOfLabels(Struct):
    """A row of ``certainty.sets``."""

    coverage: Share
    holds: Share
    labels: Amount


class Certainty(Struct):
    """``certainty``."""

    sets: list[SetsOfLabels]
    unknown: Share | None


class Confused(Struct):
    """A row of ``confused``: indices of classes."""

    true: Count
    predicted: Count
    photos: Count


class Figures(Struct):
    """The metrics of one split (see ``evaluation.metrics.evaluate``)."""

    photos: Count
    accuracy: Accuracy
    report: Report
    confusion: list[list[Count]] | None
    calibration: Calibration
    balanced_accuracy: Accuracy | None = None
    headline: Literal["accuracy", "balanced_accuracy"] = "accuracy"
    confused: list[Confused] = []
    certainty: Certainty | None = None


class LabelScores(ClassScores, kw_only=True):
    """Of one label; without photos it has no average precision."""

    ap: Share | None
    threshold: Share


class LabelReport(Struct):
    """``report`` of photos with any number of labels."""

    classes: list[LabelScores]
    micro: Scores
    macro: Scores
    weighted: Scores


class LabelFigures(Struct):
    """The metrics of one split (see ``evaluation.multilabel_metrics.evaluate_labels``)."""

    photos: Count
    map: Accuracy | None
    f1_micro: Accuracy
    f1_macro: Accuracy
    accuracy: Accuracy
    headline: Literal["map", "f1_micro"]
    report: LabelReport
    calibration: Calibration
    certainty: Certainty | None = None


class OneFold(Struct):
    """A row of ``folds.each``."""

    fold: Count
    photos: Count
    accuracy: Share
    l2: Amount
    temperature: Amount
    stages: Text
    val_loss: Amount
    val_accuracy: Share


class FoldFigures(Figures, kw_only=True):
    """The metrics of all photos, each by the model of its fold."""

    each: Annotated[list[OneFold], Meta(min_length=2)]


class Training(Struct):
    """``training``."""

    temperature: Amount | None = None
    seconds: dict[str, Amount] = {}


class Metrics(Struct):
    """metrics.json."""

    val: Figures | None = None
    test: Figures | None = None
    folds: FoldFigures | None = None
    training: Training | None = None


class LabelMetrics(Struct):
    """metrics.json where photos have any number of labels."""

    labels: Literal["multi"]
    val: LabelFigures
    test: LabelFigures | None = None
    training: Training | None = None


def read_metrics(run: Path) -> dict[str, Any]:
    """metrics.json, in which all that ``Metrics``, or ``LabelMetrics``, names is as it says. Raises RunError."""
    path, values = run / "metrics.json", RunFolder(run).read_json("metrics.json")
    if "labels" in values:
        several = checked(path, values, LabelMetrics, METRICS_FORMAT)
        for name, of_labels in (("val", several.val), ("test", several.test)):
            if of_labels and of_labels.headline == "map" and of_labels.map is None:
                raise RunError(f"{path}: {name}.map is missing.", DAMAGED)
        return {name: value for name, value in values.items() if value is not None}
    found = checked(path, values, Metrics, METRICS_FORMAT)
    if not (found.val or found.folds):
        raise RunError(f"{path} has neither val nor folds.", DAMAGED)
    for name, figures in (("val", found.val), ("test", found.test), ("folds", found.folds)):
        if figures and not _fits(figures):
            raise RunError(f"{path}: {name}.confusion does not fit {name}.report.classes.", DAMAGED)
        if figures and figures.headline == "balanced_accuracy" and figures.balanced_accuracy is None:
            raise RunError(f"{path}: {name}.balanced_accuracy is missing.", DAMAGED)
    return {name: value for name, value in values.items() if value is not None}


def short_figures(run: Any) -> dict[str, Any]:
    """Photos and accuracy per split, as a server and an exported file tell them; nothing where the model is in no
    folder, or the folder has no metrics that can be read.
    """
    with suppress(RunError):
        metrics = read_metrics(Path(run))
        kept = {split: metrics[split] for split in JUDGED if split in metrics}
        interval = ("value", "low", "high", "method")
        return {
            split: {
                "photos": found["photos"], "headline": headline(found)[0],
                **{
                    name: {n: found[name].get(n, "") for n in interval}
                    for name in NAMES if found.get(name)
                },
            }
            for split, found in kept.items()
        }  # fmt: skip
    return {}


def metrics_file(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The content of metrics.json."""
    if "labels" in metrics:
        return {"format": METRICS_FORMAT, **metrics}
    left_out = any(metrics[split]["confusion"] is None for split in JUDGED if split in metrics)
    return {"format": 3 if "folds" in metrics else 2 if left_out else 1, **metrics}


def _fits(figures: Figures) -> bool:
    """Whether what is said of pairs of classes is of the report's classes."""
    classes = len(figures.report.classes)
    if any(max(pair.true, pair.predicted) >= classes for pair in figures.confused):
        return False
    return figures.confusion is None or {len(figures.confusion), *map(len, figures.confusion)} <= {classes}


def read_plan(run: Path) -> Plan:
    """plan.json. Raises RunError."""
    return Plan.from_json(RunFolder(run).read_json("plan.json"), run / "plan.json")
