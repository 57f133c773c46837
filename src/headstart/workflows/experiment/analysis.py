"""Rows, differences, curves and sweeps of the trainings of a study or a comparison, and the result in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from headstart.core.text import joined, plural
from headstart.evaluation import statistics
from headstart.workflows.experiment.recipe import Arm, Recipe
from headstart.workflows.experiment.results import JobResult
from headstart.workflows.experiment.rows import ArmRow, Curve, DifferenceRow, Sweep

_AXES = {
    "shots": "photos per class", "fraction": "part of the training photos", "cut": "the network ends after",
    "image_size": "input size, px",
}  # fmt: skip
Row = TypeVar("Row", ArmRow, DifferenceRow, Curve)


def grouped(results: Sequence[JobResult]) -> dict[tuple[str, str], list[JobResult]]:
    """(arm, point) to its results, in the order of seeds."""
    groups: dict[tuple[str, str], list[JobResult]] = {}
    for result in sorted(results, key=lambda r: r.job.seed):
        groups.setdefault((result.arm, result.job.point), []).append(result)
    return groups


def table(recipe: Recipe, results: Sequence[JobResult]) -> list[ArmRow]:
    """A row per arm and point, in the recipe's order."""
    groups, rows = grouped(results), []
    keys = [(arm, point) for arm in recipe.arms for point, _ in arm.points() if (arm.name, point) in groups]
    for arm, point in keys:
        members = groups[arm.name, point]
        first, values, several = members[0], [m.accuracy for m in members], len(members) > 1
        if several:
            interval = statistics.t_interval(values, within=(0, 1))
        else:
            interval = statistics.wilson(int(first.correct.sum()), len(first.correct))
        plan, cut = first.plan, first.job.options.cut  # a comparison has no plan
        setting = [plan["strategy"], f"cut after {cut}" if cut else "", f"{plan['image_size']} px"] if plan else []
        setting += [plural(len(first.history), "epoch") if first.history else "", plural(first.train_photos, "photo")]
        rows.append(ArmRow(
            arm.name, interval.value, values, interval.low, interval.high,
            interval.method if several else f"one run; {interval.method} over photos",
            arm.images, point, arm.published, arm.said, arm.expected, ", ".join(filter(None, setting)),
            _mean([m.seconds for m in members]), len(first.correct), arm.note,
        ))  # fmt: skip
    return rows


def differences(recipe: Recipe, results: Sequence[JobResult]) -> list[DifferenceRow]:
    """Every pair of arms at every point they share: over seeds where there are several, and over the photos of the
    first seed.
    """
    groups = grouped(results)
    found: list[DifferenceRow] = []
    for first, second in compared_pairs(recipe):
        for point in _shared_points(recipe.arm(first), recipe.arm(second)):
            a, b = groups.get((first, point[0])), groups.get((second, point[1]))
            if a and b:
                found += _pair(a, b, point[0] or point[1])
    return found


def seed_differences(recipe: Recipe, results: Sequence[JobResult]) -> list[DifferenceRow]:
    """One difference per pair and point: over seeds, or over photos where there is a single seed."""
    over = "seeds" if recipe.seeds > 1 else "photos"
    return [gap for gap in differences(recipe, results) if gap.over == over]


def by_point(recipe: Recipe, rows: Sequence[Row]) -> list[Row]:
    """Rows of arms that share one sweep, point by point."""
    order = [point for point, _ in recipe.arms[0].points()]
    return sorted(rows, key=lambda row: order.index(row.point))


def compared_pairs(recipe: Recipe) -> list[tuple[str, str]]:
    """The pairs that the recipe names; else all arms on the same photos."""
    if recipe.pairs:
        return list(recipe.pairs)
    return [(a.name, b.name) for a, b in combinations(recipe.arms, 2) if a.images == b.images]


def _shared_points(a: Arm, b: Arm) -> list[tuple[str, str]]:
    """Points of both that are to be compared: the same one of the same sweep, or one arm's only one with each."""
    mine, yours = [label for label, _ in a.points()], [label for label, _ in b.points()]
    if a.sweep and b.sweep:
        return [(label, label) for label in mine if label in yours] if a.sweep[0] == b.sweep[0] else []
    return [(x, y) for x in mine for y in yours]


