"""The photos of a study: where they are, which of them judge, and that they are read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from headstart.core.events import Events
from headstart.core.paths import lasting
from headstart.data.schema import Manifest, Photo
from headstart.errors import DataError, OptionError
from headstart.workflows.experiment.jobs import Experiment, assign_paths
from headstart.workflows.experiment.recipe import Images, Recipe, parse
from headstart.workflows.experiment.worker import Library, as_wanted, pool_of


def recipe(images: dict[str, Any], *used: str) -> Recipe:
    """A recipe with an arm for each image set in ``used`` (default: all)."""
    arms = {f"on-{name}": {"strategy": "probe", "images": name} for name in used or images}
    return parse({"name": "own", "images": images, "arms": arms}, "own.yaml")


def manifest(*splits: tuple[str | None, str, int]) -> Manifest:
    """Photos by (split, label, how many)."""
    photos = [Photo(Path(f"/p/{s}/{label}/{i}.png"), label, s) for s, label, n in splits for i in range(n)]  # type: ignore[arg-type]
    return Manifest(Path("/p"), "pets", "split folders", tuple(photos))


def judged(found: Manifest) -> list[Photo]:
    return [photo for photo in found.photos if photo.split == "test"]


# -- where they are --


def test_the_only_set_needs_no_name() -> None:
    one = recipe({"pets": {"words": "Photos of pets."}})
    assert assign_paths(one, {"": "here"}) == assign_paths(one, {"pets": "here"}) == {"pets": "here"}


def test_a_set_that_has_a_home_is_fetched_unless_the_user_has_it() -> None:
    two = recipe({"small": {"home": "cifar10"}, "large": {"home": "cifar100"}})
    assert assign_paths(two, {}) == {"small": "cifar10", "large": "cifar100"}
    assert assign_paths(two, {"large": "here"}) == {"small": "cifar10", "large": "here"}


def test_a_set_that_no_arm_uses_is_not_asked_for() -> None:
    unused = recipe({"pets": None, "cars": None}, "cars")
    assert assign_paths(unused, {"": "here"}) == {"cars": "here"}
    assert assign_paths(unused, {"pets": "there", "cars": "here"}) == {"cars": "here"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"petz": "here"}, ["`data={'petz': 'here'}`: no image set has that name", "Did you mean 'pets'?"]),
        ({"xyz": "here"}, ["`data={'xyz': 'here'}`", "Image sets of own: pets, cars (`data={'pets': 'here'}`)."]),
        ({"": "here"}, ["`data='here'`: which set?", "`data={'pets': 'here'}`"]),
        ({}, ["own needs photos of yours: `data={'pets': 'FOLDER'}`. Pets, from the pet shop."]),
        ({"petz": "here", "cas": "there"}, ["'pets'", "'cars'", "own needs photos of yours"]),
    ],
)
def test_photos_that_cannot_be_assigned_are_refused(given: dict[str, str], words: Sequence[str]) -> None:
    two = recipe({"pets": {"words": "Pets, from the pet shop."}, "cars": {"home": "cars160"}})
    with pytest.raises(OptionError) as caught:
        assign_paths(two, given)
    for word in words:
        assert word in str(caught.value)


def test_a_path_lasts_and_a_name_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert lasting("photos") == str((tmp_path / "photos").resolve())
    assert lasting("cifar10") == "cifar10"


# -- which of them judge --


def test_val_can_be_the_split_that_judges() -> None:
    found = as_wanted(manifest(("train", "cat", 3), ("val", "cat", 2)), Images("pets", judge_on="val"))
    assert Counter(photo.split for photo in found.photos) == {"train": 3, "test": 2}
    assert [photo.path.parts[2] for photo in judged(found)] == ["val", "val"]


def test_val_cannot_judge_where_there_is_a_test_split() -> None:
    with pytest.raises(DataError, match="pets has a test split: judge_on: val would leave it unused"):
        as_wanted(manifest(("train", "cat", 3), ("val", "cat", 2), ("test", "cat", 1)), Images("pets", judge_on="val"))


@pytest.mark.parametrize(
    ("splits", "pool"),
    [
        ([(None, "cat", 7)], 7),  # test is drawn from them too
        ([("train", "cat", 5), ("test", "cat", 2)], 5),
        ([("train", "cat", 5), ("val", "cat", 3), ("test", "cat", 2)], 8),
        ([("train", "cat", 5), ("val", "cat", 3)], 5),  # val is the test set
    ],
)
def test_training_photos_are_drawn_from_all_but_the_datas_own_test_set(
    splits: list[tuple[str | None, str, int]], pool: int
) -> None:
    assert pool_of(manifest(*splits)) == pool


def test_without_a_wish_the_listing_stays_as_it_is() -> None:
    given = manifest(("train", "cat", 3), ("test", "cat", 2))
    assert as_wanted(given, Images("pets")) is given


def test_fewer_test_photos_are_drawn_from_each_class_in_proportion() -> None:
    given = manifest(
        ("train", "a", 9), ("test", "cat", 40), ("test", "dog", 20), ("test", "owl", 20), ("val", "owl", 5)
    )
    found = as_wanted(given, Images("pets", test_photos=20))
    assert Counter(photo.label for photo in judged(found)) == {"cat": 10, "dog": 5, "owl": 5}
    others = [photo for photo in given.photos if photo.split != "test"]
    assert [photo for photo in found.photos if photo.split != "test"] == others


def test_fewer_test_photos_are_always_the_same_ones_and_not_the_first_ones() -> None:
    given = manifest(("train", "cat", 1), ("test", "cat", 60), ("test", "dog", 60))
    found = judged(as_wanted(given, Images("pets", test_photos=20)))
    assert judged(as_wanted(given, Images("pets", test_photos=20))) == found
    backwards = Manifest(given.root, given.name, given.layout, tuple(reversed(given.photos)))
    assert len(judged(as_wanted(backwards, Images("pets", test_photos=20)))) == 20
    cats, dogs = judged(given)[:60], judged(given)[60:]
    assert found != [*cats[:10], *dogs[:10]]
    more_classes = manifest(("train", "cat", 1), ("test", "cat", 60), ("test", "dog", 60), ("test", "owl", 60))
    again = judged(as_wanted(more_classes, Images("pets", test_photos=30)))
    assert [photo for photo in again if photo.label == "cat"] == found[:10]  # other classes do not change the draw


def test_val_that_judges_can_be_made_fewer_too() -> None:
    found = as_wanted(manifest(("train", "cat", 3), ("val", "cat", 9)), Images("pets", judge_on="val", test_photos=4))
    assert len(judged(found)) == 4


def test_every_class_is_judged_by_a_photo_at_least() -> None:
    given = manifest(("train", "cat", 1), *(("test", f"class {i}", 10) for i in range(6)))
    assert len(judged(as_wanted(given, Images("pets", test_photos=3)))) == 6


def test_no_more_photos_than_there_are() -> None:
    given = manifest(("train", "cat", 3), ("test", "cat", 4))
    assert as_wanted(given, Images("pets", test_photos=4)).photos == given.photos
    assert as_wanted(given, Images("pets", test_photos=400)).photos == given.photos


# -- read once --


def test_a_set_is_scanned_once_and_read_once_for_each_size(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    def counted(name: str, module: str) -> None:
        from importlib import import_module

        real: Callable[..., Any] = getattr(import_module(module), name)

        def go(*words: Any, **more: Any) -> Any:
            done.append((name, words[1] if name == "read" else None))
            return real(*words, **more)

        monkeypatch.setattr(f"{module}.{name}", go)

    counted("scan", "headstart.data.loading")
    counted("read", "headstart.data.loading")
    library = Library(Experiment(recipe({"pets": None}), {"pets": str(photos)}), Events())
    for size in (32, 48, 32, 48):
        assert len(library.photos("pets", size, "bilinear").manifest.photos) == 36
    assert library.manifest("pets").photos == library.photos("pets", 32, "bilinear").manifest.photos
    assert done == [("scan", None), ("read", 32), ("read", 48)]
