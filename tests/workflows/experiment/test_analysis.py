"""What a study found, against scipy and statsmodels: rows, differences, curves, sweeps, the sentence to take home."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.evaluation.over_seeds import accuracy_over_seeds, difference_over_seeds
from headstart.training.config import TrainOptions
from headstart.workflows.experiment import analysis as findings
from headstart.workflows.experiment.jobs import Job
from headstart.workflows.experiment.recipe import Recipe, parse
from headstart.workflows.experiment.results import JobResult

PHOTOS, POOL = 40, 200


def recipe(arms: dict[str, Any], **more: Any) -> Recipe:
    full = {name: {"strategy": "probe", **arm} for name, arm in arms.items()}
    return parse({"name": "own", "images": {"pets": None, "cars": None}, "arms": full, "seeds": 9, **more}, "own.yaml")


def result(
    found: Recipe, arm: str, seed: int, right: int | np.ndarray, point: str = "", *, photos: np.ndarray | None = None,
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
    tested = np.arange(PHOTOS) if photos is None else photos
    return JobResult(job, "test", flags, tested, POOL, epochs, val, seconds, 120, plan, {})


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


def test_a_row_has_the_mean_over_seeds_with_the_interval_of_the_expected_accuracy() -> None:
    tested = [np.arange(n, n + PHOTOS) for n in (0, 20, 40)]
    results = [result(AB, "a", s, n, seconds=t, photos=tested[s]) for s, n, t in ((1, 30, 2), (0, 26, 4), (2, 31, 9))]
    (row,) = findings.table(AB, results)
    assert list(row.values) == [26 / PHOTOS, 30 / PHOTOS, 31 / PHOTOS]  # in the order of seeds, whatever the results'
    expected = accuracy_over_seeds(tested, [np.arange(PHOTOS) < n for n in (26, 30, 31)], POOL)
    assert (row.mean, row.low, row.high) == (pytest.approx(expected.value), expected.low, expected.high)
    assert row.method == "95 % for the expected accuracy, 3 seeds"
    assert row.band == (row.low, row.high)
    assert (row.seconds, row.judged) == (5, PHOTOS)


def test_two_seeds_have_an_interval_over_photos_and_no_band() -> None:
    (row,) = findings.table(AB, runs(AB, a=[26, 30]))
    assert (row.band, row.method) == ((), "95 % over photos only, 2 seeds")


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


def test_a_difference_over_seeds_is_of_the_same_photos_in_each() -> None:
    a, b = [30, 33, 31, 35], [26, 32, 25, 30]
    (gap,) = findings.differences(AB, runs(AB, a=a, b=b))
    flags = [[np.arange(PHOTOS) < n for n in counts] for counts in (a, b)]
    expected = difference_over_seeds([np.arange(PHOTOS)] * 4, *flags, POOL)
    assert (gap.first, gap.second, gap.over, gap.images, gap.point) == ("a", "b", "seeds and photos", "pets", "")
    assert gap.mean == pytest.approx((sum(a) - sum(b)) / 4 / PHOTOS)
    assert (gap.low, gap.high, gap.p_value) == (expected.low, expected.high, expected.p_value)
    assert (gap.only_first, gap.only_second, gap.seeds) == (None, None, 4)


def test_a_difference_of_one_run_is_mcnemars_test() -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    a, b = shuffled(34, 1), shuffled(22, 2)
    (gap,) = findings.differences(AB, [result(AB, "a", 0, a), result(AB, "b", 0, b)])
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    assert gap.over == "photos"
    assert (gap.only_first, gap.only_second) == (only_a, only_b)
    assert gap.p_value == pytest.approx(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)
    assert gap.mean == pytest.approx((only_a - only_b) / PHOTOS)
    assert gap.method.endswith("McNemar exact; seed 0")
    rng = np.random.default_rng(7)
    drawn = [(a[i].mean() - b[i].mean()) for i in rng.integers(0, PHOTOS, (4000, PHOTOS))]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (gap.low, gap.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_the_arm_that_is_better_over_all_seeds_is_named_first() -> None:
    (gap,) = findings.differences(AB, runs(AB, a=[30, 10, 11], b=[28, 20, 25]))
    assert (gap.first, gap.second) == ("b", "a")
    assert gap.mean == pytest.approx((-2 + 10 + 14) / 3 / PHOTOS)


def test_verdicts_are_corrected_for_the_number_of_differences() -> None:
    from statsmodels.stats.multitest import multipletests

    arms = recipe({name: {} for name in "abcd"})
    results = runs(arms, a=[33, 34, 36], b=[29, 30, 31], c=[29, 30, 30], d=[28, 29, 30])
    found = findings.differences(arms, results)
    expected = multipletests([gap.p_value for gap in found], method="holm")[1]
    assert [gap.p_holm for gap in found] == pytest.approx(list(expected))
    assert [gap.verdict for gap in found] == ["better" if p < 0.05 else "not yet clear" for p in expected]
    between = [gap for gap in found if gap.p_value < 0.05 <= gap.p_holm]
    assert between  # a p-value that would have been enough alone
    assert not any(gap.settled for gap in between)


@pytest.mark.parametrize(
    ("seeds", "verdict"), [(1, "better in this one run"), (2, "better in these 2 runs"), (3, "better")]
)
def test_few_runs_are_about_their_own_networks(seeds: int, verdict: str) -> None:
    (gap,) = findings.differences(AB, runs(AB, a=[38] * seeds, b=[12] * seeds))
    assert gap.verdict == verdict


def test_one_seed_is_compared_over_photos_alone() -> None:
    (gap,) = findings.differences(AB, runs(AB, a=[20], b=[31]))
    assert (gap.first, gap.over, gap.only_first, gap.only_second) == ("b", "photos", 11, 0)


def test_arms_are_compared_on_the_seeds_that_both_have() -> None:
    results = [r for r in runs(AB, a=[20, 30, 33, 28], b=[19, 25, 30]) if not (r.arm == "a" and r.job.seed == 0)]
    (gap,) = findings.differences(AB, results)
    assert (gap.seeds, gap.over) == (2, "photos")
    assert gap.mean == pytest.approx(4 / PHOTOS)
    assert not findings.differences(AB, [result(AB, "a", 0, 20), result(AB, "b", 1, 20)])


def test_arms_that_were_tested_on_other_photos_are_not_compared() -> None:
    others = np.arange(PHOTOS) + 1
    results = [*runs(AB, a=[20, 22]), *(result(AB, "b", seed, 25 + seed, photos=others) for seed in (0, 1))]
    assert not findings.differences(AB, results)


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
    three = [*one, *(result(SWEPT, arm, seed, n, point) for seed in (1, 2) for arm, point, n in ten + five)]
    assert points(three, ["a", "b"]) == [("b", "a", "5", "seeds and photos"), ("a", "b", "10", "seeds and photos")]


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


def test_curves_are_means_over_seeds_with_bands_from_the_lowest_to_the_highest() -> None:
    results = [
        result(AB, "a", 0, 20, history=[(1.0, 0.50), (0.5, 0.60), (0.4, 0.9)]),
        result(AB, "a", 1, 20, history=[(2.0, 0.52), (0.7, 0.9)]),
        result(AB, "a", 2, 20, history=[(3.0, 0.51), (0.6, 0.75)]),
        *(result(AB, "b", seed, 20, val=val) for seed, val in ((0, 0.6), (1, 0.8))),
    ]
    tuned, level = findings.curves(AB, results)
    assert (tuned.arm, list(tuned.epochs), tuned.level) == ("a", [1, 2], False)  # as many as every seed has
    assert list(tuned.train_loss) == pytest.approx([2.0, 0.6])
    assert list(tuned.val_loss) == pytest.approx([4.0, 1.2])
    assert list(tuned.train_accuracy) == pytest.approx([0.1, 0.1])
    assert list(tuned.val_accuracy) == pytest.approx([0.51, 0.75])
    assert (list(tuned.val_accuracy_low), list(tuned.val_accuracy_high)) == ([0.5, 0.6], [0.52, 0.9])
    assert (level.val_accuracy_low, level.val_accuracy_high) == ((), ())  # of two seeds
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
    results = [result(SWEPT, "a", s, n + s, p) for s in (0, 1, 2) for p, n in (("1", 5), ("5", 20), ("10", 30))]
    results += [result(SWEPT, "b", 0, 12, "10"), result(SWEPT, "cut", 0, 8, "layer1"), *runs(SWEPT, plain=[31])]
    rows = findings.table(SWEPT, results)
    shots, cut = findings.sweeps(SWEPT, rows)
    assert (shots.key, shots.heading) == ("shots", "Accuracy by photos per class")
    assert (cut.key, cut.heading, [line[0].arm for line in cut.lines]) == ("cut", "Accuracy by cut", ["cut"])
    first, second = shots.lines
    assert [(row.arm, row.point) for row in first] == [("a", "1"), ("a", "5"), ("a", "10")]
    assert [row.mean for row in first] == pytest.approx([6 / PHOTOS, 21 / PHOTOS, 31 / PHOTOS])
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
        "a is better: it classifies 90.0% of the photos correctly, b 50.8%."
    )
    unsure = answer(found, runs(found, a=[20, 30, 25], b=[29, 20, 24]))
    assert unsure == "Not yet clear: a classifies 62.5% of the photos correctly, b 60.8%; run it with 5 seeds."
    few = answer(found, runs(found, a=[36], b=[20]))
    assert few.startswith(
        "a is better in this one run: it classifies 90.0% of the photos correctly, b 50.0%; other runs may"
    )


def test_without_pairs_the_answer_is_the_best_arm() -> None:
    alone = recipe({"a": {"shots": [1, 5]}})
    results = [result(alone, "a", 0, 20, "1"), result(alone, "a", 0, 30, "5")]
    assert answer(alone, results) == "a at 5 classifies 75.0% of 40 photos correctly."


def test_of_a_sweep_the_answer_is_a_point_that_it_names() -> None:
    found = parse({**SWEPT.raw, "pairs": [["a", "b"]]}, "own.yaml")
    one = [("a", "10", 30), ("b", "10", 20), ("a", "5", 15), ("b", "5", 25)]
    said = answer(found, [result(found, arm, 0, n, point) for arm, point, n in one])
    assert said.startswith(
        "a at 10 is better in this one run: it classifies 75.0% of the photos correctly, b at 10 50.0%; "
    )
