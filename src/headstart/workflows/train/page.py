"""The page of one training: its content (``RunReport``, free of HTML), and its rendering.

Shares (accuracy, confidence) are in [0, 1]; photos are uint8 RGB arrays [h, w, 3] of any size, which the page scales
down. Everything but title, answer, command and classes may be left out; its section is then left out too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.data.schema import BadFile
from headstart.evaluation.examples import confused_pairs
from headstart.evaluation.metrics import JUDGED, has_labels, headline, judged_on, spread, worst_first
from headstart.evaluation.uncertainty import USUAL
from headstart.reporting.images import heat_map
from headstart.reporting.page import Fact, photo, render_page
from headstart.reporting.plots import EpochRow, ProbeRow, probe_path, reliability, training_curves
from headstart.reporting.samples import sample_rows


@dataclass(frozen=True)
class Mistake:
    """A photo and its prediction, mostly a wrong one; ``confidence`` is p(``predicted``), ``path`` is relative to the
    data. ``looked``: the photo with a saliency map for ``predicted``.
    """

    photo: np.ndarray
    true: str
    predicted: str
    confidence: float
    path: str = ""
    looked: np.ndarray | None = None


@dataclass(frozen=True)
class DataCheck:
    """The result of reading the photos; ``conversions``: how many were converted in which way ("EXIF-rotated": 12)."""

    summary: str
    good: int
    bad: Sequence[BadFile] = ()
    conversions: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class RunReport:
    """One training, for ``render_run``.

    answer       the result in one sentence; ``more`` a second one; ``caveats`` what limits it
    metrics      split ("val", "test", "folds") → result of ``evaluation.metrics.evaluate`` (or of
                 ``multilabel_metrics.evaluate_labels``); the page shows what ``evaluation.metrics.judged_on`` says
    temperature  what the logits were divided by (metrics have the calibration before and after)
    counts       split → photos per class, in the order of ``classes``
    photos       split → photos, where a photo has any number of labels and ``counts`` do not add up to them
    names        class → name to show, where it differs (a breed for its WordNet number)
    history      epochs; ``best_epoch``: the one whose weights were kept (the last of that number, if phases recount)
    probe_path   a probe's grid of L2, ``chosen_l2`` marked; lp-ft has both this and a history
    samples      class → a few photos
    hits         the most confident correct predictions, with saliency maps
    plan         (hyperparameter, value, reason)
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
    photos: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    history: Sequence[EpochRow] = ()
    best_epoch: int | None = None
    probe_path: Sequence[ProbeRow] = ()
    chosen_l2: float | None = None
    samples: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    mistakes: Sequence[Mistake] = ()
    hits: Sequence[Mistake] = ()
    data_check: DataCheck | None = None
    plan: Sequence[tuple[str, str, str]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    usage: Sequence[tuple[str, str]] = ()


TABLE_CLASSES = 25  # a confusion table beyond this is wider than a screen
PAIRS, MANY_PAIRS = 8, 30
"""Pairs of confused classes beside a confusion matrix, and where there are too many classes for one."""


def render_run(report: RunReport) -> str:
    """One self-contained HTML page. Sections for which ``report`` has nothing are left out."""
    given = {split: found for split, found in report.metrics.items() if found}
    split = judged_on(given) if given else ""
    metrics = given.get(split)
    return render_page(
        "workflows/train/run.html.j2",
        report=report,
        names=[report.names.get(label, label) for label in report.classes],
        split=split,
        split_name=JUDGED.get(split, ""),
        metrics=metrics,
        chance=_guessing(metrics, len(report.classes)),
        of_labels=bool(metrics) and has_labels(metrics or {}),
        other=next(((JUDGED[s], given[s]) for s in ("folds", "val") if s in given and s != split), None),
        folds=given.get("folds"),
        cross_validated=any(row.get("cv_score") is not None for row in report.probe_path),
        spread=spread(given["folds"]) if "folds" in given else "",
        curves=[
            *probe_path(report.probe_path, report.chosen_l2), *training_curves(report.history, report.best_epoch)
        ],
        headline=headline(metrics) if metrics else None,
        measure=metrics.get("headline", "accuracy") if metrics else "",
        confusion=_confusion(metrics.get("confusion")) if metrics else None,
        pairs=confused_pairs(metrics, PAIRS if metrics.get("confusion") else MANY_PAIRS) if metrics else [],
        order=_order(metrics["report"]["classes"]) if metrics else [],
        reliability=reliability(metrics["calibration"], has_labels(metrics)) if metrics else None,
        scaled=[
            (JUDGED[split], given[split])
            for split in ("val", "folds", "test")
            if split in given and given[split]["calibration"].get("before")
        ],
        sure=(metrics or {}).get("certainty"),
        usual=USUAL,
        samples=sample_rows(report.samples, report.names),
        mistakes=[_shown(report, mistake) for mistake in report.mistakes],
        hits=[_shown(report, hit) for hit in report.hits],
        total=report.photos or {split: sum(row) for split, row in report.counts.items() if sum(row)},
    )  # fmt: skip


def _guessing(metrics: Mapping[str, Any] | None, classes: int) -> float:
    """The headline of guesses: of any number of labels, the mean share of photos that have one."""
    if not metrics or not has_labels(metrics):
        return 1 / classes
    held = [row["support"] for row in metrics["report"]["classes"] if row["support"]]
    return sum(held) / (len(held) * metrics["photos"]) if held else 0.0


def _order(rows: list[dict[str, Any]]) -> list[int]:
    """Classes in their own order where they fit a screen, else the worst first."""
    return list(range(len(rows))) if len(rows) <= TABLE_CLASSES else worst_first(rows)


def _confusion(confusion: list[list[int]] | None) -> dict[str, Any] | None:
    """A table of cells where it fits a screen, else a heat map; None where there is no matrix. A cell's opacity is the
    square root of its share of the row, so that a single mistake is visible.
    """
    if confusion is None:
        return None
    if len(confusion) > TABLE_CLASSES:
        return {"map": heat_map(confusion), "rows": []}
    rows = []
    for true, counts in enumerate(confusion):
        heat = [round(0.9 * (number / max(1, sum(counts))) ** 0.5, 3) for number in counts]
        rows.append([{"count": n, "right": i == true, "heat": heat[i]} for i, n in enumerate(counts)])
    return {"map": "", "rows": rows}


def _shown(report: RunReport, mistake: Mistake) -> dict[str, Any]:
    return {
        **photo(mistake.photo, 192),
        "looked": None if mistake.looked is None else photo(mistake.looked, 192),
        "true": report.names.get(mistake.true, mistake.true),
        "predicted": report.names.get(mistake.predicted, mistake.predicted),
        "confidence": mistake.confidence,
        "path": mistake.path,
    }
