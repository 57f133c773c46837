"""``compare``: arms on the same photos, and a table that says no more than the runs do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.errors import Interrupted, OptionError, RunError
from headstart.training.config import TrainOptions
from headstart.workflows.experiment.compare import compare, compared, make_recipe
from headstart.workflows.experiment.jobs import Job
from headstart.workflows.experiment.results import Comparison, from_figures
from headstart.workflows.experiment.worker import Worker
from headstart.workflows.train import assess

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


def test_every_arm_runs_with_every_seed_at_every_number_of_shots(run: Compare, photos: Path, tmp_path: Path) -> None:
    found = run(shots=(2, 4))
    assert [(r.group, r.arm, r.seed) for r in found.results] == [
        (group, arm, seed)
        for group in ("2 per class", "4 per class")
        for seed in (0, 1)
        for arm in ("probe", "scratch")
    ]
    assert {r.train_photos for r in found.results if r.group == "2 per class"} == {6}
    assert {r.split for r in found.results} == {"test"}
    tested = {(r.arm, r.seed): set(r.photos.tolist()) for r in found.results}
    assert tested["probe", 0] == tested["scratch", 0] != tested["probe", 1]
    assert {len(each) for each in tested.values()} == {len(found.results[0].correct)}
    assert {r.pool for r in found.results} == {len(list(photos.rglob("*.png")))}
    assert found.report is not None
    assert found.report.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    assert json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))["answer"] == found.answer
    assert not list((tmp_path / "out" / "state").glob("*"))


def test_a_comparison_says_the_same_in_every_form(run: Compare) -> None:
    found = run()
    assert found.report is not None
    page = found.report.read_text(encoding="utf-8")
    for row in found.rows:
        assert row["values"] == [r.accuracy for r in found.results if r.arm == row["arm"]]
        assert f"{row['mean']:.3f}" in found.text
        assert f"{100 * row['mean']:.1f}\u202f%" in page
    assert list(found.rows[0]) == [
        "group", "arm", "split", "train_photos", "values", "mean", "low", "high", "method", "seconds",
    ]  # fmt: skip
    assert list(found.differences[0]) == [
        "group", "first", "second", "mean", "low", "high", "p_value", "p_holm", "method", "verdict",
    ]  # fmt: skip
    assert found.summary["arms"] == list(found.rows)
    assert found.answer in page
    assert "headstart compare" in page
    assert str(found.report) in found.text


def test_arms_of_a_seed_see_the_same_photos_and_seeds_others(run: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[tuple[str, int], Any] = {}
    make_context = assess.make_context

    def spy(prepared: Any, *rest: Any) -> Any:
        seen[prepared.options.strategy, prepared.options.seed] = prepared
        return make_context(prepared, *rest)

    monkeypatch.setattr(assess, "make_context", spy)
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


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(arm, seed) of every training; Ctrl-C where the list ends in ("stop", n) and n have run."""
    names: list[tuple[str, int]] = []
    real = Worker._figures

    def watched(self: Worker, job: Any, events: Any) -> Any:
        if names and names[0] == ("stop", len(names) - 1):
            raise KeyboardInterrupt
        names.append((job.arm.name, job.seed))
        return real(self, job, events)

    monkeypatch.setattr(Worker, "_figures", watched)
    return names


def test_an_interrupted_comparison_goes_on_where_it_was(run: Compare, trained: list[tuple[str, int]]) -> None:
    trained.append(("stop", 2))
    with pytest.raises(Interrupted, match="2 of 4 trainings are done"):
        run()
    assert trained[1:] == [("probe", 0), ("scratch", 0)]
    trained.clear()
    found = run()
    assert trained == [("probe", 1), ("scratch", 1)]
    assert len(found.results) == 4


def test_what_an_earlier_headstart_kept_of_an_arm_is_gone_on_with(
    run: Compare, trained: list[tuple[str, int]], tmp_path: Path
) -> None:
    """The form of arms/*.json is that of the first version."""
    trained.append(("stop", 0))
    with pytest.raises(Interrupted):
        run()
    kept = {
        "group": "4 per class", "arm": "probe", "seed": 1, "split": "test", "accuracy": 0.5,
        "right": [True, False, True, False, True, False], "curve": [0.625], "seconds": 1.25, "train_photos": 12,
    }  # fmt: skip
    (tmp_path / "out" / "arms").mkdir()
    (tmp_path / "out" / "arms" / "4-per-class-probe-1.json").write_text(json.dumps(kept))
    trained.clear()
    found = run()
    assert trained == [("probe", 0), ("scratch", 0), ("scratch", 1)]
    by_job = {(r.arm, r.seed): r for r in found.results}
    assert by_job["probe", 1].accuracy == 0.5
    assert by_job["probe", 1].photos.tolist() == by_job["scratch", 1].photos.tolist()  # that file does not hold them
    new = json.loads((tmp_path / "out" / "arms" / "4-per-class-scratch-1.json").read_text())
    assert new.pop("format") == 1
    assert {name: type(value) for name, value in new.items()} == {name: type(value) for name, value in kept.items()}


