"""A recommendation in words: a sentence or two, and the table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.core.text import duration
from headstart.workflows.recommend.ranking import AHEAD, chances

Row = dict[str, Any]
_COLUMNS = (
    ("probe", 6), ("95 % band", 14), ("k-NN", 6), ("LogME", 7), ("ms/photo", 8), ("all photos", 10), ("MB", 6),
    ("ImageNet", 8),
)  # fmt: skip


def answer(rows: Sequence[Row], photos: int) -> tuple[str, int]:
    """(which backbone to take and why, its index). ``rows``: in rank order, with ``ahead``: the share of resamples in
    which the first is ahead of this one.
    """
    first, others = rows[0], rows[1:]
    best = first["backbone"]
    if not others:
        return f"{best} is the only one that was measured: a linear probe reaches {first['accuracy']:.1%}.", 0
    level = [row for row in others if row["ahead"] < AHEAD]
    if not level:
        second, sure = others[0]["backbone"], chances(others[0]["ahead"])
        return f"As a probe {best} does best on these photos: it is ahead of {second} {sure}.", 0
    take = min((first, *level), key=lambda row: row["ms"])
    names = ", ".join(row["backbone"] for row in (first, *level[:-1]))
    shares = ", ".join(f"of {row['backbone']} {chances(row['ahead'])}" for row in level)
    why = "which leads and is also the fastest of them" if take is first else "the fastest of them"
    return (
        f"{names} and {level[-1]['backbone']} cannot be told apart by these {photos} photos ({best} is ahead {shares}):"
        f" take {take['backbone']}, {why} ({_short(take['ms'])} ms per photo)."
    ), rows.index(take)


def table(rows: Sequence[Row], over: Sequence[Row], left_out: Sequence[Row]) -> list[str]:
    """Lines: the ranking, then what is over the budget and what could not be measured, each with its reason."""
    width = max(len("backbone"), *(len(row["backbone"]) for row in (*rows, *over, *left_out)))
    lines = ["   ".join(["   " + "backbone".ljust(width), *(name.rjust(n) for name, n in _COLUMNS)])]
    for row in rows:
        cells = (cell.rjust(n) for cell, (_, n) in zip(_cells(row), _COLUMNS, strict=True))
        lines.append("   ".join([f"{row['rank']:2} " + row["backbone"].ljust(width), *cells]))
    for title, found in (("over the budget", over), ("left out", left_out)):
        if found:
            lines += ["", f"{title}:", *(f"   {row['backbone']:{width}}   {row['reason']}" for row in found)]
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    known = row["imagenet"]
    return (
        f"{row['accuracy']:.3f}", f"{row['low']:.3f}–{row['high']:.3f}", f"{row['knn']:.3f}", f"{row['logme']:.3f}",
        _short(row["ms"]), duration(row["seconds"]), _short(row["mb"]), "–" if known is None else f"{known:.1f}",
    )  # fmt: skip


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
