"""Photos copied into folders of their classes."""

from __future__ import annotations

from pathlib import Path

from headstart.data.copies import Copies


def test_classes_that_differ_in_case_have_folders_that_differ_in_more(tmp_path: Path) -> None:
    """Windows and macOS make one folder of Cat and cat."""
    names = Copies(tmp_path / "sorted", ["Cat", "cat", "dog"]).names
    assert len({name.casefold() for name in names.values()}) == 3
    assert names["dog"] == "dog"
    assert names["Cat"].startswith("Cat-")
    assert names == Copies(tmp_path / "sorted", ["dog", "cat", "Cat"]).names
