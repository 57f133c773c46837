"""Recipes: every problem is reported at once, and those that ship are valid."""

from __future__ import annotations

import re
from typing import Any

import pytest

from headstart.errors import OptionError
from headstart.workflows.experiment.catalogue import load, shipped
from headstart.workflows.experiment.recipe import Recipe, parse

PROBE = {"strategy": "probe"}


def raw(arms: Any = None, **changes: Any) -> dict[str, Any]:
    """A valid recipe, changed."""
    arms = {"first": PROBE, "swept": {"strategy": "probe", "shots": [1, 2]}, **(arms or {})}
    return {"name": "own", "images": {"pets": None, "cars": None}, "arms": arms, **changes}


def complaints(recipe: Any) -> list[str]:
    """The lines of the refusal, one per problem."""
    with pytest.raises(OptionError) as caught:
        parse(recipe, "own.yaml")
    opening, *lines = str(caught.value).splitlines()
    count = "a problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert opening == f"own.yaml has {count}:"
    return [line.strip() for line in lines]


ARMS: dict[str, tuple[Any, str]] = {
    "unknown-key": ({"epocs": 3}, "unknown key 'epocs'. Did you mean 'epochs'?"),
    "hyphened-key": ({"image-size": 3}, "unknown key 'image-size'. Did you mean 'image_size'"),
    "number-as-key": ({1: 3}, "unknown key 1. Known: images, from"),
    "own-place": ({"out": "here"}, "unknown key 'out'"),
    "own-reading": ({"label_column": "breed"}, "unknown key 'label_column'"),
    "text-for-int": ({"shots": "ten"}, "shots: 'ten' is not a whole number"),
    "half-a-photo": ({"shots": 2.5}, "shots: 2.5 is not a whole number"),
    "truth-for-int": ({"shots": True}, "shots: True is not a whole number"),
    "in-a-sweep": ({"shots": [1, "two"]}, "shots: 'two' is not a whole number"),
    "text-for-float": ({"fraction": "half"}, "fraction: 'half' is not a number"),
    "number-for-text": ({"backbone": 18}, "backbone: 18 is not a text"),
    "list-for-text": ({"head": ["linear"]}, "head: ['linear'] is not a text"),
    "number-for-list": ({"dropout": 0.5}, "dropout: 0.5 is not a list of numbers"),
    "texts-in-list": ({"mean": ["a", "b", "c"]}, "mean: ['a', 'b', 'c'] is not a list of numbers"),
    "strategy": ({"strategy": "prob"}, "`strategy='prob'` is not one of auto, probe, finetune"),
    "strategy-is-a-number": ({"strategy": 7}, "strategy: 7 is not a text"),
    "setting": ({"epochs": 0}, "epochs=0: must be above zero"),
    "setting-is-a-list": ({"epochs": [1, 2]}, "epochs=[1, 2]: not a whole number"),
    "setting-word": ({"augment": "stong"}, "Did you mean 'strong'?"),
    "not-a-number": ({"lr": float("nan")}, "lr=nan"),
    "fraction": ({"fraction": 0}, "`fraction=0` must be above 0"),
    "swept-fraction": ({"fraction": [0.1, 2]}, "`fraction=2` must be above 0"),
    "head": ({"head": "mpl:64"}, "head 'mpl:64' is not known"),
    "dropout": ({"dropout": [0.5, 0.5]}, "2 dropouts for a head of 1 linear layers"),
    "shots-and-fraction": ({"shots": 3, "fraction": 0.1}, "`shots` and `fraction` both limit"),
    "boundary": ({"strategy": "probe", "boundary": "layer3"}, "`boundary` goes with the strategies"),
    "images": ({"images": "petz"}, "images: 'petz' is not in images. Did you mean 'pets'?"),
    "images-list": ({"images": ["pets", "cars"]}, "images: ['pets', 'cars'] is not in images"),
    "from-nobody": ({"from": "frst"}, "from: no arm is named 'frst'. Did you mean 'first'?"),
    "from-swept": ({"from": "swept"}, "from: swept is run at several points; it must be one network"),
    "from-itself": ({"from": "from-itself"}, "arms.from-itself: from: the arms form a cycle"),
    "scratch-from": ({"strategy": "scratch", "from": "first"}, "scratch starts from random weights: leave out from"),
    "published": ({"published": 95}, "published: 95 is not an accuracy between 0 and 1"),
    "published-truth": ({"published": True}, "published: True is not an accuracy"),
    "expected-order": ({"expected": [0.9, 0.8]}, "expected: [0.9, 0.8] is not a range such as [0.90, 0.95]"),
    "expected-alone": ({"expected": 0.9}, "expected: 0.9 is not a range"),
    "expected-percent": ({"expected": [90, 95]}, "expected: [90, 95] is not a range"),
    "two-sweeps": ({"shots": [1, 2], "cut": ["layer1", "layer2"]}, "both name several values"),
    "empty-sweep": ({"cut": []}, "cut: a list needs values, each once"),
    "sweep-twice": ({"shots": [5, 5]}, "shots: a list needs values, each once"),
    "mistake": ({"strategy": "finetune", "mistakes": ["sigmoyd"]}, "'sigmoyd' is not known. Did you mean 'sigmoid'?"),
    "mistake-alone": ({"strategy": "finetune", "mistakes": "sigmoid"}, "mistakes: must be a list such as [sigmoid]"),
    "mistake-of-a-probe": ({"strategy": "probe", "mistakes": ["sigmoid"]}, "mistakes: "),
    "no-seeds": ({"seeds": 0}, "seeds: 0 is not a whole number from 1 to 1,000"),
    "not-a-mapping": (5, "must be a mapping of options, not 5"),
    "a-list": (["probe"], "must be a mapping of options, not ['probe']"),
    "slash/in-it": (PROBE, "arms.slash/in-it: a name must be letters, digits and hyphens"),
    "..": (PROBE, "arms...: a name must be letters, digits and hyphens"),
}
TOPS: dict[str, tuple[dict[Any, Any], str]] = {
    "unknown key": ({"pears": []}, "unknown key 'pears'. Did you mean 'pairs'"),
    "number as key": ({1: "x"}, "unknown key 1. Known: name, title"),
    "no name": ({"name": None}, "name: is missing"),
    "no images": ({"images": None}, "images: is missing"),
    "no arms": ({"arms": None}, "arms: is missing"),
    "name with a slash": ({"name": "../own"}, "name: '../own' must be letters, digits and hyphens"),
    "arms as a list": ({"arms": ["probe"]}, "arms: must be a mapping, not ['probe']"),
    "every_arm as text": ({"every_arm": "probe"}, "every_arm: must be a mapping, not 'probe'"),
    "images as a list": ({"images": ["pets"]}, "images: must be a mapping, not ['pets']"),
    "quick as a list": ({"quick": ["shots"]}, "quick: must be a mapping, not ['shots']"),
    "an image set as text": ({"images": {"pets": "cifar10"}}, "images.pets: must be a mapping with the keys home"),
    "key of an image set": (
        {"images": {"pets": {"hom": "x"}}}, "images.pets: unknown key 'hom'. Did you mean 'home'?"
    ),
    "judge_on": ({"images": {"pets": {"judge_on": "train"}}}, "judge_on: 'train' is neither test nor val"),
    "test_photos": ({"images": {"pets": {"test_photos": 0}}}, "test_photos: 0 is not a whole number of at least 1"),
    "test_photos as truth": ({"images": {"pets": {"test_photos": True}}}, "test_photos: True is not a whole number"),
    "seeds 0": ({"seeds": 0}, "seeds: 0 is not a whole number from 1 to 1,000"),
    "seeds as text": ({"seeds": "two"}, "seeds: 'two' is not a whole number from 1 to 1,000"),
    "seeds as truth": ({"seeds": True}, "seeds: True is not a whole number from 1 to 1,000"),
    "pairs as text": ({"pairs": "first"}, "pairs: must be a list such as [[probe, scratch]]"),
    "pair of three": ({"pairs": [["first", "swept", "first"]]}, "is not a pair of arms such as [probe, scratch]"),
    "pair with itself": ({"pairs": [["first", "first"]]}, "pairs: ['first', 'first'] is not a pair of arms"),
    "pair with nobody": ({"pairs": [["first", "swpt"]]}, "pairs: no arm is named 'swpt'. Did you mean 'swept'?"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARMS)
def test_a_mistake_in_an_arm_is_told_in_one_line(name: str) -> None:
    lines = complaints(raw({name: ARMS[name][0]}))
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"arms.{name}: ")
    assert ARMS[name][1] in lines[0]


