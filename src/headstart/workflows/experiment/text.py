"""A study or a comparison in plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.workflows.experiment.rows import ArmRow, DifferenceRow


def study_text(title: str, rows: Sequence[ArmRow], differences: Sequence[DifferenceRow], answer: str) -> str:
    """Table, differences and answer of a study."""
    names = [f"{row.arm} {row.point}" if row.point else row.arm for row in rows]
    published = [row.published_words or ("–" if row.published is None else f"{row.published:.3f}") for row in rows]
    width, setting, said = (
        max(map(len, column))
        for column in (["arm", *names], ["setting", *(row.setting for row in rows)], ["published", *published])
    )
    head = f"{'published':>{said}}  {'ours':>6}  {'95 % interval':>14}  {'s':>6}  per seed"
    lines = [title, "", f"{'arm':{width}}  {'setting':{setting}}  {head}"]
    for name, words, row in zip(names, published, rows, strict=True):
        lines.append(
            f"{name:{width}}  {row.setting:{setting}}  {words:>{said}}  {row.mean:6.3f}  "
            f"{_interval(row.low, row.high):>14}  {row.seconds:6.0f}  {_each(row.values)}"
        )
    lines += ["", "differences"] if differences else []
    for gap in differences:
        at = f" at {gap.point}" if gap.point else ""
        chance = "" if gap.p_value is None else f", p {'< 0.001' if gap.p_value < 0.001 else f'= {gap.p_value:.2g}'}"
        counts = "" if gap.only_first is None else f" (correct by one alone: {gap.only_first}, {gap.only_second})"
        interval = f"{_signed(gap.low, gap.high)}, over {gap.over}{chance}{counts}"
        lines.append(f"  {gap.first} − {gap.second}{at}: {gap.mean:+.3f} {interval}: {gap.verdict}")
    return "\n".join([*lines, "", answer])


def comparison_text(rows: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]], answer: str) -> str:
    """Table, differences and answer of a comparison."""
    lines = [f"{'photos':>14}  {'arm':9}  {'accuracy':>8}  {'95 % interval':>15}  {'seconds':>7}   per seed"]
    for row in rows:
        lines.append(
            f"{row['group'] or 'all':>14}  {row['arm']:9}  {row['mean']:8.3f}  "
            f"{_interval(row['low'], row['high']):>15}  {row['seconds']:7.1f}   {_each(row['values'])}"
        )
    lines += ["", f"{'photos':>14}  difference"] if differences else []
    for d in differences:
        gap = f"{d['first']} − {d['second']}: {d['mean']:+.3f} {_signed(d['low'], d['high'])}"
        lines.append(f"{d['group'] or 'all':>14}  {gap}  {d['verdict']}")
    return "\n".join([*lines, "", answer])


def _each(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _interval(low: float | None, high: float | None) -> str:
    return "one run" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _signed(low: float | None, high: float | None) -> str:
    return "(one run)" if low is None or high is None else f"[{low:+.3f}, {high:+.3f}]"
