"""The page of one training. In: ``RunReport``. Out: the text of report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.certainty.certainty import USUAL
from headstart.evaluation.mistakes import most_confused
from headstart.report.data import Mistake, RunReport
from headstart.report.images import heat_map
from headstart.report.page import photo, render_page
from headstart.report.plots import Plot, probe_path, reliability, training_curves

TABLE_CLASSES = 25  # a confusion table beyond this is wider than a screen
SAMPLE_ROWS = 12  # beyond this many classes, one photo per class
SAMPLE_CLASSES = 48
PHOTOS_PER_CLASS = 8
MISTAKES = 24
PAIRS = 8


def render_run(report: RunReport) -> str:
    """One self-contained HTML page. Sections for which ``report`` has nothing are left out."""
    split, metrics = shown_split(report.metrics)
    return render_page(
        "run.html.j2",
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


def sample_rows(samples: Mapping[str, Sequence[np.ndarray]], names: Mapping[str, str]) -> dict[str, Any] | None:
    """A row of photos per class for few classes; one photo each, in one grid, for many; None where there are none."""
    filled = [(names.get(label, label), photos) for label, photos in samples.items() if len(photos)]
    if not filled:
        return None
    many = len(filled) > SAMPLE_ROWS
    shown = filled[:SAMPLE_CLASSES]
    most = 1 if many else PHOTOS_PER_CLASS
    rows = [{"name": name, "photos": [photo(pixels) for pixels in photos[:most]]} for name, photos in shown]
    return {"many": many, "rows": rows, "left_out": len(filled) - len(shown)}


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
