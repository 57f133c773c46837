"""``study``: what it leaves, that it is what ``train`` gives, and that nothing is done twice or lost."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.errors import DataError, Interrupted, OptionError, RunError
from headstart.inference.runner import FrozenNetwork
from headstart.training import trainer as loop
from headstart.workflows.experiment.results import Study

Small = Callable[..., Study]

ARMS = """
    later: {strategy: probe, from: tuned, cut: layer2}
    tuned: {strategy: finetune}
    few: {strategy: probe, shots: [2]}
    toned: {strategy: probe, mean: [0.4, 0.5, 0.6], std: [0.1, 0.2, 0.3]}
    scratch: {strategy: scratch, epochs: 1}
"""
TWO = """
    tuned: {strategy: finetune}
    scratch: {strategy: scratch}
    probe: {strategy: probe}
"""
PROBE = "probe: {strategy: probe}\n"


def folders(found: Study) -> dict[str, Path]:
    """Folder name → folder of every training."""
    return {path.name: path for path in sorted((found.path / "arms").iterdir())}


def written(folder: Path) -> dict[str, int]:
    """Every file below a folder, with the time at which it was written."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def history(folder: Path) -> list[dict[str, str]]:
    """history.csv without the seconds, which no two runs share."""
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("predictions.csv", "splits.csv", "plan.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), (one, name)
    assert history(one) == history(other)
    if (one / "model.safetensors").exists() and (other / "model.safetensors").exists():
        assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


# -- the same as train --


@pytest.mark.slow
def test_every_training_is_what_train_gives_for_the_same_options(
    small: Small, photos: Path, weights: Path, tmp_path: Path
) -> None:
    found = small(ARMS, seeds=2)
    common = {"backbone": "starter", "seed": 1, "device": "cpu", "quiet": True}
    settings = {"image_size": 32, "batch_size": 8, "precision": "float32", "epochs": 2}
    asked: dict[str, dict[str, Any]] = {
        "tuned-1": {"strategy": "finetune", "weights": weights},
        "later-1": {"strategy": "probe", "from_run": tmp_path / "alone" / "tuned-1", "cut": "layer2"},
        "few-2-1": {"strategy": "probe", "weights": weights, "shots": 2},
        "toned-1": {"strategy": "probe", "weights": weights, "mean": (0.4, 0.5, 0.6), "std": (0.1, 0.2, 0.3)},
        "scratch-1": {"strategy": "scratch", "settings": {**settings, "epochs": 1}},
    }
    runs = folders(found)
    accuracies = {result.job.folder.name: result.accuracy for result in found.results}
    assert runs.keys() == {
        f"{arm}-{seed}" for arm in ("tuned", "later", "few-2", "toned", "scratch") for seed in (0, 1)
    }
    for name, options in asked.items():
        alone = hs.train(photos, out=tmp_path / "alone" / name, **{"settings": settings, **common, **options})
        assert_same_run(alone.path, runs[name])
        assert accuracies[name] == alone.metrics["test"]["accuracy"]["value"]
    assert (runs["tuned-1"] / "predictions.csv").read_bytes() != (runs["tuned-0"] / "predictions.csv").read_bytes()
    # Weights stay where an arm starts from them, and of the first seed of arms that are not swept.
    kept = {name for name, folder in runs.items() if (folder / "model.safetensors").exists()}
    assert kept == {"tuned-0", "tuned-1", "later-0", "toned-0", "scratch-0"}
    request = json.loads((runs["later-1"] / "request.json").read_text(encoding="utf-8"))
    assert request["options"]["from_run"] == str(runs["tuned-1"].resolve())  # it can be resumed from anywhere


def test_a_study_leaves_its_page_its_pictures_and_its_figures(small: Small) -> None:
    found = small(ARMS, seeds=1, page=True)
    assert {path.name for path in found.path.iterdir()} == {"arms", "study.json", "report.html", "pictures"}
    page = (found.path / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert all(row.arm in page and row.arm in found.text for row in found.rows)
    assert list((found.path / "pictures").glob("*.svg"))
    figures = json.loads((found.path / "study.json").read_text(encoding="utf-8"))
    assert figures["answer"] == found.answer
    assert [(row["arm"], row["point"], row["values"]) for row in figures["arms"]] == [
        (row.arm, row.point, list(row.values)) for row in found.rows
    ]
    assert [result.train_photos for result in found.results] == [24, 24, 6, 24, 24]
    assert {len(result.correct) for result in found.results} == {6}
    assert [len(result.history) for result in found.results] == [2, 0, 0, 0, 1]


def test_a_run_of_a_study_can_be_used_like_any_run(small: Small, photos: Path) -> None:
    found = small(PROBE, seeds=1)
    answers = list(hs.predict(folders(found)["probe-0"], sorted(photos.glob("cat/*.png"))[:2]))
    assert [len(answer.probabilities) for answer in answers] == [3, 3]


# -- interrupted, again, more seeds --


def test_an_interrupted_study_goes_on_where_it_was_and_ends_the_same(
    small: Small, trained: list[str], count_steps: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)  # a state after every batch
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    steps = count_steps()
    whole = small(TWO, seeds=1, out="whole")
    assert len(steps) == 12  # two trainings of two epochs of three batches
    steps = count_steps(stop=6 + 5)
    with pytest.raises(Interrupted, match=r"(?s)1 of 3 trainings are done, and nothing in .*with the same options"):
        small(TWO, seeds=1)
    done = written(whole.path.parent / "out" / "arms" / "tuned-0")
    trained.clear()
    steps = count_steps()
    found = small(TWO, seeds=1)
    assert trained == ["scratch-0", "probe-0"]
    assert len(steps) == 2  # of the six, four were done
    assert written(found.path / "arms" / "tuned-0") == done
    for name, folder in folders(whole).items():
        assert_same_run(folder, folders(found)[name])
    assert [row.values for row in found.rows] == [row.values for row in whole.rows]
    assert not list(found.path.rglob("state"))


def test_the_same_command_again_trains_nothing_and_finds_the_same(small: Small, trained: list[str]) -> None:
    first = small(ARMS, seeds=1)
    before = written(first.path / "arms")
    trained.clear()
    again = small(ARMS, seeds=1)
    assert trained == []
    assert written(first.path / "arms") == before
    assert (again.rows, again.differences, again.text) == (first.rows, first.differences, first.text)


def test_more_seeds_leave_those_that_are_done(small: Small, trained: list[str]) -> None:
    first = small(TWO, seeds=1)
    before = written(first.path / "arms")
    more = small(TWO, seeds=2)
    assert trained == ["tuned-0", "scratch-0", "probe-0", "tuned-1", "scratch-1", "probe-1"]
    assert before.items() <= written(more.path / "arms").items()
    assert [list(row.values)[:1] for row in more.rows] == [list(row.values) for row in first.rows]


def test_arms_that_are_added_later_are_trained_alone(small: Small, trained: list[str]) -> None:
    small(PROBE, seeds=1)
    found = small(PROBE + "few: {strategy: probe, shots: 2}\n", seeds=1)
    assert trained == ["probe-0", "few-0"]
    assert [row.arm for row in found.rows] == ["probe", "few"]


# -- what must not be mixed --


@pytest.mark.parametrize(
    ("arm", "options", "words"),
    [
        ("{strategy: probe, epochs: 1}", {}, "settings: .*epochs=2, now .*epochs=1"),
        ("{strategy: probe, shots: 3}", {}, "shots: None, now 3"),
        ("{strategy: probe, backbone: resnet18}", {"weights": None}, "backbone: starter, now resnet18"),
        ("{strategy: probe}", {"settings": ["head=mlp:4", "val=0.3"]}, "val: None, now 0.3; head: linear, now mlp:4"),
    ],
)
def test_a_study_of_other_options_is_refused_and_says_what_changed(
    small: Small, trained: list[str], arm: str, options: dict[str, Any], words: str
) -> None:
    found = small("one: {strategy: probe}\n", seeds=1)
    before = written(found.path)
    with pytest.raises(RunError, match=rf"(?s)one-0 was trained with other options \(.*{words}.*overwrite=True"):
        small(f"one: {arm}\n", seeds=1, **options)
    assert written(found.path) == before
    assert trained == ["one-0"]


def test_overwrite_trains_anew_and_a_mistake_that_was_not_made_before_is_another_option(
    small: Small, trained: list[str]
) -> None:
    arms = "one: {strategy: finetune}\nother: {strategy: probe}\n"
    small(arms, seeds=1)
    wrong = arms.replace("finetune", "finetune, mistakes: [sigmoid]")
    with pytest.raises(RunError, match=r"one-0 was trained with other options \(mistakes: none, now sigmoid\)"):
        small(wrong, seeds=1)
    trained.clear()
    assert min(row["val_loss"] for row in small(wrong, seeds=1, overwrite=True).results[0].history) > 0.55
    assert trained == ["one-0", "other-0"]


def test_other_photos_or_fewer_to_judge_by_are_refused(
    small: Small, class_folder: Callable[..., Path], draw_photo: Callable[..., Path]
) -> None:
    import numpy as np

    data = class_folder(splits=("train", "test"))
    found = small(PROBE, seeds=1, data=data)
    before = written(found.path)
    for options in ({"data": class_folder("others", seed=5)}, {"data": data, "settings": ["test_photos=4"]}):
        with pytest.raises(RunError, match="probe-0 was trained on other photos"):
            small(PROBE, seeds=1, **options)
    moved = data.rename(data.with_name("moved"))
    assert small(PROBE, seeds=1, data=moved).rows == found.rows
    draw_photo(moved / "test" / "cat" / "cat_000.png", 1, np.random.default_rng(5))
    with pytest.raises(RunError, match="on other photos"):
        small(PROBE, seeds=1, data=moved)
    assert before.keys() == written(found.path).keys()


def test_other_weights_are_refused(small: Small, weights: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    found = small(PROBE, seeds=1)
    copy, other = tmp_path / "copy.safetensors", tmp_path / "other.safetensors"
    copy.write_bytes(weights.read_bytes())
    assert small(PROBE, seeds=1, weights=copy).rows == found.rows
    save_file({k: v * 2 if v.dtype == torch.float32 else v for k, v in load_file(weights).items()}, other)
    with pytest.raises(RunError, match=r"from other weights than .*other\.safetensors"):
        small(PROBE, seeds=1, weights=other)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_or_a_file_of_something_else_is_never_touched(
    small: Small, tmp_path: Path, trained: list[str], overwrite: bool
) -> None:
    (tmp_path / "mine" / "arms").mkdir(parents=True)
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match=r"is not a study \(it holds letter\.txt\)"):
        small(PROBE, seeds=1, out="mine", overwrite=overwrite)
    with pytest.raises(RunError, match="is a file"):
        small(PROBE, seeds=1, out="mine/letter.txt", overwrite=overwrite)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    assert {p.name for p in (tmp_path / "mine").rglob("*")} == {"arms", "letter.txt"}
    assert trained == []


def test_a_mistyped_folder_of_photos_costs_no_earlier_result(small: Small, tmp_path: Path) -> None:
    found = small(PROBE, seeds=1)
    before = written(found.path)
    with pytest.raises(DataError, match="no such folder"):
        small(PROBE, seeds=1, data=tmp_path / "photoz", overwrite=True)
    assert written(found.path) == before


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ("a: {backbone: startr}", ["a: ", "startr"]),
        (
            "a: {strategy: probe, cut: layr2}\n b: {strategy: partial, boundary: layr3}",
            ["a: ", "b: ", "layr2", "layr3"],
        ),
        ("a: {strategy: partial, cut: layer2, boundary: layer3}", ["a: ", "layer3"]),
        ("t: {strategy: scratch}\n a: {strategy: probe, from: t, cut: [layer1, layer9]}", ["a: ", "layer9"]),
    ],
)
def test_an_architecture_that_cannot_be_is_said_before_anything_is_trained(
    small: Small, tmp_path: Path, trained: list[str], arms: str, words: list[str]
) -> None:
    with pytest.raises(OptionError) as caught:
        small(arms.replace("\n ", "\n"), seeds=1, weights=None)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert trained == []
    assert not (tmp_path / "out").exists()