@pytest.mark.parametrize("name", TOPS)
def test_a_mistake_outside_of_arms_is_told(name: str) -> None:
    change, words = TOPS[name]
    assert any(words in line for line in complaints({**raw(), **change}))


def test_all_mistakes_are_told_at_once() -> None:
    together = raw({name: arm for name, (arm, _) in ARMS.items()}, pears=[], seeds=0, pairs=[["first", "swpt"]])
    lines = complaints(together)
    for name, (_, words) in ARMS.items():
        assert any(line.startswith(f"arms.{name}: ") and words in line for line in lines), name
    assert len(lines) == len(ARMS) + 3


def test_all_mistakes_of_one_arm_are_told_at_once() -> None:
    arm = {
        "strategy": "prob", "epochs": 0, "augment": "stong", "shots": "ten", "head": "mpl:3", "published": 95,
        "images": "petz", "from": "frst", "mistakes": ["sigmoyd"], "fraction": 3,
    }  # fmt: skip
    said = "\n".join(complaints(raw({"bad": arm})))
    for word in ("probe", "epochs=0", "strong", "'ten'", "mpl:3", "95", "pets", "first", "sigmoid", "`fraction=3`"):
        assert word in said


def test_a_circle_of_several_arms_is_told_of_each_that_starts_in_it() -> None:
    arms = {"a": {**PROBE, "from": "b"}, "b": {**PROBE, "from": "a"}, "c": {**PROBE, "from": "a"}}
    lines = complaints(raw(arms))
    assert [line.split(":")[0] for line in lines] == ["arms.a", "arms.b", "arms.c"]
    assert all("form a cycle" in line for line in lines)


