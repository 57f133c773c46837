"""A study in plain text. In: a ``Study``. Out: its table and differences, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.workflows.experiment.rows import StudyDifference, StudyRow
    from headstart.workflows.experiment.study_result import Study


def caveats_side_by_side(one_run: bool, on_val: bool) -> list[str]:
    """What a careful reader of several trainings should know."""
    notes = []
    if one_run:
        notes.append("One seed is one run: intervals are over photos only; other splits and starts are not in them.")
    if on_val:
        notes.append("There is no test split: arms are judged, a little too well, on the photos that they chose by.")
    return notes


def study_text(study: Study) -> str:
    """Table, differences and answer."""
    names = [_name(row) for row in study.rows]
    width = max(len("arm"), *map(len, names))
    setting = max(len("setting"), *(len(row.setting) for row in study.rows))
    said = max(len("published"), *(len(_published(row)) for row in study.rows))
    lines = [
        f"{study.recipe.title}",
        "",
        f"{'arm':{width}}  {'setting':{setting}}  {'published':>{said}}  {'ours':>6}  {'95 % interval':>14}  {'s':>6}"
        "  per seed",
    ]
    for name, row in zip(names, study.rows, strict=True):
        lines.append(
            f"{name:{width}}  {row.setting:{setting}}  {_published(row):>{said}}  {row.mean:6.3f}  "
            f"{_interval(row):>14}  {row.seconds:6.0f}  {' '.join(f'{v:.3f}' for v in row.values)}"
        )
    if study.differences:
        lines += ["", "differences"]
    lines += [_difference(gap) for gap in study.differences]
    return "\n".join([*lines, "", study.answer])


def _name(row: StudyRow) -> str:
    return f"{row.arm} {row.point}" if row.point else row.arm


def _published(row: StudyRow) -> str:
    return row.published_words or ("–" if row.published is None else f"{row.published:.3f}")


def _interval(row: StudyRow) -> str:
    if row.low is None or row.high is None:
        return "one run"
    return f"{row.low:.3f} to {row.high:.3f}"


def _difference(gap: StudyDifference) -> str:
    at = f" at {gap.point}" if gap.point else ""
    sure = f"[{gap.low:+.3f}, {gap.high:+.3f}]" if gap.low is not None else "(one run)"
    chance = "" if gap.p_value is None else f", p {'< 0.001' if gap.p_value < 0.001 else f'= {gap.p_value:.2g}'}"
    counts = "" if gap.only_first is None else f" (right alone: {gap.only_first}, {gap.only_second})"
    return f"  {gap.first} − {gap.second}{at}: {gap.mean:+.3f} {sure}, over {gap.over}{chance}{counts}: {gap.verdict}"