def test_photos_with_names_of_any_bytes_and_recipes_with_dates_come_to_an_end(
    small: Small, class_folder: Callable[..., Path]
) -> None:
    import os

    data = class_folder(per_class=8)
    try:
        for path in sorted(data.rglob("*.png")):
            os.rename(path, os.fsencode(path.parent) + b"/\xff" + os.fsencode(path.name))
    except OSError:  # a file system that takes text only
        pass
    found = small("probe: {strategy: probe, note: 2024-05-01}\n", seeds=1, data=data)
    assert json.loads((found.path / "study.json").read_text(encoding="utf-8"))["arms"][0]["note"] == "2024-05-01"


# -- mistakes on purpose --


@pytest.mark.slow
def test_a_sigmoid_before_the_loss_keeps_it_up_and_changes_nothing_else(
    small: Small, photos: Path, weights: Path, tmp_path: Path
) -> None:
    arms = """
        right: {strategy: finetune, epochs: 8}
        wrong: {strategy: finetune, epochs: 8, mistakes: [sigmoid]}
    """
    found = small(arms, seeds=1)
    losses = {r.arm: [row["val_loss"] for row in r.history] for r in found.results}
    bound = math.log(1 + 2 / math.e)  # one output of 1 and two of 0: no sigmoid comes closer
    assert min(losses["wrong"]) > bound
    assert min(losses["right"]) < bound
    settings = {"image_size": 32, "batch_size": 8, "precision": "float32", "epochs": 8}
    alone = hs.train(
        photos, out=tmp_path / "alone", quiet=True, backbone="starter", weights=weights, strategy="finetune",
        device="cpu", settings=settings,
    )  # fmt: skip
    assert_same_run(alone.path, folders(found)["right-0"])


