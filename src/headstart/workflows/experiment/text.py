"""A study or a comparison in plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.workflows.experiment.rows import ArmRow, DifferenceRow


def caveats_side_by_side(one_run: bool, on_val: bool) -> list[str]:
    """What a careful reader of several trainings should know."""
    notes = []
    if one_run:
        notes.append("One seed is one run: intervals are over photos only; other splits and starts are not in them.")
    if on_val:
        notes.append(
            "There is no test split: arms are evaluated on the validation photos that they were chosen by, so their "
            "accuracies are slightly too high."
        )
    return notes


def study_text(title: str, rows: Sequence[ArmRow], differences: Sequence[DifferenceRow], answer: str) -> str:
    """Table, differences and answer of a study."""
    names = [f"{row.arm} {row.point}" if row.point else row.arm for row in rows]
    width = max(len("arm"), *map(len, names))
    setting = max(len("setting"), *(len(row.setting) for row in rows))
    said = max(len("published"), *(len(_published(row)) for row in rows))
    lines = [
        f"{title}",
        "",
        f"{'arm':{width}}  {'setting':{setting}}  {'published':>{said}}  {'ours':>6}  {'95 % interval':>14}  {'s':>6}"
        "  per seed",
    ]
    for name, row in zip(names, rows, strict=True):
        lines.append(
            f"{name:{width}}  {row.setting:{setting}}  {_published(row):>{said}}  {row.mean:6.3f}  "
            f"{_interval(row.low, row.high):>14}  {row.seconds:6.0f}  {_each(row.values)}"
        )
    if differences:
        lines += ["", "differences"]
    lines += [_difference(gap) for gap in differences]
    return "\n".join([*lines, "", answer])


def comparison_text(rows: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]], answer: str) -> str:
    """Table, differences and answer of a comparison."""
    lines = [f"{'photos':>14}  {'arm':9}  {'accuracy':>8}  {'95 % interval':>15}  {'seconds':>7}   per seed"]
    for row in rows:
        lines.append(
            f"{row['group'] or 'all':>14}  {row['arm']:9}  {row['mean']:8.3f}  "
            f"{_interval(row['low'], row['high']):>15}  {row['seconds']:7.1f}   {_each(row['values'])}"
        )
    if differences:
        lines += ["", f"{'photos':>14}  difference"]
    for d in differences:
        gap = f"{d['first']} − {d['second']}: {d['mean']:+.3f} {_signed(d['low'], d['high'])}"
        lines.append(f"{d['group'] or 'all':>14}  {gap}  {d['verdict']}")
    return "\n".join([*lines, "", answer])


def _published(row: ArmRow) -> str:
    return row.published_words or ("–" if row.published is None else f"{row.published:.3f}")


def _each(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _interval(low: float | None, high: float | None) -> str:
    return "one run" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _signed(low: float | None, high: float | None) -> str:
    return "(one run)" if low is None or high is None else f"[{low:+.3f}, {high:+.3f}]"


def _difference(gap: DifferenceRow) -> str:
    at = f" at {gap.point}" if gap.point else ""
    chance = "" if gap.p_value is None else f", p {'< 0.001' if gap.p_value < 0.001 else f'= {gap.p_value:.2g}'}"
    counts = "" if gap.only_first is None else f" (correct by one alone: {gap.only_first}, {gap.only_second})"
    return (
        f"  {gap.first} − {gap.second}{at}: {gap.mean:+.3f} {_signed(gap.low, gap.high)}, over {gap.over}{chance}"
        f"{counts}: {gap.verdict}"
    )
