"""Rows, differences, curves and sweeps of the trainings of a study or a comparison, and the result in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from headstart.core.text import joined, plural
from headstart.evaluation import statistics
from headstart.evaluation.over_seeds import MIN_SEEDS, accuracy_over_seeds, difference_over_seeds
from headstart.evaluation.statistics import mcnemar
from headstart.workflows.experiment.recipe import Arm, Recipe
from headstart.workflows.experiment.results import JobResult
from headstart.workflows.experiment.rows import ArmRow, Curve, DifferenceRow, Sweep

_AXES = {
    "shots": "photos per class", "fraction": "part of the training photos", "cut": "the network ends after",
    "image_size": "input size, px",
}  # fmt: skip
UNCLEAR = "not yet clear"
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
        first, values = members[0], [m.accuracy for m in members]
        interval = _accuracy(members)
        plan, cut = first.plan, first.job.options.cut  # a comparison has no plan
        setting = [plan["strategy"], f"cut after {cut}" if cut else "", f"{plan['image_size']} px"] if plan else []
        setting += [plural(len(first.history), "epoch") if first.history else "", plural(first.train_photos, "photo")]
        rows.append(ArmRow(
            arm.name, interval.value, values, interval.low, interval.high, interval.method, arm.images,
            point, arm.published, arm.said, arm.expected, ", ".join(filter(None, setting)),
            _mean([m.seconds for m in members]), len(first.correct), arm.note,
        ))  # fmt: skip
    return rows


def _accuracy(members: Sequence[JobResult]) -> statistics.Interval:
    if len(members) == 1:
        (one,) = members
        found = statistics.wilson(int(one.correct.sum()), len(one.correct))
        return replace(found, method=f"one run; {found.method} over photos")
    return accuracy_over_seeds([m.photos for m in members], [m.correct for m in members], members[0].pool)


def differences(recipe: Recipe, results: Sequence[JobResult]) -> list[DifferenceRow]:
    """Every pair of arms at every point they share, the better first; p-values corrected for the number of them all."""
    groups = grouped(results)
    found: list[DifferenceRow] = []
    for first, second in compared_pairs(recipe):
        for point in _shared_points(recipe.arm(first), recipe.arm(second)):
            a, b = groups.get((first, point[0])), groups.get((second, point[1]))
            row = a and b and _pair(a, b, point[0] or point[1])
            found += [row] if row else []
    corrected = statistics.holm([1.0 if row.p_value is None else row.p_value for row in found])
    return [_judged(replace(row, p_holm=p)) for row, p in zip(found, corrected, strict=True)]


def _judged(row: DifferenceRow) -> DifferenceRow:
    """The row with its verdict: of fewer than ``MIN_SEEDS`` seeds it is about the networks at hand."""
    these = "" if row.seeds >= MIN_SEEDS else f" in {runs(row.seeds)}"
    return replace(row, verdict=f"better{these}" if row.settled else UNCLEAR)


def runs(seeds: int) -> str:
    """ "this one run", "these 2 runs"."""
    return "this one run" if seeds == 1 else f"these {seeds} runs"


def more_seeds(seeds: int) -> str:
    """What to run where something is not clear: "run it with 5 seeds"."""
    return f"run it with {5 if seeds < 5 else 2 * seeds} seeds"


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


def _pair(a: Sequence[JobResult], b: Sequence[JobResult], point: str) -> DifferenceRow | None:
    """The difference over the seeds of both; None for arms that were not tested on the same photos."""
    yours = {m.job.seed: m for m in b}
    by_seed = [(m, yours[m.job.seed]) for m in a if m.job.seed in yours]
    if not by_seed or not all(np.array_equal(x.photos, y.photos) for x, y in by_seed):
        return None
    if sum(x.accuracy - y.accuracy for x, y in by_seed) < 0:  # name the better first
        by_seed = [(y, x) for x, y in by_seed]
    (x, y), seeds = by_seed[0], len(by_seed)
    only = mcnemar(x.correct, y.correct) if seeds == 1 else None
    if only:
        gap = statistics.paired_difference(x.correct, y.correct)
        gap = replace(gap, method=f"{gap.method}; seed {x.job.seed}")
    else:
        photos, mine, theirs = zip(*((x.photos, x.correct, y.correct) for x, y in by_seed), strict=True)
        gap = difference_over_seeds(photos, mine, theirs, x.pool)
    return DifferenceRow(
        x.arm, y.arm, gap.value, gap.low, gap.high, gap.p_value, gap.method,
        "seeds and photos" if seeds >= MIN_SEEDS else "photos", x.job.arm.images, point, only and only.only_a,
        only and only.only_b, seeds=seeds,
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
    several = values("val_accuracy") if len(members) >= MIN_SEEDS else []
    lows, highs = tuple(map(min, several)), tuple(map(max, several))
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
    return f"{'A quick trial: ' if recipe.quick else ''}{_answer(recipe, rows, found)}"


def _answer(recipe: Recipe, rows: Sequence[ArmRow], found: Sequence[DifferenceRow]) -> str:
    if not found:
        best = max(rows, key=lambda row: row.mean)
        return f"{_named(best.arm, best.point)} classifies {best.mean:.1%} of {best.judged} photos correctly."
    gap = found[-1] if recipe.arm(found[0].first).sweep else found[0]
    values = {(row.arm, row.point): row.values for row in rows}
    first, second = ((arm, gap.point if recipe.arm(arm).sweep else "") for arm in (gap.first, gap.second))
    seeds = min(len(values[first]), len(values[second]))  # those that were compared
    a, b = (_mean(values[each][:seeds]) for each in (first, second))
    better, figures = _named(*first), f"classifies {a:.1%} of the photos correctly, {_named(*second)} {b:.1%}"
    return sentence(gap.settled, seeds, f"{better} is better", better, figures)


def sentence(settled: bool, seeds: int, claim: str, best: str, figures: str) -> str:
    """The claim with the figures of the arm ``best``, where the difference stands (of few seeds, about their networks);
    else what to do.
    """
    if not settled:
        return f"Not yet clear: {best} {figures}; {more_seeds(seeds)}."
    figures = f"{'it' if claim.startswith(best) else best} {figures}"
    if seeds >= MIN_SEEDS:
        return f"{claim}: {figures}."
    return f"{claim} in {runs(seeds)}: {figures}; other runs may differ ({more_seeds(seeds)})."


def study_text(recipe: Recipe, rows: Sequence[ArmRow], differences: Sequence[DifferenceRow], answer: str) -> str:
    """Table, differences and answer of a study."""
    names = [f"{row.arm} {row.point}" if row.point else row.arm for row in rows]
    published = [row.published_words or ("–" if row.published is None else f"{row.published:.3f}") for row in rows]
    width, setting, said = (
        max(map(len, column))
        for column in (["arm", *names], ["setting", *(row.setting for row in rows)], ["published", *published])
    )
    head = f"{'published':>{said}}  {'ours':>6}  {'95 % interval':>14}  {'s':>6}  per seed"
    lines = [
        recipe.title,
        "",
        *([recipe.quick, ""] if recipe.quick else []),
        f"{'arm':{width}}  {'setting':{setting}}  {head}",
    ]
    for name, words, row in zip(names, published, rows, strict=True):
        lines.append(
            f"{name:{width}}  {row.setting:{setting}}  {words:>{said}}  {row.mean:6.3f}  "
            f"{_interval(row.low, row.high):>14}  {row.seconds:6.0f}  {_each(row.values)}"
        )
    lines += ["", f"differences ({_corrected(len(differences))})"] if differences else []
    for gap in differences:
        at = f" at {gap.point}" if gap.point else ""
        p = gap.p_holm
        chance = "" if p is None else f", p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}"
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
    lines += ["", f"{'photos':>14}  difference ({_corrected(len(differences))})"] if differences else []
    for d in differences:
        gap = f"{d['first']} − {d['second']}: {d['mean']:+.3f} {_signed(d['low'], d['high'])}"
        lines.append(f"{d['group'] or 'all':>14}  {gap}  {d['verdict']}")
    return joined([*lines, "", answer])


def _corrected(number: int) -> str:
    return "95 % intervals" if number == 1 else f"95 % intervals; verdicts with Holm's correction for {number}"


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
