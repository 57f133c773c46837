"""Recipes' YAML: read as it is written, bounded, and refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.recipes import BIG, HEAD, WRONG

from headstart.errors import OptionError
from headstart.workflows.experiment import recipe_yaml
from headstart.workflows.experiment.catalogue import load

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