def _pair(a: Sequence[JobResult], b: Sequence[JobResult], point: str) -> Iterator[DifferenceRow]:
    yours = {m.job.seed: m for m in b}
    by_seed = [(m, yours[m.job.seed]) for m in a if m.job.seed in yours]
    if not by_seed:
        return
    if sum(x.accuracy - y.accuracy for x, y in by_seed) < 0:  # name the better first
        a, b, by_seed = b, a, [(y, x) for x, y in by_seed]
    if len(by_seed) > 1:
        gap = statistics.difference_over_seeds([x.accuracy for x, _ in by_seed], [y.accuracy for _, y in by_seed])
        yield DifferenceRow(
            a[0].arm, b[0].arm, gap.value, gap.low, gap.high, gap.p_value, gap.method, "seeds", a[0].job.arm.images,
            point, verdict=statistics.verdict(gap),
        )  # fmt: skip
    x, y = by_seed[0]
    # For the many points of a curve, seeds are enough.
    swept = len(by_seed) > 1 and (a[0].job.arm.sweep or b[0].job.arm.sweep)
    if swept or x.photos_digest != y.photos_digest:
        return
    gap, test = statistics.paired_difference(x.correct, y.correct), statistics.mcnemar(x.correct, y.correct)
    yield DifferenceRow(
        x.arm, y.arm, gap.value, gap.low, gap.high, gap.p_value, f"{gap.method}; seed {x.job.seed}", "photos",
        x.job.arm.images, point, test.only_a, test.only_b, statistics.verdict(gap),
    )  # fmt: skip


def curves(recipe: Recipe, results: Sequence[JobResult], swept: bool = False) -> list[Curve]:
    """Epoch by epoch, for arms that are not swept; with ``swept`` for all, at each of their points."""
    groups = grouped(results)
    keys = [(arm.name, point) for arm in recipe.arms if swept or not arm.sweep for point, _ in arm.points()]
    shown = [groups[key] for key in keys if key in groups]
    return [_curve(members) for members in shown] if any(m.history for ms in shown for m in ms) else []


def _curve(members: Sequence[JobResult]) -> Curve:
    first, level = (
        members[0],
        not all(m.history for m in members),
    )  # probes, and what ``auto`` left as one with some seed
    histories = [({"val_accuracy": m.val_accuracy},) if level else m.history for m in members]
    epochs = range(min(map(len, histories)))

    def values(measure: str) -> list[list[float]]:
        """Per epoch one value for each seed."""
        taken = all(measure in history[0] for history in histories)
        return [[history[e][measure] for history in histories] for e in epochs] if taken else []

    measures = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    means = {measure: list(map(_mean, values(measure))) for measure in measures}
    several = values("val_accuracy") if len(members) > 1 else []  # one seed has no interval
    bands = [statistics.t_interval(each, within=(0, 1)) for each in several]
    lows, highs = tuple(i.low or 0.0 for i in bands), tuple(i.high or 0.0 for i in bands)
    return Curve(
        first.arm, [e + 1 for e in epochs], **means, val_accuracy_low=lows, val_accuracy_high=highs, level=level,
        point=first.job.point,
    )  # fmt: skip


def sweeps(recipe: Recipe, rows: Sequence[ArmRow]) -> list[Sweep]:
    """One figure per image set and swept option, with the arms that are swept along it."""
    keys = list(dict.fromkeys((arm.images, arm.sweep[0]) for arm in recipe.arms if arm.sweep))
    found = []
    for images, key in keys:
        lines = []
        arms = [arm for arm in recipe.arms if arm.images == images]
        for arm in arms:
            mine = [row for row in rows if row.arm == arm.name]
            if arm.sweep and arm.sweep[0] == key and mine:
                lines.append(mine)
        # Arms that are not swept are level lines; beside input sizes they would mislead.
        plain = {arm.name for arm in arms if not arm.sweep and not arm.deliberate_bugs and key != "image_size"}
        levels = [(row.arm, row.mean) for row in rows if row.arm in plain]
        of = f" ({images})" if len({k for _, k in keys}) < len(keys) else ""
        heading = f"Accuracy by {'cut' if key == 'cut' else _AXES[key]}{of}"
        found.append(Sweep(key, heading, _AXES[key], lines, levels))
    return found


def answer(recipe: Recipe, rows: Sequence[ArmRow], found: Sequence[DifferenceRow]) -> str:
    """The result of a study in a sentence: the first pair's difference, or else the best arm."""
    if not found:
        best = max(rows, key=lambda row: row.mean)
        return f"{_named(best.arm, best.point)} names {best.mean:.1%} of {best.judged} photos correctly."
    gap = found[-1] if recipe.arm(found[0].first).sweep else found[0]
    values = {(row.arm, row.point): row.values for row in rows}
    first, second = ((arm, gap.point if recipe.arm(arm).sweep else "") for arm in (gap.first, gap.second))
    runs = 1 if gap.over == "photos" else min(len(values[first]), len(values[second]))  # those that were compared
    a, b = (_mean(values[each][:runs]) for each in (first, second))
    return f"{_named(*first)} names {a:.1%} of the photos correctly, {_named(*second)} {b:.1%}: {gap.verdict}."


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
    return joined([*lines, "", answer])


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
    return joined([*lines, "", answer])


def _each(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _interval(low: float | None, high: float | None) -> str:
    return "one run" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _signed(low: float | None, high: float | None) -> str:
    return "(one run)" if low is None or high is None else f"[{low:+.3f}, {high:+.3f}]"


def _named(arm: str, point: str) -> str:
    return f"{arm} at {point}" if point else arm


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