def test_an_arm_cannot_start_from_one_with_fewer_seeds() -> None:
    arms = {"source": {**PROBE, "seeds": 1}, "later": {**PROBE, "from": "source", "seeds": 2}}
    assert complaints(raw(arms)) == ["arms.later: from: source is run with fewer seeds (1) than it (2)"]


@pytest.mark.parametrize("recipe", [None, [], ["arms"], "a recipe", 5, True])
def test_what_is_no_mapping_is_no_recipe(recipe: Any) -> None:
    with pytest.raises(OptionError, match=r"own\.yaml is not a recipe: it must be a mapping with the keys name, title"):
        parse(recipe, "own.yaml")


def test_an_empty_mapping_lacks_everything() -> None:
    assert complaints({}) == ["name: is missing", "images: is missing", "arms: is missing"]


# -- what a recipe means --


def test_arms_stand_after_those_that_they_start_from() -> None:
    arms = {
        "last": {**PROBE, "from": "middle"}, "alone": PROBE, "middle": {**PROBE, "from": "source"}, "source": PROBE,
    }  # fmt: skip
    found = parse({"name": "own", "images": {"pets": None}, "arms": arms}, "own.yaml")
    assert [arm.name for arm in found.arms] == ["source", "middle", "last", "alone"]


def test_an_arm_has_what_every_arm_has_unless_it_says_otherwise() -> None:
    every = {"backbone": "resnet50", "epochs": 4, "images": "cars", "shots": 9, "note": "as all"}
    arms = {"plain": None, "other": {"epochs": 2, "images": "pets", "shots": None, "note": "its own"}}
    found = parse(raw(arms, every_arm=every), "own.yaml")
    plain, other = found.arm("plain"), found.arm("other")
    assert (plain.images, plain.options, plain.note) == (
        "cars", {"backbone": "resnet50", "epochs": 4, "shots": 9}, "as all",
    )  # fmt: skip
    assert (other.images, other.options, other.note) == ("pets", {"backbone": "resnet50", "epochs": 2}, "its own")


