"""At home in a notebook. In: photos, runs, comparisons, studies, predictions. Out: HTML that shows them, pandas frames,
matplotlib figures.

The objects themselves call this (``_repr_html_``, ``frame``, ``figure``); nothing here is needed outside a notebook.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data.decode import BadPhoto, decode
from headstart.data.imageset import Listing
from headstart.data.names import natural_key
from headstart.data.pixels import centre
from headstart.data.scan import scan
from headstart.errors import OptionError
from headstart.report.forecast import drawn_bands
from headstart.report.images import thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from headstart.classifier import Prediction
    from headstart.forecasting.forecasting import Forecast
    from headstart.run import Run

SIDE = 112
PER_CLASS = 6
MOST = 24
"""Classes, or predictions, that are shown."""
_TILE = "display:inline-block;margin:0 8px 8px 0;vertical-align:top;font-size:12px;line-height:1.35"


def frame(rows: Iterable[Mapping[str, Any]]) -> DataFrame:
    """Rows as a pandas frame. Raises OptionError where pandas is not installed."""
    return _pandas().DataFrame(list(rows))


def read_frame(path: Path) -> DataFrame:
    """One of a run's tables as a pandas frame. Raises OptionError where pandas is not installed."""
    return _pandas().read_csv(path)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise OptionError("Frames need pandas.", "pip install 'headstart[notebook]'") from None
    return pandas


@dataclass(frozen=True)
class Photos:
    """Labelled photos as they were found; in a notebook, a grid of them."""

    listing: Listing

    @property
    def counts(self) -> dict[str, int]:
        """Photos per class, in natural order."""
        found: dict[str, int] = {}
        for photo in self.listing.photos:
            found[photo.label] = found.get(photo.label, 0) + 1
        return dict(sorted(found.items(), key=lambda pair: natural_key(pair[0])))

    def frame(self) -> DataFrame:
        """A row per photo: path, label, split (where the data has splits)."""
        return frame({"path": str(p.path), "label": p.label, "split": p.split} for p in self.listing.photos)

    def __repr__(self) -> str:
        return f"{self.listing.name}: {len(self.listing.photos)} photos, {self.listing.layout}, {self.counts}"

    def _repr_html_(self) -> str:
        parts = [f"<p><b>{escape(self.listing.name)}</b>: {len(self.listing.photos)} photos, {self.listing.layout}</p>"]
        for label, number in list(self.counts.items())[:MOST]:
            mine = [p.path for p in self.listing.photos if p.label == label]
            spread = [mine[int(i)] for i in np.linspace(0, len(mine) - 1, min(PER_CLASS, len(mine)))]
            pictures = "".join(_picture(path) for path in spread)
            parts.append(f"<p style='margin:0'>{escape(label)} ({number})</p><div>{pictures}</div>")
        return "".join(parts)


def photos(data: str | Path) -> Photos:
    """Look at labelled photos (as for ``train``) before anything is done with them. Raises DataError."""
    return Photos(scan(data, for_training=False))


def _picture(path: Path, words: str = "") -> str:
    try:
        source = thumbnail(centre(decode(path, SIDE).pixels, SIDE), SIDE)
    except BadPhoto as bad:
        return f"<div style='{_TILE}'>{escape(path.name)}: {escape(bad.reason)}</div>"
    return f"<div style='{_TILE}'><img src='{source}' width='{SIDE}' height='{SIDE}'><br>{words}</div>"


def predictions_html(predictions: Sequence[Prediction]) -> str:
    """A gallery of answers."""
    tiles = []
    for one in predictions[:MOST]:
        mark = " unknown?" if one.unknown else ""
        words = escape(one.problem or f"{one.label} {one.confidence:.3f}{mark}")
        tiles.append(_picture(one.path, f"{words}<br><span style='opacity:.6'>{escape(one.path.name)}</span>"))
    left = len(predictions) - MOST
    return "<div>" + "".join(tiles) + "</div>" + (f"<p>… and {left} more</p>" if left > 0 else "")


def run_html(run: Run) -> str:
    """The answer, how it was found, and the curves."""
    split = "test" if "test" in run.metrics else "val"
    found = run.metrics[split]
    accuracy = found["accuracy"]
    rows = [
        {"class": row["label"], **{k: f"{row[k]:.3f}" for k in ("precision", "recall", "f1")}, "photos": row["support"]}
        for row in found["report"]["classes"][:MOST]
    ]
    return (
        f"<p><b>{escape(run.path.name)}</b>: accuracy {accuracy['value']:.4f} on {found['photos']} {split} photos "
        f"(95 % interval {accuracy['low']:.4f} to {accuracy['high']:.4f}), {run.plan.strategy}</p>"
        f"{table_html(rows)}{_curves_html(run)}<p>{escape(str(run.path / 'report.html'))}</p>"
    )


def _curves_html(run: Run) -> str:
    from headstart.report.study_plots import standalone

    return "".join(f"<div style='display:inline-block'>{standalone(plot)}</div>" for plot in _plots(run))


def _plots(run: Run) -> list[Any]:
    from headstart.report.plots import probe_path, training_curves

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
    figure = _figure(9, 3.2)
    for axes, measure in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for split, style in (("train", "--"), ("val", "-")):
            name = f"{split}_{measure}"
            pairs = [(row[axis], row[name]) for row in rows if row.get(name) is not None]
            if pairs:
                axes.plot(*zip(*pairs, strict=True), style, marker="o", markersize=3, label=split)
        axes.set(xlabel=axis, ylabel=measure, xscale="log" if axis == "l2" else "linear")
        axes.legend()
    return figure


def learning_curve(forecast: Forecast) -> Figure:
    """What was measured and what is forecast, accuracy over photos, with the band."""
    bands = drawn_bands(forecast)
    figure = _figure(6, 3.6)
    axes = figure.subplots()
    photos = [band.photos for band in bands]
    axes.fill_between(photos, [b.low for b in bands], [b.high for b in bands], alpha=0.2, label="band")
    axes.plot(photos, [b.value for b in bands], label="expected")
    axes.plot(forecast.measured.sizes, forecast.measured.accuracy, "o", markersize=4, label="measured")
    axes.axvline(forecast.photos, linestyle="--", linewidth=1, color="grey")
    axes.set(xlabel="photos", ylabel="accuracy", xscale="log")
    axes.legend(loc="lower right")
    return figure


def _figure(width: float, height: float) -> Figure:
    """A figure (inches) that a notebook shows though pyplot does not know it."""
    from matplotlib.figure import Figure

    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            out = io.BytesIO()
            self.savefig(out, format="png", dpi=110)
            return out.getvalue()

    return Shown(figsize=(width, height), layout="constrained")


def table_html(rows: Sequence[Mapping[str, Any]]) -> str:
    """A plain table."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    cells = ("".join(f"<td>{escape(_words(value))}</td>" for value in row.values()) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list | tuple):
        return " ".join(map(_words, value))
    return "" if value is None else str(value)


def answer_html(answer: str, rows: Sequence[Mapping[str, Any]], report: Path | None) -> str:
    """A comparison or a study: its sentence and its table."""
    where = f"<p>{escape(str(report))}</p>" if report else ""
    return f"<p><b>{escape(answer)}</b></p>{table_html(rows)}{where}"
