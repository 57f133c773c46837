"""HTML, pandas frames and matplotlib figures of results, for notebooks."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.extras import require
from headstart.core.files import unguarded
from headstart.core.text import printable
from headstart.data.bounds import BadPhoto
from headstart.data.decode import decode
from headstart.data.images import centre
from headstart.data.schema import ImageRef
from headstart.reporting.images import thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


SIDE = 112
MOST = 24
"""Classes, or predictions, that are shown."""
_ANY_TEXT = ("mode.string_storage", "python")
"""An option of pandas: pyarrow, in which it keeps text where that is installed, refuses names that no encoding has."""
_TEXTS = ("path", "split", "label", "predicted", "strategy")
"""Columns of a run's tables that hold text, whatever it looks like."""
_TILE = "display:inline-block;margin:0 8px 8px 0;vertical-align:top;font-size:12px;line-height:1.35"


def html(text: object) -> str:
    """Text from outside as HTML, within an element or a quoted attribute."""
    return escape(printable(text))


def frame(rows: Iterable[Mapping[str, Any]]) -> DataFrame:
    """Rows as a pandas frame. Raises OptionError where pandas is not installed."""
    pandas = _pandas()
    with pandas.option_context(*_ANY_TEXT):
        return pandas.DataFrame(list(rows))


def read_frame(path: Path) -> DataFrame:
    """One of a run's tables as a pandas frame. Raises OptionError where pandas is not installed."""
    # Only an empty cell is missing: "NA" may be a class, and so may "001" and "True".
    pandas, texts = _pandas(), dict.fromkeys(_TEXTS, str)
    with pandas.option_context(*_ANY_TEXT):
        found = pandas.read_csv(
            path, keep_default_na=False, na_values=[""], encoding_errors="surrogateescape", dtype=texts
        )
        return found.map(lambda cell: unguarded(cell) if isinstance(cell, str) else cell)


def _pandas() -> Any:
    require("A frame", ["pandas"], "notebook")
    import pandas

    return pandas


def photo_tile(photo: ImageRef, words: str = "") -> str:
    try:
        source = thumbnail(centre(decode(photo, SIDE).pixels, SIDE), SIDE)
    except BadPhoto as bad:
        return f"<div style='{_TILE}'>{html(photo.name)}: {html(bad.problem)}</div>"
    return f"<div style='{_TILE}'><img src='{source}' width='{SIDE}' height='{SIDE}'><br>{words}</div>"


def new_figure(width: float, height: float) -> Figure:
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

    def shown(value: Any) -> str:
        if isinstance(value, list | tuple):
            return " ".join(map(shown, value))
        return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)

    head = "".join(f"<th>{html(name)}</th>" for name in rows[0])
    cells = ("".join(f"<td>{html(shown(value))}</td>" for value in row.values()) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def answer_html(answer: str, rows: Sequence[Mapping[str, Any]], report: Path | None) -> str:
    """A comparison or a study: its sentence and its table."""
    where = f"<p>{html(report)}</p>" if report else ""
    return f"<p><b>{html(answer)}</b></p>{table_html(rows)}{where}"
