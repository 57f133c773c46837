"""What a study found, against scipy and statsmodels: rows, differences, curves, sweeps, the sentence to take home."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.training.config import TrainOptions
from headstart.workflows.experiment import analysis as findings
from headstart.workflows.experiment.jobs import Job
from headstart.workflows.experiment.recipe import Recipe, parse
from headstart.workflows.experiment.results import JobResult

PHOTOS = 40


def recipe(arms: dict[str, Any], **more: Any) -> Recipe:
    full = {name: {"strategy": "probe", **arm} for name, arm in arms.items()}
    return parse({"name": "own", "images": {"pets": None, "cars": None}, "arms": full, "seeds": 9, **more}, "own.yaml")


def result(
    found: Recipe, arm: str, seed: int, right: int | np.ndarray, point: str = "", *, judged: str = "the same",
    history: Sequence[tuple[float, float]] = (), seconds: float = 1.0, val: float = 0.5,
) -> JobResult:  # fmt: skip
    """``right``: flags, or how many of ``PHOTOS`` (the first ones); ``history``: (loss, val accuracy) by epoch."""
    flags = np.arange(PHOTOS) < right if isinstance(right, int) else right
    options = TrainOptions("/photos", cut=found.arm(arm).options.get("cut"))
    epochs = tuple(
        {"train_loss": loss, "train_accuracy": 0.1, "val_loss": 2 * loss, "val_accuracy": accuracy}
        for loss, accuracy in history
    )
    job = Job(found.arm(arm), point, seed, options, Path("out") / f"{arm}{point}{seed}")
    plan = {"strategy": "probe", "image_size": 64}
    return JobResult(job, "test", flags, judged, epochs, val, seconds, 120, plan, {})


def runs(found: Recipe, **right: Sequence[int]) -> list[JobResult]:
    """Results of several arms: how many photos each seed classified correctly."""
    return [result(found, arm, seed, n) for arm, counts in right.items() for seed, n in enumerate(counts)]


def shuffled(right: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.arange(PHOTOS) < right)


AB = recipe({"a": {}, "b": {}})
SWEPT = recipe({
    "a": {"shots": [1, 5, 10]}, "b": {"shots": [10, 5]}, "plain": {}, "cut": {"cut": ["layer1", "layer2"]},
})  # fmt: skip


# -- rows --


def test_a_row_has_the_mean_over_seeds_with_students_interval() -> None:
    from scipy import stats

    (row,) = findings.table(AB, [result(AB, "a", s, n, seconds=t) for s, n, t in ((1, 30, 2), (0, 26, 4), (2, 31, 9))])
    values = np.array([26, 30, 31]) / PHOTOS  # in the order of seeds, whatever that of the results
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert list(row.values) == values.tolist()
    assert (row.mean, row.low, row.high) == (pytest.approx(values.mean()), pytest.approx(low), pytest.approx(high))
    assert row.method == "Student t 95 %, 3 runs"
    assert (row.seconds, row.judged) == (5, PHOTOS)


def test_a_row_of_one_seed_says_so_and_has_an_interval_over_photos() -> None:
    from statsmodels.stats.proportion import proportion_confint

    (row,) = findings.table(AB, runs(AB, a=[33]))
    low, high = proportion_confint(33, PHOTOS, alpha=0.05, method="wilson")
    assert (row.low, row.high) == (pytest.approx(low), pytest.approx(high))
    assert row.method == "one run; Wilson 95 % over photos"


def test_rows_stand_in_the_recipes_order_with_a_row_per_point() -> None:
    points = [("cut", "layer2"), ("plain", ""), ("b", "5"), ("b", "10"), ("a", "10"), ("a", "1"), ("a", "5")]
    rows = findings.table(SWEPT, [result(SWEPT, arm, 0, 20, point) for arm, point in points])
    assert [(row.arm, row.point) for row in rows] == [
        ("a", "1"), ("a", "5"), ("a", "10"), ("b", "10"), ("b", "5"), ("plain", ""), ("cut", "layer2"),
    ]  # fmt: skip


def test_a_row_tells_what_the_recipe_says_and_how_it_was_trained() -> None:
    arm = {"published": 0.9, "said": "over 0.90", "expected": [0.8, 0.95], "note": "As it was.", "images": "cars"}
    found = recipe({"a": {**arm, "cut": "layer2"}, "b": {}})
    row, plain = findings.table(
        found, [result(found, "a", 0, 20, history=[(1.0, 0.5), (0.9, 0.6)]), *runs(found, b=[20])]
    )
    assert (row.published, row.published_words, row.expected) == (0.9, "over 0.90", (0.8, 0.95))
    assert (row.note, row.images, plain.images) == ("As it was.", "cars", "pets")
    assert row.setting == "probe, cut after layer2, 64 px, 2 epochs, 120 photos"
    assert plain.setting == "probe, 64 px, 120 photos"


# -- differences --


def test_a_difference_over_seeds_is_the_paired_t_test() -> None:
    from scipy import stats

    a, b = [30, 33, 31, 35], [26, 32, 25, 30]
    gap = findings.differences(AB, runs(AB, a=a, b=b))[0]
    test = stats.ttest_rel(np.array(a) / PHOTOS, np.array(b) / PHOTOS)
    interval = test.confidence_interval(0.95)
    assert (gap.first, gap.second, gap.over, gap.images, gap.point) == ("a", "b", "seeds", "pets", "")
    assert gap.mean == pytest.approx((sum(a) - sum(b)) / 4 / PHOTOS)
    assert (gap.low, gap.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert gap.p_value == pytest.approx(test.pvalue)
    assert (gap.only_first, gap.only_second) == (None, None)


def test_a_difference_over_photos_is_mcnemars_test_on_the_first_seed() -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    a, b = shuffled(34, 1), shuffled(22, 2)
    results = [result(AB, "a", 0, a), result(AB, "b", 0, b), result(AB, "a", 1, 40), result(AB, "b", 1, 1)]
    seeds, gap = findings.differences(AB, results)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    assert (seeds.over, gap.over) == ("seeds", "photos")
    assert (gap.only_first, gap.only_second) == (only_a, only_b)
    assert gap.p_value == pytest.approx(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)
    assert gap.mean == pytest.approx((only_a - only_b) / PHOTOS)
    assert gap.method.endswith("McNemar exact; seed 0")
    rng = np.random.default_rng(7)
    drawn = [(a[i].mean() - b[i].mean()) for i in rng.integers(0, PHOTOS, (4000, PHOTOS))]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (gap.low, gap.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_the_better_arm_is_named_first_and_stays_so_over_photos() -> None:
    """Over seeds b is better; on the first seed alone a is, and the difference over photos has its sign."""
    seeds, photos = findings.differences(AB, runs(AB, a=[30, 10, 11], b=[28, 20, 25]))
    assert (seeds.first, seeds.second, photos.first, photos.second) == ("b", "a", "b", "a")
    assert seeds.mean == pytest.approx((-2 + 10 + 14) / 3 / PHOTOS)
    assert photos.mean == pytest.approx(-2 / PHOTOS)
    assert (photos.only_first, photos.only_second) == (0, 2)


def test_one_seed_is_compared_over_photos_alone() -> None:
    (gap,) = findings.differences(AB, runs(AB, a=[20], b=[31]))
    assert (gap.first, gap.over, gap.only_first, gap.only_second) == ("b", "photos", 11, 0)


def test_arms_are_compared_on_the_seeds_that_both_have() -> None:
    from scipy import stats

    results = [r for r in runs(AB, a=[20, 30, 33, 28], b=[19, 25, 30]) if not (r.arm == "a" and r.job.seed == 0)]
    seeds, photos = findings.differences(AB, results)
    assert seeds.p_value == pytest.approx(stats.ttest_rel([30, 33], [25, 30]).pvalue)
    assert seeds.mean == pytest.approx(4 / PHOTOS)
    assert photos.method.endswith("seed 1")
    assert not findings.differences(AB, [result(AB, "a", 0, 20), result(AB, "b", 1, 20)])


def test_photos_are_paired_only_where_they_are_the_same() -> None:
    results = [*runs(AB, a=[20, 22]), *(result(AB, "b", seed, 25 + seed, judged="others") for seed in (0, 1))]
    assert [gap.over for gap in findings.differences(AB, results)] == ["seeds"]
    assert not findings.differences(AB, [results[0], results[2]])


def test_all_arms_on_the_same_photos_are_paired_unless_the_recipe_names_pairs() -> None:
    arms = {"a": {}, "b": {"images": "cars"}, "c": {}, "d": {"images": "cars"}, "e": {}}
    assert findings.compared_pairs(recipe(arms)) == [("a", "c"), ("a", "e"), ("b", "d"), ("c", "e")]
    assert findings.compared_pairs(recipe(arms, pairs=[["e", "a"]])) == [("e", "a")]


def points(results: Sequence[JobResult], *pairs: list[str]) -> list[tuple[str, str, str, str]]:
    found = parse({**SWEPT.raw, "pairs": list(pairs)}, "own.yaml")
    return [(g.first, g.second, g.point, g.over) for g in findings.differences(found, results)]


def test_sweeps_are_compared_at_the_points_that_both_have() -> None:
    ten, five = [("a", "10", 30), ("b", "10", 20)], [("a", "5", 15), ("b", "5", 25), ("a", "1", 9)]
    one = [result(SWEPT, arm, 0, n, point) for arm, point, n in ten + five]
    assert points(one, ["a", "b"]) == [("b", "a", "5", "photos"), ("a", "b", "10", "photos")]
    two = [*one, *(result(SWEPT, arm, 1, n, point) for arm, point, n in ten + five)]
    assert points(two, ["a", "b"]) == [("b", "a", "5", "seeds"), ("a", "b", "10", "seeds")]


def test_an_arm_that_is_not_swept_is_compared_with_each_point() -> None:
    results = [result(SWEPT, "a", 0, n, point) for point, n in (("1", 5), ("5", 20), ("10", 30))]
    results.append(result(SWEPT, "plain", 0, 19))
    expected = [("plain", "a", "1", "photos"), ("a", "plain", "5", "photos"), ("a", "plain", "10", "photos")]
    assert points(results, ["a", "plain"]) == expected
    assert points(results, ["plain", "a"]) == expected


def test_sweeps_along_different_options_are_not_compared() -> None:
    results = [result(SWEPT, "a", 0, 9, "1"), result(SWEPT, "cut", 0, 9, "layer1")]
    assert points(results, ["a", "cut"]) == []


# -- curves and sweeps --


def test_curves_are_means_over_seeds_with_bands() -> None:
    from scipy import stats

    results = [
        result(AB, "a", 0, 20, history=[(1.0, 0.50), (0.5, 0.60), (0.4, 0.9)]),
        result(AB, "a", 1, 20, history=[(2.0, 0.52), (0.7, 0.9)]),
        *(result(AB, "b", seed, 20, val=val) for seed, val in ((0, 0.6), (1, 0.8))),
    ]
    tuned, level = findings.curves(AB, results)
    assert (tuned.arm, list(tuned.epochs), tuned.level) == ("a", [1, 2], False)  # as many as every seed has
    assert list(tuned.train_loss) == pytest.approx([1.5, 0.6])
    assert list(tuned.val_loss) == pytest.approx([3.0, 1.2])
    assert list(tuned.train_accuracy) == pytest.approx([0.1, 0.1])
    assert list(tuned.val_accuracy) == pytest.approx([0.51, 0.75])
    bounds = [stats.t.interval(0.95, 1, loc=np.mean(v), scale=stats.sem(v)) for v in ([0.5, 0.52], [0.6, 0.9])]
    assert list(tuned.val_accuracy_low) == pytest.approx([max(0, low) for low, _ in bounds])
    assert list(tuned.val_accuracy_high) == pytest.approx([min(1, high) for _, high in bounds])
    assert (level.arm, level.level, list(level.val_accuracy)) == ("b", True, [pytest.approx(0.7)])


def test_curves_of_one_seed_have_no_bands_and_swept_arms_no_curves() -> None:
    results = [
        result(SWEPT, "plain", 0, 20, history=[(1.0, 0.5)]),
        result(SWEPT, "a", 0, 20, "1", history=[(1.0, 0.5)]),
    ]
    (curve,) = findings.curves(SWEPT, results)
    assert (curve.arm, curve.val_accuracy_low, curve.val_accuracy_high) == ("plain", (), ())


def test_an_arm_without_epochs_with_some_seed_is_a_level_line() -> None:
    """``auto`` may stop at its probe with one seed and fine-tune with the next."""
    trained, stopped = result(AB, "a", 0, 20, history=[(1.0, 0.5)], val=0.5), result(AB, "a", 1, 20, val=0.7)
    other = result(AB, "b", 0, 20, history=[(1.0, 0.5)])
    for order in ([trained, stopped], [stopped, trained]):
        curve = findings.curves(AB, [*order, other])[0]
        assert (curve.level, list(curve.val_accuracy)) == (True, [pytest.approx(0.6)])


def test_probes_alone_have_no_curves() -> None:
    assert findings.curves(AB, runs(AB, a=[20], b=[30])) == []


def test_a_sweep_is_drawn_with_a_line_per_arm_and_its_interval_over_seeds() -> None:
    results = [result(SWEPT, "a", s, n + s, p) for s in (0, 1) for p, n in (("1", 5), ("5", 20), ("10", 30))]
    results += [result(SWEPT, "b", 0, 12, "10"), result(SWEPT, "cut", 0, 8, "layer1"), *runs(SWEPT, plain=[31])]
    rows = findings.table(SWEPT, results)
    shots, cut = findings.sweeps(SWEPT, rows)
    assert (shots.key, shots.heading) == ("shots", "Accuracy by photos per class")
    assert (cut.key, cut.heading, [line[0].arm for line in cut.lines]) == ("cut", "Accuracy by cut", ["cut"])
    first, second = shots.lines
    assert [(row.arm, row.point) for row in first] == [("a", "1"), ("a", "5"), ("a", "10")]
    assert [row.mean for row in first] == pytest.approx([5.5 / PHOTOS, 20.5 / PHOTOS, 30.5 / PHOTOS])
    assert [row.band for row in first] == [(r.low, r.high) for r in rows[:3]]
    assert [(row.arm, row.point, row.band) for row in second] == [("b", "10", ())]
    assert list(shots.levels) == [("plain", 31 / PHOTOS)]


def test_sweeps_of_different_photos_are_different_figures() -> None:
    found = recipe({"a": {"shots": [1]}, "b": {"shots": [1], "images": "cars"}, "size": {"image_size": [32, 64]}})
    results = [result(found, arm, 0, 9, point) for arm, point in (("a", "1"), ("b", "1"), ("size", "32"))]
    figures = findings.sweeps(found, findings.table(found, results))
    assert [(figure.key, [line[0].arm for line in figure.lines]) for figure in figures] == [
        ("shots", ["a"]), ("shots", ["b"]), ("image_size", ["size"]),
    ]  # fmt: skip
    assert len({figure.heading for figure in figures}) == 3


# -- the sentence --


def answer(found: Recipe, results: Sequence[JobResult]) -> str:
    return findings.answer(found, findings.table(found, results), findings.differences(found, results))


def test_the_answer_is_the_first_pairs() -> None:
    found = parse({**AB.raw, "pairs": [["b", "a"]]}, "own.yaml")
    assert answer(found, runs(found, a=[36, 37, 35], b=[20, 21, 20])) == (
        "a names 90.0% of the photos correctly, b 50.8%: far better."
    )
    unsure = answer(found, runs(found, a=[20, 30], b=[29, 20]))
    assert unsure.endswith(": no difference that these runs can tell from chance.")


def test_without_pairs_the_answer_is_the_best_arm() -> None:
    alone = recipe({"a": {"shots": [1, 5]}})
    results = [result(alone, "a", 0, 20, "1"), result(alone, "a", 0, 30, "5")]
    assert answer(alone, results) == "a at 5 names 75.0% of 40 photos correctly."


def test_of_a_sweep_the_answer_is_a_point_that_it_names() -> None:
    found = parse({**SWEPT.raw, "pairs": [["a", "b"]]}, "own.yaml")
    one = [("a", "10", 30), ("b", "10", 20), ("a", "5", 15), ("b", "5", 25)]
    said = answer(found, [result(found, arm, 0, n, point) for arm, point, n in one])
    assert said.startswith("a at 10 names 75.0% of the photos correctly, b at 10 50.0%: ")
