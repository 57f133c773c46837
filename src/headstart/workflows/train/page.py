"""The page of one training: what it shows (``RunReport``, free of HTML), and its rendering.

Shares (accuracy, confidence) are in [0, 1]; photos are uint8 arrays [h, w, 3], RGB, of any size: pages scale them down
themselves. Everything beyond title, answer and command may be left out, and its section is then left out too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.data.schema import BadFile
from headstart.evaluation.examples import most_confused
from headstart.evaluation.uncertainty import USUAL
from headstart.reporting.images import heat_map
from headstart.reporting.page import Fact, photo, render_page
from headstart.reporting.plots import EpochRow, Plot, ProbeRow, probe_path, reliability, training_curves
from headstart.reporting.samples import sample_rows


@dataclass(frozen=True)
class PlanRow:
    """One hyperparameter, what it was resolved to, and why."""

    name: str
    value: str
    reason: str = ""


@dataclass(frozen=True)
class Mistake:
    """A classified photo that is worth looking at, mostly a wrong one; ``confidence`` is p(``predicted``), ``path`` is
    relative to the data. ``looked``: the photo with a saliency map for ``predicted``.
    """

    photo: np.ndarray
    true: str
    predicted: str
    confidence: float
    path: str = ""
    looked: np.ndarray | None = None


@dataclass(frozen=True)
class DataCheck:
    """What scanning and decoding found; ``conversions`` counts photos by what was done to them ("EXIF-rotated": 12)."""

    summary: str
    good: int
    bad: Sequence[BadFile] = ()
    conversions: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class RunReport:
    """One training, for ``render_run``.

    answer       the result in one sentence; ``more`` a second one; ``caveats`` what limits it
    metrics      split ("val", "test") → what ``evaluate.metrics.evaluate`` returned; the page tells of test if it can
    temperature  what the outputs were divided by (metrics tell of calibration before and after)
    counts       split → photos per class, in the order of ``classes``
    names        class → name to show, where it differs (a breed for its WordNet number)
    history      epochs; ``best_epoch`` is the one whose weights were kept (the last of that number, if phases recount)
    probe_path   a probe's grid of L2, ``chosen_l2`` marked; lp-ft has both this and a history
    samples      class → a few photos
    hits         the most confident correct predictions, with saliency maps
    environment  name → version or description ("torch": "2.12.1", "machine": "2 CPU cores")
    contents     file in the run folder → what it holds
    usage        (command, what it does)
    """

    title: str
    answer: str
    command: str
    classes: Sequence[str]
    more: str = ""
    caveats: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    metrics: Mapping[str, dict[str, Any] | None] = field(default_factory=dict)
    temperature: float = 1.0
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    history: Sequence[EpochRow] = ()
    best_epoch: int | None = None
    probe_path: Sequence[ProbeRow] = ()
    chosen_l2: float | None = None
    samples: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    mistakes: Sequence[Mistake] = ()
    hits: Sequence[Mistake] = ()
    data_check: DataCheck | None = None
    plan: Sequence[PlanRow] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    usage: Sequence[tuple[str, str]] = ()


TABLE_CLASSES = 25  # a confusion table beyond this is wider than a screen
MISTAKES = 24
PAIRS = 8


def render_run(report: RunReport) -> str:
    """One self-contained HTML page. Sections for which ``report`` has nothing are left out."""
    split, metrics = shown_split(report.metrics)
    return render_page(
        "workflows/train/run.html.j2",
        report=report,
        names=[report.names.get(label, label) for label in report.classes],
        split=split,
        metrics=metrics,
        chance=1 / len(report.classes),
        other=_other_split(report.metrics, split),
        curves=_curves(report),
        confusion=_confusion(metrics["confusion"]) if metrics else None,
        pairs=most_confused(metrics["confusion"], PAIRS) if metrics else [],
        reliability=reliability(metrics["calibration"]) if metrics else None,
        scaled=_scaled(report.metrics),
        sure=(metrics or {}).get("certainty"),
        usual=USUAL,
        samples=sample_rows(report.samples, report.names),
        mistakes=_shown(report, report.mistakes[:MISTAKES]),
        hits=_shown(report, report.hits),
        total=_totals(report.counts),
    )


def shown_split(metrics: Mapping[str, dict[str, Any] | None]) -> tuple[str, dict[str, Any] | None]:
    """The split that the page tells of: test where there is one, else val."""
    for split in ("test", "val"):
        found = metrics.get(split)
        if found:
            return split, found
    return "", None


def _scaled(metrics: Mapping[str, dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Calibration error and log loss before and after the temperature, per split that tells of both."""
    rows = []
    for split, name in (("val", "validation"), ("test", "test")):
        found = metrics.get(split)
        if found and (before := found["calibration"].get("before")):
            rows.append(
                {
                    "split": name, "before": before["ece"], "after": found["calibration"]["ece"],
                    "loss_before": before["log_loss"], "loss_after": found["log_loss"],
                }
            )  # fmt: skip
    return rows


def _other_split(metrics: Mapping[str, dict[str, Any] | None], shown: str) -> dict[str, Any] | None:
    return metrics.get("val") if shown == "test" else None


def _curves(report: RunReport) -> list[Plot]:
    return [*probe_path(report.probe_path, report.chosen_l2), *training_curves(report.history, report.best_epoch)]


def _confusion(confusion: list[list[int]]) -> dict[str, Any]:
    """A table of cells where it fits a screen, else a heat map."""
    if len(confusion) > TABLE_CLASSES:
        return {"map": heat_map(confusion), "rows": []}
    return {"map": "", "rows": [_confusion_row(true, counts) for true, counts in enumerate(confusion)]}


def _confusion_row(true: int, counts: list[int]) -> list[dict[str, Any]]:
    """Cells with the opacity of their colour: the square root of the share, so that a single mistake can be seen."""
    total = max(1, sum(counts))
    return [
        {"count": number, "right": predicted == true, "heat": round(0.9 * (number / total) ** 0.5, 3)}
        for predicted, number in enumerate(counts)
    ]


def _shown(report: RunReport, photos: Sequence[Mistake]) -> list[dict[str, Any]]:
    return [
        {
            **photo(mistake.photo, 192),
            "looked": None if mistake.looked is None else photo(mistake.looked, 192),
            "true": report.names.get(mistake.true, mistake.true),
            "predicted": report.names.get(mistake.predicted, mistake.predicted),
            "confidence": mistake.confidence,
            "path": mistake.path,
        }
        for mistake in photos
    ]


def _totals(counts: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Photos per split, for splits that hold any."""
    return {split: sum(row) for split, row in counts.items() if sum(row)}
