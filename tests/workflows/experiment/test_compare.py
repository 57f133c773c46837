"""``compare``: arms on the same photos, and a table that says no more than the runs do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.errors import Interrupted, OptionError, RunError
from headstart.evaluation.statistics import difference_over_seeds, t_interval
from headstart.workflows.experiment import compare as module
from headstart.workflows.experiment.compare import compare
from headstart.workflows.experiment.compare_result import ArmResult, Comparison

Compare = Callable[..., Comparison]


@pytest.fixture
def run(photos: Path, weights: Path, tmp_path: Path) -> Compare:
    def go(**options: Any) -> Comparison:
        chosen = {
            "arms": ("probe", "scratch"),
            "seeds": 2,
            "shots": (4,),
            "out": tmp_path / "out",
            "backbone": "starter",
            "quiet": True,
            "weights": str(weights),
            "settings": {"epochs": 1, "batch_size": 8, "precision": "float32"},
        }
        return compare(photos, **{**chosen, **options})

    return go


def test_every_arm_runs_with_every_seed_at_every_number_of_shots(run: Compare, tmp_path: Path) -> None:
    found = run(shots=(2, 4))
    assert [(r.group, r.arm, r.seed) for r in found.results] == [
        (group, arm, seed)
        for group in ("2 per class", "4 per class")
        for seed in (0, 1)
        for arm in ("probe", "scratch")
    ]
    assert {r.train_photos for r in found.results if r.group == "2 per class"} == {6}
    assert {r.split for r in found.results} == {"test"}
    assert found.report is not None
    assert found.report.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    assert json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))["answer"] == found.answer
    assert not list((tmp_path / "out" / "state").glob("*"))


def test_rows_and_differences_are_those_of_the_results(run: Compare) -> None:
    found = run()
    for row in found.rows:
        values = [r.accuracy for r in found.results if r.arm == row["arm"]]
        expected = t_interval(values, within=(0, 1))
        assert row["values"] == values
        assert (row["mean"], row["low"], row["high"]) == (expected.value, expected.low, expected.high)
    gap = found.differences[0]
    by_arm = {arm: [r.accuracy for r in found.results if r.arm == arm] for arm in ("probe", "scratch")}
    expected_gap = difference_over_seeds(by_arm[gap["first"]], by_arm[gap["second"]])
    assert gap["mean"] == pytest.approx(expected_gap.value)
    assert gap["mean"] >= 0
    assert str(found.report) in found.text


def test_arms_of_a_seed_see_the_same_photos_and_seeds_others(run: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[tuple[str, int], Any] = {}
    make_context = module.make_context

    def spy(prepared: Any, *rest: Any) -> Any:
        seen[prepared.options.strategy, prepared.options.seed] = prepared
        return make_context(prepared, *rest)

    monkeypatch.setattr(module, "make_context", spy)
    run(arms=("probe", "finetune", "scratch"))
    digests = {key: prepared.dataset.digest for key, prepared in seen.items()}
    for seed in (0, 1):
        assert len({digests[arm, seed] for arm in ("probe", "finetune", "scratch")}) == 1
    assert digests["probe", 0] != digests["probe", 1]
    weights = {key: prepared.backbone.weights_digest for key, prepared in seen.items()}
    assert weights["probe", 0] == weights["finetune", 1]
    assert len({weights["scratch", 0], weights["scratch", 1], weights["probe", 0]}) == 3
    sizes = {(p.plan.image_size, p.backbone.preprocessing) for p in seen.values()}
    assert len(sizes) == 1


def test_an_interrupted_comparison_goes_on_where_it_was(run: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, int]] = []
    run_arm = module._run

    def watched(job: Any, *rest: Any) -> Any:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append((job.arm, job.seed))
        return run_arm(job, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_run", watched)
        with pytest.raises(Interrupted, match="kept"):
            run()
    assert trained == [("probe", 0), ("scratch", 0)]

    def second(job: Any, *rest: Any) -> Any:
        trained.append((job.arm, job.seed))
        return run_arm(job, *rest)

    monkeypatch.setattr(module, "_run", second)
    found = run()
    assert trained[2:] == [("probe", 1), ("scratch", 1)]
    assert len(found.results) == 4


def test_a_finished_one_or_another_is_not_replaced_unless_asked(run: Compare, tmp_path: Path) -> None:
    run(arms=("probe",), seeds=1)
    before = (tmp_path / "out" / "report.html").read_bytes()
    with pytest.raises(RunError, match="exists"):
        run(arms=("probe",), seeds=1)
    assert (tmp_path / "out" / "report.html").read_bytes() == before
    (tmp_path / "out" / "state" / "all-finetune-0").mkdir(parents=True)
    assert len(run(arms=("probe",), seeds=2, overwrite=True).results) == 2
    assert not (tmp_path / "out" / "state" / "all-finetune-0").exists()


def test_an_unfinished_one_of_other_photos_is_not_gone_on_with(
    class_folder: Callable[..., Path], draw_photo: Callable[..., Path], weights: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    data = class_folder(per_class=8)
    asked: dict[str, Any] = {
        "arms": ("probe",),
        "seeds": 1,
        "backbone": "starter",
        "weights": str(weights),
        "out": tmp_path / "out",
    }

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_run", stop)
        with pytest.raises(Interrupted):
            compare(data, quiet=True, **asked)
    draw_photo(data / "cat" / "cat_000.png", 1, np.random.default_rng(5))
    with pytest.raises(RunError, match="another comparison"):
        compare(data, quiet=True, **asked)


def test_a_folder_of_something_else_is_never_touched(run: Compare, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    for place in (tmp_path / "out", tmp_path / "out" / "letter.txt"):
        with pytest.raises(RunError, match="not a comparison"):
            run(out=place, overwrite=True)
    assert (tmp_path / "out" / "letter.txt").read_text() == "dear"


def test_partial_can_have_a_boundary(run: Compare) -> None:
    found = run(arms=("partial", "probe"), seeds=1, boundary="layer3")
    assert [r.arm for r in found.results] == ["partial", "probe"]
    with pytest.raises(OptionError, match="partial"):
        run(arms=("probe",), boundary="layer3")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arms": ("prob", "scratch")}, ["'prob'", "'probe'"]),
        ({"arms": ("auto",)}, ["'auto'"]),
        ({"arms": ()}, ["empty"]),
        ({"arms": ("probe", "probe")}, ["twice"]),
        ({"seeds": 0}, ["--seeds 0"]),
        ({"shots": (5, 0)}, ["--shots 0"]),
    ],
)
def test_what_has_no_meaning_is_refused(
    run: Compare, tmp_path: Path, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(OptionError) as caught:
        run(**options)
    assert all(word in str(caught.value) for word in words)
    assert not (tmp_path / "out").exists()


def results(**accuracies: list[float]) -> list[ArmResult]:
    found = []
    for arm, values in accuracies.items():
        for seed, value in enumerate(values):
            right = tuple(i < round(value * 100) for i in range(100))
            found.append(ArmResult("", arm, seed, "test", value, right, (value,), 1.0, 9))
    return found


def said(**accuracies: list[float]) -> tuple[str, list[dict[str, Any]]]:
    found = results(**accuracies)
    rows = [module._row(group, arm, members) for (group, arm), members in module._grouped(found).items()]
    differences = module._differences(found)
    return module._answer(rows, differences), differences


@pytest.mark.parametrize(
    ("accuracies", "words", "verdict"),
    [
        ({"probe": [0.9, 0.91, 0.92], "scratch": [0.5, 0.52, 0.51]}, "Pretraining helps", "far better"),
        ({"probe": [0.95, 0.96, 0.955], "scratch": [0.9, 0.91, 0.905]}, "Pretraining helps", "better"),
        ({"probe": [0.9, 0.5, 0.7], "scratch": [0.6, 0.8, 0.65]}, "cannot tell", "no difference"),
        ({"probe": [0.5, 0.52, 0.51], "scratch": [0.9, 0.91, 0.92]}, "scratch does best", "far better"),
        ({"probe": [0.9, 0.91, 0.92], "finetune": [0.95, 0.96, 0.97]}, "finetune does best", "better"),
    ],
)
def test_the_answer_says_what_the_runs_say(accuracies: dict[str, list[float]], words: str, verdict: str) -> None:
    answer, differences = said(**accuracies)
    assert words in answer
    assert differences[0]["verdict"].startswith(verdict)
    assert differences[0]["mean"] >= 0


def test_one_seed_is_said_to_be_one() -> None:
    rows = [module._row(g, a, m) for (g, a), m in module._grouped(results(probe=[0.9], scratch=[0.5])).items()]
    assert all("one run" in row["method"] for row in rows)
    assert rows[0]["low"] < 0.9 < rows[0]["high"]
