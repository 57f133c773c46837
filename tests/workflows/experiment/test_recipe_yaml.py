"""Recipes' YAML: read as it is written, bounded, and refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import OptionError
from headstart.workflows.experiment import recipe_yaml
from headstart.workflows.experiment.catalogue import load

HEAD = "name: own\nimages: {p: {home: pets}}\n"
READ: dict[str, Any] = {
    "no": "no", "on": "on", "Yes": "Yes", "true": True, "False": False, "2024-01-01": "2024-01-01", "0777": "0777",
    "0x1f": "0x1f", "0b11": "0b11", "1_000": "1_000", "1:30": "1:30", "12": 12, "-3": -3, "1e-3": 0.001, ".5": 0.5,
    "1.": 1.0, "~": None, "null": None, "": None, ".nan": ".nan", ".inf": ".inf", "9" * 19: "9" * 19, "=": "=",
    "'1'": "1", "\N{WATERMELON}": "\N{WATERMELON}",
}  # fmt: skip


@pytest.mark.parametrize("text", READ)
def test_values_are_read_as_they_are_written(text: str) -> None:
    assert recipe_yaml.read(f"[{text}]" if text else "[~]", "own.yaml") == [READ[text]]
    found = recipe_yaml.read(f"a: {text}\n", "own.yaml")["a"]
    assert (type(found), found) == (type(READ[text]), READ[text])


def test_keys_are_text() -> None:
    found = recipe_yaml.read("{no: 1, 2024-01-01: 2, 1.50: 3, null: 4, true: 5, 0: 6}", "own.yaml")
    assert list(found) == ["no", "2024-01-01", "1.50", "null", "true", "0"]


def test_anchors_and_merge_keys_can_be_used() -> None:
    text = f"{HEAD}every_arm: &all {{epochs: 3}}\narms: {{a: {{<<: *all, lr: 1e-3}}, b: {{<<: *all, epochs: 4}}}}\n"
    found = recipe_yaml.read(text, "own.yaml")["arms"]
    assert found == {"a": {"epochs": 3, "lr": 0.001}, "b": {"epochs": 4}}
    # A merged mapping that is merged again has its own key beside the one that it replaces: that is not "given twice".
    again = recipe_yaml.read("[{a: {b: &b {<<: &x {k: 1}, k: 2}}, c: {<<: *b}}]", "own.yaml")
    assert again == [{"a": {"b": {"k": 2}}, "c": {"k": 2}}]


def laughs(kind: str) -> str:
    """Nine lines that stand for ten to the ninth values."""
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    for n in range(1, 9):
        inside = ", ".join([f"*a{n - 1}"] * 10)
        lines.append(f"a{n}: &a{n} [{inside}]" if kind == "lists" else f"a{n}: &a{n} {{<<: [{inside}], k{n}: 1}}")
    return HEAD + "\n".join(lines) + "\n"


WRONG: dict[str, tuple[str, str]] = {
    "laughs": (laughs("lists"), "more than 10,000 values, with those that aliases stand for"),
    "laughs by merging": (laughs("merges").replace("[ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]", "{ha: 1}"), "aliases"),
    "a list in itself": (f"{HEAD}arms: &a [*a]\n", "more than 20 levels, or an alias of what it is in"),
    "a mapping merged into itself": (f"{HEAD}arms: &a {{<<: *a}}\n", "more than 20 levels"),
    "deep": (f"{HEAD}about: " + "[" * 30 + "]" * 30, "more than 20 levels"),
    "very deep": (f"{HEAD}about: " + "[" * 40_000, "is not YAML: brackets within brackets"),
    "many values": (f"{HEAD}about: [" + "1," * 20_000 + "]", "more than 10,000 values"),
    "a key twice": (f"{HEAD}name: other\n", "line 3 is not YAML: name is given twice"),
    "a number twice": ("{1: a, '1': b}", "1 is given twice"),
    "a list as key": ("? [a]\n: b\n", "a key must be a name"),
    "Python": ("a: !!python/object/apply:os.system [ls]\n", "a recipe takes no tags"),
    "a timestamp": ("a: !!timestamp 2024-01-01\n", "a recipe takes no tags"),
    "binary": ("a: !!binary aGk=\n", "a recipe takes no tags"),
    "a bool that is none": ("a: !!bool maybe\n", "a recipe takes no tags"),
    "a null character": ("a: \0\n", "is not YAML"),
    "an alias of nothing": (f"a: *{'x' * 5000}\n", "found undefined alias"),
    "two documents": ("a: 1\n---\nb: 1\n", "is not YAML"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_would_surprise_or_grow_is_refused_in_one_line(kind: str) -> None:
    text, words = WRONG[kind]
    with pytest.raises(OptionError) as caught:
        recipe_yaml.read(text, "own.yaml")
    said = str(caught.value)
    assert words in said
    assert "own.yaml" in said
    assert len(said) < 300
    assert "\n" not in said


BIG: dict[str, tuple[str, str]] = {
    "seeds": ("seeds: 10000000\narms: {a: }\n", "seeds: 10000000 is not a whole number from 1 to 1,000"),
    "seeds of an arm": ("arms: {a: {seeds: 10000000}}\n", "arms.a: seeds: 10000000 is not"),
    "a sweep": (f"arms: {{a: {{shots: {list(range(1, 300))}}}}}\n", "a list has at most 100 values, not 299"),
    "arms": ("arms:\n" + "".join(f"  a{n}:\n" for n in range(3000)), "arms: 3,000 of them; a recipe has at most 100"),
    "trainings": (
        f"seeds: 1000\narms: {{a: {{shots: {list(range(1, 91))}}}}}\n", "90,000 trainings (arms x values x seeds)",
    ),
    "epochs": ("arms: {a: {epochs: 1e999}}\n", "epochs=inf: not a whole number"),
    "pixels": ("arms: {a: {image_size: 100000000}}\n", "image_size=100000000: must be at most 8,192"),
    "a rate": ("arms: {a: {lr: .nan}}\n", "lr='.nan': not a number"),
    "a fraction": ("arms: {a: {fraction: 1e999}}\n", "fraction: inf is not a number"),
    "an accuracy": ("arms: {a: {published: .nan}}\n", "published: '.nan' is not an accuracy"),
    "a name": (f"arms: {{? {'a' * 5000}: }}\n", "a name must be letters, digits and hyphens, at most 60"),
    "a value": (f"arms: {{a: {{shots: {'x' * 50_000}}}}}\n", "is not a whole number"),
    "unknown keys": ("arms: {a: {" + ", ".join(f"k{n}: 1" for n in range(4000)) + "}}\n", "4,000 problems"),
    "a title": ("title: {a: 1}\narms: {a: }\n", "title: {'a': 1} is not a text"),
    "a word for true": ("arms: {a: {allow_leakage: yes}}\n", "allow_leakage: 'yes' is neither true nor false"),
    "truth for a setting": ("arms: {a: {epochs: true}}\n", "epochs=True: not a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BIG)
def test_numbers_beyond_all_use_are_refused(tmp_path: Path, kind: str) -> None:
    text, words = BIG[kind]
    (tmp_path / "own.yaml").write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(OptionError) as caught:
        load(str(tmp_path / "own.yaml"))
    said = str(caught.value)
    assert words in said
    assert len(said.splitlines()) <= 102
    assert max(map(len, said.splitlines())) < 700


@pytest.mark.parametrize(
    "setting", ["seeds=10000000", "a.seeds=!!python/object:os.x []", "epochs=[[[[[[", "epochs=1e999", "seeds=.inf"]
)
def test_settings_obey_the_same_rules(tmp_path: Path, setting: str) -> None:
    (tmp_path / "own.yaml").write_text(f"{HEAD}arms: {{a: }}\n", encoding="utf-8")
    with pytest.raises(OptionError, match=r"seeds|epochs"):
        load(str(tmp_path / "own.yaml"), [setting])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes and devices as files there")
def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "zero.yaml", "folder.yaml"):
        with pytest.raises(OptionError, match="cannot be read"):
            load(str(tmp_path / name))


def test_a_file_of_the_wrong_kind_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(OptionError, match="more than 100 kB"):
        load(str(tmp_path / "large.yaml"))
    for name in ("nu\0ll.yaml", "long" * 5000 + ".yaml"):
        with pytest.raises(OptionError, match="cannot be read") as caught:
            load(name)
        assert len(str(caught.value)) < 400


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes(b"\xef\xbb\xbf" + f"{HEAD}arms: {{a: {{note: 2024-01-01}}}}\n".encode())
    found = load(str(tmp_path / "own.yaml"))
    assert found.arms[0].note == "2024-01-01"
    assert json.loads(json.dumps(found.raw)) == found.raw
