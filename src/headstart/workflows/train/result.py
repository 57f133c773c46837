"""What ``train`` returns."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.inference.classifier import Classifier
from headstart.reporting.notebook import MOST, new_figure, table_html
from headstart.training.plan import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def run_html(run: Run) -> str:
    """The accuracy, the strategy and the curves, for notebooks."""
    split = "test" if "test" in run.metrics else "val"
    found = run.metrics[split]
    accuracy = found["accuracy"]
    rows = [
        {"class": row["label"], **{k: f"{row[k]:.3f}" for k in ("precision", "recall", "f1")}, "photos": row["support"]}
        for row in found["report"]["classes"][:MOST]
    ]
    return (
        f"<p><b>{escape(run.path.name)}</b>: accuracy {accuracy['value']:.4f} on {found['photos']} {split} photos "
        f"(95 % confidence interval {accuracy['low']:.4f} to {accuracy['high']:.4f}), {run.plan.strategy}</p>"
        f"{table_html(rows)}{_curves_html(run)}<p>{escape(str(run.path / 'report.html'))}</p>"
    )


def _curves_html(run: Run) -> str:
    from headstart.reporting.plots import standalone

    return "".join(f"<div style='display:inline-block'>{standalone(plot)}</div>" for plot in _plots(run))


def _plots(run: Run) -> list[Any]:
    from headstart.reporting.plots import probe_path, training_curves

    epochs, strengths = _history(run)
    return [*training_curves(epochs), *probe_path(strengths)]


def _history(run: Run) -> tuple[list[Any], list[Any]]:
    """(epochs, strengths of a probe) from history.csv, as plots take them."""
    import csv

    with (run.path / "history.csv").open(encoding="utf-8") as file:
        rows = [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(file)]
    epochs = [{**row, "epoch": int(row["epoch"]), "phase": row["strategy"]} for row in rows if row["epoch"] is not None]
    return epochs, [row for row in rows if row["l2"] is not None]


def _number(text: str) -> Any:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def curves(run: Run) -> Figure:
    """Accuracy and loss per epoch (of a probe: per strength of L2), training and validation, side by side."""
    epochs, strengths = _history(run)
    rows, axis = (epochs, "epoch") if epochs else (strengths, "l2")
    figure = new_figure(9, 3.2)
    for axes, measure in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for split, style in (("train", "--"), ("val", "-")):
            name = f"{split}_{measure}"
            pairs = [(row[axis], row[name]) for row in rows if row.get(name) is not None]
            if pairs:
                axes.plot(*zip(*pairs, strict=True), style, marker="o", markersize=3, label=split)
        axes.set(xlabel=axis, ylabel=measure, xscale="log" if axis == "l2" else "linear")
        axes.legend()
    return figure


@dataclass
class Run:
    """A finished training: its folder, its metrics, its plan and the classifier."""

    path: Path
    metrics: dict[str, Any]
    plan: Plan
    classifier: Classifier

    def history(self) -> DataFrame:
        """history.csv as a pandas frame."""
        return self._frame("history.csv")

    def predictions(self) -> DataFrame:
        """predictions.csv as a pandas frame: every val and test photo, its class and the prediction."""
        return self._frame("predictions.csv")

    def _frame(self, name: str) -> DataFrame:
        from headstart.reporting.notebook import read_frame

        return read_frame(self.path / name)

    def figure(self) -> Figure:
        """Accuracy and loss over the training, as a matplotlib figure."""
        return curves(self)

    def _repr_html_(self) -> str:
        return run_html(self)

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "run": str(self.path),
            "report": str(self.path / "report.html"),
            "strategy": self.plan.strategy,
            "classes": list(self.classifier.classes),
            "metrics": self.metrics,
        }
