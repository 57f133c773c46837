"""From a recipe to trainings: their order, their folders, their weights, and how much work they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.data.schema import Manifest, Photo
from headstart.errors import OptionError
from headstart.workflows.experiment.catalogue import load, shipped
from headstart.workflows.experiment.jobs import Job, make_jobs, work
from headstart.workflows.experiment.recipe import Recipe, parse
from headstart.workflows.experiment.study import check_architectures

OUT = Path("out")


def recipe(arms: dict[str, Any], **more: Any) -> Recipe:
    images = {"pets": None, "cars": None}
    return parse({"name": "own", "images": images, "arms": arms, **more}, "own.yaml")


def jobs(found: Recipe, weights: dict[str, str] | None = None) -> list[Job]:
    return make_jobs(found, {"pets": "/pets", "cars": "/cars"}, weights or {}, OUT, "cpu")


TRANSFER = {
    "later": {"strategy": "probe", "from": "source", "cut": "layer2", "images": "cars"},
    "source": {"strategy": "finetune"},
    "few": {"strategy": "probe", "shots": [1, 5]},
}


def test_all_arms_run_with_one_seed_before_the_next_and_sources_first() -> None:
    found = jobs(recipe(TRANSFER, seeds=2))
    each = [("source", ""), ("later", ""), ("few", "1"), ("few", "5")]
    assert [(job.arm.name, job.point, job.seed) for job in found] == [(*one, seed) for seed in (0, 1) for one in each]
    assert [job.options.seed for job in found] == [0] * 4 + [1] * 4
    assert found[3].label == "few at 5, seed 0"
    assert found[4].label == "source, seed 1"


def test_an_arm_runs_with_as_many_seeds_as_it_says() -> None:
    found = jobs(recipe({"dear": {"seeds": 1, "strategy": "finetune"}, "cheap": {"strategy": "probe"}}, seeds=3))
    assert [(job.arm.name, job.seed) for job in found] == [("dear", 0), ("cheap", 0), ("cheap", 1), ("cheap", 2)]


def test_every_training_has_a_folder_named_by_arm_point_and_seed() -> None:
    arms = {
        "few": {"strategy": "probe", "shots": [1, 5]},
        "parts": {"strategy": "probe", "fraction": [0.1]},
        "cut": {"strategy": "probe", "cut": ["layer2.0"]},
    }
    names = ["few-1-0", "few-5-0", "parts-0.1-0", "cut-layer2.0-0"]
    assert [job.folder for job in jobs(recipe(arms))] == [OUT / "arms" / name for name in names]


@pytest.mark.parametrize("other", ["few-1", "Few-1"])
def test_two_trainings_never_share_a_folder(other: str) -> None:
    """One would be taken for the result of the other. (Some file systems do not tell letters' case apart.)"""
    arms = {"few": {"strategy": "probe", "shots": [1, 5]}, other: {"strategy": "probe"}}
    with pytest.raises(OptionError, match=f"(?s)arm {other} and few at 1 .*Rename"):
        jobs(recipe(arms))


def test_an_arm_starts_from_the_run_of_its_source_with_the_same_seed() -> None:
    found = jobs(recipe(TRANSFER, seeds=2))
    assert [job.options.from_run for job in found if job.arm.name == "later"] == [
        str(OUT / "arms" / "source-0"), str(OUT / "arms" / "source-1"),
    ]  # fmt: skip
    assert all(job.options.from_run is None for job in found if job.arm.name != "later")


def test_options_are_those_of_the_arm_on_its_photos() -> None:
    arm = {
        "strategy": "probe", "images": "cars", "backbone": "resnet50", "head": "mlp:8", "dropout": [0.5, 0.2],
        "epochs": 3, "val": 0.2, "image_size": [32, 64], "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1],
    }  # fmt: skip
    first, second = (job.options for job in jobs(recipe({"own": arm})))
    assert (first.data, first.backbone, first.head, first.dropout) == ("/cars", "resnet50", "mlp:8", (0.5, 0.2))
    assert (first.val, first.mean, first.std, first.device) == (0.2, (0.1, 0.2, 0.3), (1, 1, 1), "cpu")
    assert (first.settings, second.settings) == ({"epochs": 3, "image_size": 32}, {"epochs": 3, "image_size": 64})


def test_an_arm_has_the_backbone_of_the_one_that_it_starts_from() -> None:
    arms = {
        "large": {"strategy": "scratch", "backbone": "resnet50"},
        "next": {"strategy": "probe", "from": "large", "cut": "layer2"},
        "last": {"strategy": "probe", "from": "next"},
        "other": {"strategy": "probe"},
    }
    found = jobs(recipe(arms, every_arm={"backbone": "resnet34"}))
    assert [job.options.backbone for job in found] == ["resnet50", "resnet50", "resnet50", "resnet34"]


# -- weights --

BOTH = {
    "large": {"strategy": "finetune", "backbone": "resnet50"},
    "small": {"strategy": "probe"},
    "scratch": {"strategy": "scratch", "backbone": "resnet34"},
    "later": {"strategy": "probe", "from": "small"},
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"")
    return str(path)


def given(found: Recipe, weights: dict[str, str]) -> dict[str, str | None]:
    return {job.arm.name: job.options.weights for job in jobs(found, weights)}


def test_weights_go_to_the_arms_of_their_backbone(file: str) -> None:
    nowhere = {"large": None, "small": None, "scratch": None, "later": None}
    assert given(recipe(BOTH), {}) == nowhere
    assert given(recipe(BOTH), {"resnet18": file}) == {**nowhere, "small": file}
    assert given(recipe(BOTH), {"resnet18": file, "resnet50": file}) == {**nowhere, "small": file, "large": file}


def test_weights_need_no_name_where_there_is_one_backbone(file: str) -> None:
    found = recipe({name: arm for name, arm in BOTH.items() if name != "large"})
    assert given(found, {"": file}) == {"small": file, "scratch": None, "later": None}


@pytest.mark.parametrize(
    ("arms", "name", "words"),
    [
        (BOTH, "resnet5", "no arm uses resnet5.\n  Did you mean 'resnet50'"),
        (BOTH, "vgg", "no arm uses vgg.\n  Backbones of own: resnet50, resnet18."),
        (BOTH, "resnet34", "no arm uses resnet34"),  # by scratch, which takes none
        (BOTH, "", "of which backbone?\n  Write `weights={'resnet50': "),
        ({"scratch": {"strategy": "scratch"}}, "", "no arm of own starts from pretrained weights"),
        ({"scratch": {"strategy": "scratch"}}, "resnet18", "no arm of own starts from pretrained weights"),
    ],
)
def test_weights_of_nobody_are_refused(arms: dict[str, Any], name: str, words: str, file: str) -> None:
    with pytest.raises(OptionError) as caught:
        jobs(recipe(arms), {name: file})
    assert words in str(caught.value)
    assert file in str(caught.value)


def test_weights_that_are_no_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(OptionError, match="is no file"):
            jobs(recipe(BOTH), {"resnet18": str(path)})


# -- how much work they are --


def test_work_is_counted_in_forward_passes_of_a_photo_of_100_px() -> None:
    def manifest(train: int, test: int) -> Manifest:
        splits = [*["train"] * train, *["test"] * test]
        photos = tuple(Photo(Path(f"{i}.png"), f"class {i % 4}", split) for i, split in enumerate(splits))  # type: ignore[arg-type]
        return Manifest(Path("/p"), "pets", "split folders", photos)

    size = {"image_size": 200}
    arms = {
        "probe": {"strategy": "probe", **size}, "tuned": {"strategy": "finetune", "backbone": "resnet50", "epochs": 6},
        "few": {"strategy": "probe", "shots": 5, **size}, "half": {"strategy": "probe", "fraction": 0.5, **size},
    }  # fmt: skip
    probe, tuned, few, half = jobs(recipe(arms))
    assert work(probe, manifest(400, 100)) == pytest.approx(4 * 500)
    assert work(tuned, manifest(400, 100)) == pytest.approx(1.6**2 * 2.2 * (3 * 6 * 400 + 100))
    assert work(few, manifest(400, 100)) == pytest.approx(4 * (4 * 5 + 100))
    assert work(half, manifest(400, 100)) == pytest.approx(4 * 300)
    assert work(probe, manifest(0, 0)) == 1


@pytest.mark.parametrize("name", shipped())
def test_the_cuts_and_boundaries_of_a_shipped_recipe_exist(name: str, tmp_path: Path) -> None:
    recipe = load(name)
    jobs = make_jobs(recipe, {arm.images: "photos" for arm in recipe.arms}, {}, tmp_path)
    check_architectures(jobs)