def test_a_resumed_run_makes_the_mistake_that_it_began_with(
    small: Small, count_steps: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = "wrong: {strategy: finetune, mistakes: [sigmoid]}\n"
    whole = small(arms, seeds=1, out="whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    count_steps(stop=3)
    with pytest.raises(Interrupted):
        small(arms, seeds=1)
    count_steps()
    run = hs.resume(whole.path.parent / "out" / "arms" / "wrong-0", quiet=True)
    assert_same_run(run.path, folders(whole)["wrong-0"])


# -- nothing is computed twice --


def test_arms_on_the_same_frozen_network_share_its_features(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    real = FrozenNetwork.__call__

    def counted(self: FrozenNetwork, inputs: Any) -> Any:
        passes.append(len(inputs))
        return real(self, inputs)

    monkeypatch.setattr(FrozenNetwork, "__call__", counted)
    arms = {
        "probe": "{strategy: probe}", "own-head": "{strategy: probe, head: 'mlp:8', dropout: [0.2]}",
        "few": "{strategy: probe, shots: [2, 4]}",
    }  # fmt: skip
    small("\n".join(f"{name}: {arm}" for name, arm in arms.items()), seeds=1)
    once = len(passes)
    assert once == 3  # train, val and test: 24, 6 and 6 photos
    small("\n".join(f"{name}: {arm}" for name, arm in arms.items()), seeds=2)
    assert len(passes) == once


def test_a_network_is_loaded_once_for_the_arms_that_follow_each_other(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.training import preparation as prepare

    made: list[tuple[str, int]] = []
    real = prepare.make_backbone

    def counted(options: Any) -> Any:
        made.append((options.strategy, options.seed))
        return real(options)

    monkeypatch.setattr(prepare, "make_backbone", counted)
    small(
        "probe: {strategy: probe}\nscratch: {strategy: scratch, epochs: 1}\nfew: {strategy: probe, shots: 2}\n", seeds=2
    )
    assert made == [("probe", 0), ("scratch", 0), ("scratch", 1)]