def test_the_first_image_set_is_meant_where_none_is_named() -> None:
    assert parse(raw(), "own.yaml").arm("first").images == "pets"


def test_a_sweep_has_a_point_per_value_with_all_other_options() -> None:
    found = parse(raw({"cuts": {**PROBE, "epochs": 3, "cut": ["layer1", "layer2.0"]}}), "own.yaml").arm("cuts")
    assert found.sweep == ("cut", ("layer1", "layer2.0"))
    assert found.points() == [
        ("layer1", {"strategy": "probe", "epochs": 3, "cut": "layer1"}),
        ("layer2.0", {"strategy": "probe", "epochs": 3, "cut": "layer2.0"}),
    ]
    assert parse(raw(), "own.yaml").arm("first").points() == [("", PROBE)]


def test_seeds_are_the_recipes_unless_an_arm_has_its_own() -> None:
    found = parse(raw({"dear": {**PROBE, "seeds": 1}, "cheap": {**PROBE, "seeds": 5}}, seeds=3), "own.yaml")
    assert {arm.name: arm.seeds for arm in found.arms} == {"first": 3, "swept": 3, "dear": 1, "cheap": 5}
    assert found.seeds == 5
    assert parse(raw(), "own.yaml").seeds == 1


# -- recipes that ship --


def test_five_recipes_ship() -> None:
    assert list(shipped()) == ["animals", "cifar-transfer", "dogs-vs-cats", "few-shot", "imagewoof"]


@pytest.mark.parametrize("name", shipped())
@pytest.mark.parametrize("quick", [False, True])
def test_a_shipped_recipe_loads(name: str, quick: bool) -> None:
    found = load(name, quick=quick)
    assert found.name == name
    assert bool(found.about) is not quick  # the small form tells nothing that others published
    assert found.title
    assert found.pairs
    if quick:
        assert found.seeds == 1
        assert all(arm.options.get("epochs", 1) <= 3 for arm in found.arms)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_opens_with_its_command_its_cost_and_what_to_expect(name: str) -> None:
    opening = shipped()[name].text.split("\nname: ")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    assert f"headstart study {name}" in opening
    for word in ("Needs: ", "Cost: ", "Expected: "):
        assert f"\n# {word}" in opening
    assert opening.startswith(f"# {shipped()[name].summary}\n")


@pytest.mark.parametrize("name", shipped())
def test_the_command_of_a_shipped_recipe_names_the_photos_that_must_be_given(name: str) -> None:
    command = re.search(r"headstart study .*", shipped()[name].text)
    assert command is not None
    given = re.findall(r"--data ([\w-]+)=", command[0])
    assert given == [images.name for images in load(name).images.values() if images.home is None]
    assert all(load(name).images[set_name].words for set_name in given)


def expectations(recipe: Recipe) -> dict[str, tuple[float, float]]:
    return {arm.name: arm.expected for arm in recipe.arms if arm.expected}


@pytest.mark.parametrize("name", shipped())
def test_what_a_shipped_recipe_expects_is_a_range_in_order(name: str) -> None:
    found = expectations(load(name))
    assert found
    for low, high in found.values():
        assert 0 <= low < high <= 1
    assert not expectations(load(name, quick=True))
