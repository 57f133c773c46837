"""What a study chooses by (never the test split), and what a seed decides."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.training import launch, rules
from headstart.training import trainer as loop
from headstart.training.strategies.base import FitContext
from headstart.workflows.experiment.results import Study

Small = Callable[..., Study]
ClassFolder = Callable[..., Path]

CLASSES = ("cat", "dog", "owl")
EVERY_WAY = """
    probe: {strategy: probe}
    own-head: {strategy: probe, head: 'mlp:8', dropout: [0.2]}
    tuned: {strategy: finetune}
    auto: {strategy: auto}
"""


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def splits(folder: Path) -> dict[str, set[str]]:
    """Split → its photos."""
    rows = table(folder / "splits.csv")
    return {split: {row["path"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}


def relabelled(data: Path) -> Path:
    """The test photos of each class pass for those of the next."""
    test = data / "test"
    for label in CLASSES:
        (test / label).rename(test / f"was-{label}")
    for label, other in zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True):
        (test / f"was-{other}").rename(test / label)
    return data


def replaced(data: Path, draw_photo: Callable[..., Path]) -> Path:
    """Other test photos under the same names, of one class whatever their folder."""
    import numpy as np

    rng = np.random.default_rng(99)
    for path in sorted((data / "test").rglob("*.png")):
        draw_photo(path, 5, rng)
    return data


@pytest.mark.slow
def test_the_test_split_changes_nothing_that_is_chosen(
    small: Small, class_folder: ClassFolder, draw_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def epochs_after_probe(errors: int, photos: int, _: float, __: int, epochs: int, *___: Any) -> rules.Choice:
        asked.append((errors, photos))
        return rules.Choice(epochs, "so that both halves run, whatever this machine's speed")

    monkeypatch.setattr(rules, "epochs_after_probe", epochs_after_probe)
    given = {"classes": CLASSES, "per_class": 8, "splits": ("train", "test")}
    places = {
        "plain": class_folder("plain", **given),
        "relabelled": relabelled(class_folder("relabelled", **given)),
        "replaced": replaced(class_folder("replaced", **given), draw_photo),
    }
    found = {name: small(EVERY_WAY, seeds=1, out=f"study-{name}", data=data) for name, data in places.items()}
    judged: dict[str, list[list[bool]]] = {
        name: [list(r.correct) for r in study.results] for name, study in found.items()
    }
    for name in ("relabelled", "replaced"):
        for arm in ("probe", "own-head", "tuned", "auto"):
            plain, other = (found[n].path / "arms" / f"{arm}-0" for n in ("plain", name))
            for file in ("model.safetensors", "plan.json"):
                assert (plain / file).read_bytes() == (other / file).read_bytes(), (name, arm, file)
            assert table(plain / "history.csv") == table(other / "history.csv"), (name, arm)
            chosen = [
                [row for row in table(folder / "predictions.csv") if row["split"] == "val"] for folder in (plain, other)
            ]
            assert chosen[0] == chosen[1], (name, arm)
        assert judged[name] != judged["plain"]  # or nothing was shown
    assert len(asked) == 6
    assert len(set(asked)) == 1


def test_a_seed_decides_val_and_the_shots_but_never_a_test_split_that_the_data_brings(
    small: Small, class_folder: ClassFolder
) -> None:
    data = class_folder(classes=CLASSES, per_class=8, splits=("train", "test"))
    found = small("probe: {strategy: probe}\nfew: {strategy: probe, shots: [1, 2]}\n", seeds=3, data=data)
    drawn = {(r.arm, r.job.point, r.job.seed): splits(r.job.folder) for r in found.results}
    judged = {f"test/{label}/{path.name}" for label in CLASSES for path in (data / "test" / label).iterdir()}
    assert all(one["test"] == judged for one in drawn.values())
    for arm, point in (("probe", ""), ("few", "1"), ("few", "2")):
        for split in ("train", "val"):
            photos = [frozenset(drawn[arm, point, seed][split]) for seed in range(3)]
            assert len(set(photos)) == 3, (arm, point, split)
    for seed in range(3):  # within a seed, fewer are a part of more, and nothing strays from one split to another
        one, two, whole = (drawn[arm, point, seed] for arm, point in (("few", "1"), ("few", "2"), ("probe", "")))
        assert one["train"] < two["train"] < whole["train"]
        assert one["val"] <= two["val"] <= whole["val"]


def test_a_seed_decides_test_too_where_the_data_brings_none(small: Small) -> None:
    found = small("probe: {strategy: probe}\nscratch: {strategy: scratch, epochs: 1}\n", seeds=2)
    drawn = [splits(r.job.folder) for r in found.results]
    assert drawn[0] == drawn[1]  # arms of one seed are judged by the same photos
    assert drawn[2] == drawn[3]
    for split in ("train", "val", "test"):
        assert drawn[0][split] != drawn[2][split]


def test_a_seed_decides_the_heads_first_weights_the_order_and_the_weights_of_scratch(
    small: Small, class_folder: ClassFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[torch.Tensor] = []
    batches: list[list[list[int]]] = []  # training → labels of each batch
    backbones: list[str] = []
    new_head, step, fit = FitContext.new_head, loop.Trainer._step, launch.fit

    def watched_head(task: FitContext) -> Any:
        head = new_head(task)
        heads.append(head.weight.detach().clone())
        return head

    def watched_step(self: loop.Trainer, epoch: int, x: torch.Tensor, y: torch.Tensor, *rest: Any) -> Any:
        batches[-1].append([*map(int, y), round(float(x.float().sum()))])
        return step(self, epoch, x, y, *rest)

    def watched_fit(task: FitContext) -> Any:
        batches.append([])
        backbones.append(task.backbone.weights_digest)
        return fit(task)

    monkeypatch.setattr(FitContext, "new_head", watched_head)
    monkeypatch.setattr(loop.Trainer, "_step", watched_step)
    monkeypatch.setattr("headstart.workflows.train.train.fit", watched_fit)
    data = class_folder(classes=CLASSES, per_class=6, splits=("train", "val", "test"))
    found = small("tuned: {strategy: finetune}\nscratch: {strategy: scratch}\n", seeds=2, data=data)
    same = [splits(result.job.folder) for result in found.results]
    assert same[0] == same[1] == same[2] == same[3]  # all splits are the data's: what differs, the seed alone decides
    tuned, scratch, tuned_1, scratch_1 = range(4)
    assert torch.equal(heads[tuned], heads[scratch])
    assert not torch.equal(heads[tuned], heads[tuned_1])
    assert torch.equal(heads[tuned_1], heads[scratch_1])
    assert backbones[tuned] == backbones[tuned_1]
    assert len({backbones[tuned], backbones[scratch], backbones[scratch_1]}) == 3
    assert batches[tuned] != batches[tuned_1]
    assert batches[tuned][:3] != batches[tuned][3:]  # nor is the second epoch the first once more
    assert sorted(y for batch in batches[tuned][:3] for y in batch[:-1]) == sorted([0, 1, 2] * 6)
