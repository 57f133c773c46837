"""The result of ``train``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.files import read_dicts
from headstart.data.schema import FOLD
from headstart.evaluation.metrics import JUDGED, headline, judged_on, worst_first
from headstart.inference.classifier import Classifier
from headstart.inference.uses import Uses
from headstart.reporting.notebook import MOST, html, new_figure, read_frame, table_html
from headstart.training.plan import Plan
from headstart.workflows.train.folds import mean_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass
class Run(Uses):
    """A finished training: its folder, its metrics, its plan and the classifier."""

    path: Path
    metrics: dict[str, Any]
    plan: Plan
    classifier: Classifier

    def __fspath__(self) -> str:
        """A run stands for its folder wherever a path is asked for."""
        return str(self.path)

    def history(self) -> DataFrame:
        """history.csv as a pandas frame."""
        return read_frame(self.path / "history.csv")

    def predictions(self) -> DataFrame:
        """predictions.csv as a pandas frame: each val and test photo (of folds, each), its class, its prediction."""
        return read_frame(self.path / "predictions.csv")

    def figure(self) -> Figure:
        """Accuracy and loss per epoch (of a probe: per L2 strength), training and validation, side by side."""
        epochs, strengths = self._history()
        rows, axis = (epochs, "epoch") if epochs else (strengths, "l2")
        figure = new_figure(9, 3.2)
        for axes, measure in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
            for split, style in (("train", "--"), ("val", "-")):
                pairs = [(row[axis], y) for row in rows if (y := row.get(f"{split}_{measure}")) is not None]
                if pairs:
                    axes.plot(*zip(*pairs, strict=True), style, marker="o", markersize=3, label=split)
            axes.set(xlabel=axis, ylabel=measure, xscale="log" if axis == "l2" else "linear")
            axes.legend()
        return figure

    def _history(self) -> tuple[list[Any], list[Any]]:
        """(epochs, L2 strengths of a probe) from history.csv, as plots take them."""
        rows: list[dict[str, Any]] = []
        for line in read_dicts(self.path / "history.csv"):
            phase = line.pop("strategy")
            rows.append({"phase": phase, **{name: float(value) if value else None for name, value in line.items()}})
        epochs = [{**row, "epoch": int(row["epoch"])} for row in rows if row["epoch"] is not None]
        strengths = [row for row in rows if row["l2"] is not None]
        return epochs, mean_path(strengths) if any(FOLD in row for row in strengths) else strengths

    def _repr_html_(self) -> str:
        from headstart.reporting.plots import probe_path, standalone, training_curves

        split = judged_on(self.metrics)
        found = self.metrics[split]
        name, accuracy = headline(found)
        classes = found["report"]["classes"]
        if len(classes) > MOST:
            classes = [classes[c] for c in worst_first(classes)]
        rows = [
            {
                "class": row["label"], **{name: f"{row[name]:.3f}" for name in ("precision", "recall", "f1")},
                "photos": row["support"],
            }
            for row in classes[:MOST]
        ]  # fmt: skip
        epochs, strengths = self._history()
        plots = [*training_curves(epochs), *probe_path(strengths)]
        drawn = "".join(f"<div style='display:inline-block'>{standalone(plot)}</div>" for plot in plots)
        photos, strategy = f"{html(found['photos'])} {JUDGED[split]} photos", html(self.plan.strategy)
        return (
            f"<p><b>{html(self.path.name)}</b>: {name} {accuracy['value']:.4f} on {photos} "
            f"(95 % confidence interval {accuracy['low']:.4f} to {accuracy['high']:.4f}), {strategy}</p>"
            f"{table_html(rows)}{drawn}<p>{html(self.path / 'report.html')}</p>"
        )

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