def test_what_was_kept_of_other_photos_is_refused(run: Compare, trained: list[tuple[str, int]], tmp_path: Path) -> None:
    trained.append(("stop", 1))
    with pytest.raises(Interrupted):
        run()
    (file,) = (tmp_path / "out" / "arms").glob("*.json")
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "right": kept["right"][1:]}))
    trained.clear()
    with pytest.raises(RunError, match=f"{file.name} is of other photos"):
        run()


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
    trained: list[tuple[str, int]],
) -> None:  # fmt: skip
    data = class_folder(per_class=8)
    asked: dict[str, Any] = {
        "arms": ("probe",), "seeds": 1, "backbone": "starter", "weights": str(weights), "out": tmp_path / "out",
    }  # fmt: skip
    trained.append(("stop", 0))
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
        ({"seeds": 0}, ["`seeds=0`"]),
        ({"shots": (5, 0)}, ["`shots=0`"]),
        ({"shots": (5, 5)}, ["`shots` names a number twice"]),
    ],
)
def test_what_has_no_meaning_is_refused(
    run: Compare, tmp_path: Path, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(OptionError) as caught:
        run(**options)
    assert all(word in str(caught.value) for word in words)
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_of_an_arm_is_named(run: Compare, trained: list[tuple[str, int]], tmp_path: Path) -> None:
    trained.append(("stop", 1))
    with pytest.raises(Interrupted):
        run()
    (file,) = (tmp_path / "out" / "arms").glob("*.json")
    file.write_text("{}")
    with pytest.raises(RunError, match=f"{file.name}: object missing required field split"):
        run()


def test_a_warning_that_every_training_gives_is_shown_once(
    run: Compare, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Worker._figures

    def warned(self: Worker, job: Any, events: Any) -> Any:
        events.warning("Photos are few.")
        return real(self, job, events)

    monkeypatch.setattr(Worker, "_figures", warned)
    run()
    assert capsys.readouterr().err.count("Photos are few.") == 1


def said(**accuracies: list[float]) -> Comparison:
    """What 100 test photos and these accuracies per seed say."""
    seeds = max(map(len, accuracies.values()))
    recipe = make_recipe(list(accuracies), seeds)
    results = [
        from_figures(
            Job(arm, "", seed, TrainOptions("photos"), Path(f"{arm.name}-{seed}")), "test",
            np.arange(100) < round(value * 100), np.arange(100), 300, (value,), 1.0, 9,
        )
        for arm in recipe.arms
        for seed, value in enumerate(accuracies[arm.name])
    ]  # fmt: skip
    return compared(recipe, results)


@pytest.mark.parametrize(
    ("accuracies", "words", "verdict"),
    [
        (
            {"probe": [0.9, 0.91, 0.92], "scratch": [0.5, 0.52, 0.51]},
            "Pretraining helps: probe classifies 91.0%",
            "better",
        ),
        (
            {"probe": [0.9, 0.5, 0.7], "scratch": [0.6, 0.8, 0.65]},
            "Not yet clear: probe classifies 70.0% of the test photos correctly, training from scratch 68.3%; run it",
            "not yet clear",
        ),
        ({"probe": [0.5, 0.52, 0.51], "scratch": [0.9, 0.91, 0.92]}, "scratch does best: ", "better"),
        ({"probe": [0.7, 0.71, 0.72], "finetune": [0.95, 0.96, 0.98]}, "finetune does best: ", "better"),
        ({"probe": [0.9, 0.92, 0.91, 0.9, 0.91], "finetune": [0.9] * 5}, "run it with 10 seeds.", "not yet clear"),
        (
            {"probe": [0.9], "scratch": [0.5]},
            "Pretraining helps in this one run: probe classifies",
            "better in this one run",
        ),
        (
            {"probe": [0.9, 0.9], "scratch": [0.5, 0.5]},
            "; other runs may differ (run it with 5 seeds).",
            "better in these 2",
        ),
        ({"probe": [0.9, 0.8], "scratch": [0.8, 0.9]}, "Not yet clear: probe classifies 85.0%", "not yet clear"),
    ],
)
def test_the_answer_says_what_the_runs_say(accuracies: dict[str, list[float]], words: str, verdict: str) -> None:
    found = said(**accuracies)
    assert words in found.answer
    assert len(found.differences) == 1
    assert found.differences[0]["verdict"].startswith(verdict)
    assert found.differences[0]["mean"] >= 0
    assert all(row["method"].startswith("one run") == (len(row["values"]) == 1) for row in found.rows)


def test_best_of_several_is_said_only_where_it_is_better_than_each() -> None:
    found = said(probe=[0.9, 0.91, 0.9], finetune=[0.9, 0.9, 0.9], partial=[0.4, 0.41, 0.4])
    assert [gap["verdict"] for gap in found.differences] == ["not yet clear", "better", "better"]
    assert found.answer.startswith(
        "Not yet clear: probe classifies 90.3% of the test photos correctly, finetune 90.0%, part"
    )
    assert "verdicts with Holm's correction for 3" in found.text
    assert [gap["p_holm"] >= gap["p_value"] for gap in found.differences] == [True] * 3


def test_an_arm_alone_is_only_described() -> None:
    assert said(probe=[0.9, 0.9, 0.9]).answer == "probe classifies 90.0% of the test photos correctly."
