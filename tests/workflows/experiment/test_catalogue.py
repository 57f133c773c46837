"""Where recipes come from, and what settings, seeds and the quick form make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import OptionError
from headstart.workflows.experiment.catalogue import find, load
from headstart.workflows.experiment.recipe import Recipe

WriteRecipe = Callable[..., Path]
Load = Callable[..., Recipe]

OWN = """
    # A recipe of one's own. More follows.
    name: own
    images: {pets: {home: pets160}, cars: }
    every_arm: {backbone: resnet50, fraction: 0.5, epochs: 9}
    seeds: 3
    arms:
      probe: {strategy: probe, expected: [0.8, 0.9]}
      few: {strategy: probe, shots: [1, 5], fraction: null, seeds: 2}
      scratch: {strategy: scratch, epochs: 20, images: cars}
    quick: {epochs: 1, shots: 4, test_photos: 7, seeds: 1, few.shots: [1, 2], image-size: 32}
"""


@pytest.fixture
def changed(recipe_file: WriteRecipe) -> Load:
    """``changed("epochs=3", ...)``: the recipe with these settings."""

    def go(*settings: str, text: str = OWN, **options: Any) -> Recipe:
        return load(str(recipe_file(text)), settings, **options)

    return go


def values(recipe: Recipe, key: str) -> dict[str, Any]:
    """Arm → an option of it; None where it has none."""
    return {arm.name: arm.options.get(key) for arm in recipe.arms}


# -- settings --


def test_a_setting_without_an_arm_holds_for_every_arm(changed: Load) -> None:
    assert values(changed("epochs=3"), "epochs") == {"probe": 3, "few": 3, "scratch": 3}


def test_a_setting_with_an_arm_holds_for_that_one(changed: Load) -> None:
    assert values(changed("scratch.epochs=3"), "epochs") == {"probe": 9, "few": 9, "scratch": 3}


def test_settings_are_applied_in_order(changed: Load) -> None:
    assert values(changed("scratch.epochs=3", "epochs=4", "probe.epochs=5"), "epochs") == {
        "probe": 5, "few": 4, "scratch": 4,
    }  # fmt: skip


def test_hyphens_are_underscores(changed: Load) -> None:
    assert values(changed("image-size=64", "scratch.image-size=32"), "image_size") == {
        "probe": 64, "few": 64, "scratch": 32,
    }  # fmt: skip
    assert changed("test-photos=9").images["pets"].test_photos == 9


def test_test_photos_hold_for_every_image_set_and_leave_the_rest_of_it(changed: Load) -> None:
    images = changed("test_photos=500").images
    assert [(i.name, i.home, i.test_photos) for i in images.values()] == [("pets", "pets160", 500), ("cars", None, 500)]


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        ({}, {"probe": 3, "few": 2, "scratch": 3}),
        ({"settings": ["seeds=4"]}, {"probe": 4, "few": 4, "scratch": 4}),
        ({"seeds": 5}, {"probe": 5, "few": 5, "scratch": 5}),
        ({"settings": ["scratch.seeds=1"]}, {"probe": 3, "few": 2, "scratch": 1}),
        ({"seeds": 5, "settings": ["scratch.seeds=1"]}, {"probe": 5, "few": 5, "scratch": 1}),
        ({"quick": True}, {"probe": 1, "few": 1, "scratch": 1}),
        ({"quick": True, "seeds": 2}, {"probe": 2, "few": 2, "scratch": 2}),
    ],
)
def test_seeds_of_the_command_replace_those_of_recipe_and_arms(
    recipe_file: WriteRecipe, options: dict[str, Any], seeds: dict[str, int]
) -> None:
    assert {arm.name: arm.seeds for arm in load(str(recipe_file(OWN)), **options).arms} == seeds
    everywhere = OWN.replace("epochs: 9", "epochs: 9, seeds: 3")
    assert {arm.name: arm.seeds for arm in load(str(recipe_file(everywhere)), **options).arms} == seeds


def test_shots_replace_a_fraction_wherever_it_was_set(changed: Load) -> None:
    found = changed("shots=4")
    assert values(found, "shots") == {"probe": 4, "few": 4, "scratch": 4}
    assert values(found, "fraction") == {"probe": None, "few": None, "scratch": None}
    assert found.arm("few").sweep is None


def test_a_fraction_replaces_shots_even_where_they_are_swept(changed: Load) -> None:
    found = changed("few.fraction=0.2", "scratch.shots=3", "scratch.fraction=0.1")
    assert values(found, "fraction") == {"probe": 0.5, "few": 0.2, "scratch": 0.1}
    assert found.arm("few").sweep is None
    assert values(found, "shots") == {"probe": None, "few": None, "scratch": None}


def test_a_list_makes_a_sweep(changed: Load) -> None:
    assert changed("scratch.cut=[layer1, layer2.0]").arm("scratch").sweep == ("cut", ("layer1", "layer2.0"))
    assert changed("few.shots=[2, 3, 4]").arm("few").sweep == ("shots", (2, 3, 4))


def test_nothing_takes_a_setting_back(changed: Load) -> None:
    assert values(changed("scratch.epochs="), "epochs") == {"probe": 9, "few": 9, "scratch": None}


@pytest.mark.parametrize(
    "options", [{"quick": True}, {"settings": ["seeds=3"]}, {"settings": ["test_photos=5"]}, {"settings": ["epochs=9"]}]
)
def test_what_is_expected_holds_for_the_recipe_as_written_only(
    recipe_file: WriteRecipe, options: dict[str, Any]
) -> None:
    path = str(recipe_file(OWN))
    assert load(path).arm("probe").expected == (0.8, 0.9)
    assert load(path, seeds=1).arm("probe").expected == (0.8, 0.9)
    assert load(path, **options).arm("probe").expected is None


def test_the_recipes_quick_form_is_applied_before_settings(changed: Load) -> None:
    found = changed("scratch.shots=6", quick=True)
    assert values(found, "shots") == {"probe": 4, "few": None, "scratch": 6}
    assert found.arm("few").sweep == ("shots", (1, 2))
    assert values(found, "image_size") == {"probe": 32, "few": 32, "scratch": 32}
    assert found.images["pets"].test_photos == 7


def test_the_quick_form_has_no_published_figures_and_no_arm_twice(recipe_file: WriteRecipe) -> None:
    text = """
        name: own
        title: Own
        about: Others reached 0.9.
        images: {pets: }
        every_arm: {strategy: probe, seeds: 2}
        arms:
          few: {shots: 9, published: 0.5, said: about half}
          all: {published: 0.9}
          curve: {shots: [3, 6]}
          other: {shots: 8, strategy: scratch, epochs: 2}
        pairs: [[all, few], [few, other], [all, other], [curve, other]]
        quick: {shots: 3, curve.shots: [3, 6]}
        """
    path = str(recipe_file(text))
    whole, found = load(path), load(path, quick=True)
    assert [arm.name for arm in whole.arms] == ["few", "all", "curve", "other"]
    assert (whole.quick, whole.about, found.about) == ("", "Others reached 0.9.", "")
    assert [arm.name for arm in found.arms] == ["curve", "other"]  # few and all are a point of curve
    assert found.pairs == (("curve", "other"),)
    assert found.quick.endswith("they are the same as others: few (curve), all (curve).")
    assert [(arm.published, arm.said) for arm in load(path, ["few.shots=5"], quick=True).arms] == [(None, "")] * 3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("scrtch.epochs=3", "scrtch.epochs: no arm is named 'scrtch'. Did you mean 'scratch'?"),
        ("epocs=3", "epocs: unknown key 'epocs'. Did you mean 'epochs'"),
        ("scratch.epocs=3", "scratch.epocs: unknown key 'epocs'. Did you mean 'epochs'"),
        ("test_photo=3", "Did you mean 'test_photos'"),
        ("scratch.test_photos=3", "unknown key 'test_photos'"),
        ("name=other", "unknown key 'name'"),
        (".epochs=3", "no arm is named ''"),
        ("epochs", "`settings`: 'epochs' is not NAME=VALUE"),
        ("=3", "`settings`: '=3' is not NAME=VALUE"),
        ("epochs=three", "epochs='three': not a whole number"),
        ("epochs=[", "epochs='[': not a whole number"),
        ("epochs=2024-13-45", "epochs='2024-13-45': not a whole number"),
        ("seeds=0", "seeds: 0 is not a whole number from 1 to 1,000"),
        ("test_photos=few", "test_photos: 'few' is not a whole number"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(changed: Load, setting: str, words: str) -> None:
    with pytest.raises(OptionError) as caught:
        changed(setting)
    assert words in str(caught.value)


def test_every_bad_setting_is_named(changed: Load) -> None:
    with pytest.raises(OptionError, match=r"'epocs'.*'scrtch'"):
        changed("epocs=3", "scrtch.epochs=3")
    with pytest.raises(OptionError, match=r"own\.yaml, quick: .*'epocs'"):
        changed(text=OWN.replace("quick: {epochs", "quick: {epocs"), quick=True)


# -- odd files --

ODD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not a recipe: it must be a mapping"),
    "nothing but a comment": (b"# later\n", "is not a recipe: it must be a mapping"),
    "a list": (b"- arms\n- images\n", "is not a recipe: it must be a mapping"),
    "a scalar": (b"42", "is not a recipe: it must be a mapping"),
    "not UTF-8": ("name: größe".encode("latin-1"), "is not text in UTF-8"),
    "a syntax error": (b"name: own\nimages: {pets:\narms: [}\n", "odd.yaml, line 3 is not YAML"),
    "a tab": (b"name: own\narms:\n\tprobe: 1\n", "odd.yaml, line 3 is not YAML"),
    "two documents": (b"name: own\n---\nname: other\n", "odd.yaml, line 2 is not YAML"),
    "an object of Python's": (b"name: !!python/object/apply:os.getcwd []\n", "odd.yaml, line 1 is not YAML"),
    "a control character": (b"name: \x01\n", "is not YAML"),
    "a date that no calendar has": (b"name: 2024-13-45\nimages: {p: x}\n", "images.p: must be a mapping"),
    "brackets without an end": (b"name: " + b"[" * 5000, "is not YAML"),
    "an arm twice": (b"name: own\narms:\n  a: {epochs: 1}\n  a: {epochs: 2}\n", "line 4 is not YAML: a is given twice"),
    "a number as key": (b"1: x\nname: own\nimages: {p: }\narms: {a: }\n", "unknown key '1'. Known: name"),
    "a list as key": (b"[a, b]: x\n", "odd.yaml, line 1 is not YAML"),
    "arms as a list": (b"name: own\nimages: {p: }\narms: [probe]\n", "arms: must be a mapping, not ['probe']"),
    "arms as text": (b"name: own\nimages: {p: }\narms: probe\n", "arms: must be a mapping, not 'probe'"),
    "an arm with a slash": (b"name: own\nimages: {p: }\narms: {a/b: }\n", "arms.a/b: a name must be letters"),
    "images as a list": (b"name: own\nimages: [p]\narms: {a: }\n", "images: must be a mapping, not ['p']"),
    "images as text": (b"name: own\nimages: {p: photos}\narms: {a: }\n", "images.p: must be a mapping"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("settings", [[], ["test_photos=5", "seeds=2", "epochs=1"]])
def test_an_odd_file_is_refused_in_one_message(tmp_path: Path, kind: str, settings: list[str]) -> None:
    content, words = ODD[kind]
    (tmp_path / "odd.yaml").write_bytes(content)
    with pytest.raises(OptionError) as caught:
        load(str(tmp_path / "odd.yaml"), settings, quick=True)
    assert "odd.yaml" in str(caught.value)
    assert words in str(caught.value)


def test_names_may_be_numbers_and_arms_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "odd.yml").write_text("name: 7\nimages: {1: }\narms: {2: , b: {images: 1}}\npairs: [['2', b]]\n")
    found = load(str(tmp_path / "odd.yml"), ["2.epochs=4"])
    assert [(arm.name, arm.images, arm.options) for arm in found.arms] == [("2", "1", {"epochs": 4}), ("b", "1", {})]
    with pytest.raises(OptionError, match="no arm is named '22'"):
        load(str(tmp_path / "odd.yml"), ["22.epochs=4"])


# -- names --


def test_a_recipe_is_found_by_name_or_by_path(recipe_file: WriteRecipe, tmp_path: Path) -> None:
    assert find("animals").text.startswith("# Cats, dogs and pandas")
    own = recipe_file(OWN)
    assert find(str(own)).path == own
    assert find(str(own)).summary == "A recipe of one's own. More follows."
    other = own.rename(tmp_path / "recipe-without-suffix")
    assert load(str(other)).name == "own"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("animal", "There is no study 'animal'.\n  Did you mean 'animals'?"),
        ("xyz", "Studies that ship: animals, cifar-transfer, dogs-vs-cats, few-shot, imagewoof; or give a"),
        ("", "There is no study ''"),
        ("nowhere/own.yaml", "own.yaml cannot be read: No such file or directory."),
    ],
)
def test_an_unknown_study_is_said_to_be_so(name: str, words: str) -> None:
    with pytest.raises(OptionError) as caught:
        find(name)
    assert words in str(caught.value)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").mkdir()
    with pytest.raises(OptionError, match="cannot be read"):
        find(str(tmp_path / "own.yaml"))
