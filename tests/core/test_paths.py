"""The cache folder on each platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.core import paths


@pytest.fixture
def home(monkeypatch, tmp_path):
    for name in ("HEADSTART_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "~/.cache/headstart"),
        ("linux", {"XDG_CACHE_HOME": "~/xdg"}, "~/xdg/headstart"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "~/.cache/headstart"),
        ("darwin", {"XDG_CACHE_HOME": "~/xdg"}, "~/Library/Caches/headstart"),
        ("win32", {"LOCALAPPDATA": "~/local"}, "~/local/headstart/cache"),
        ("win32", {}, "~/AppData/Local/headstart/cache"),
        ("linux", {"HEADSTART_CACHE": "~/mine", "XDG_CACHE_HOME": "~/xdg"}, "~/mine"),
    ],
)
def test_cache_dir(home, monkeypatch, platform, variables, expected):
    monkeypatch.setattr("sys.platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("~", str(home)))
    assert paths.cache_dir() == Path(expected.replace("~", str(home)))


def test_a_user_without_a_home(home, monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(Path, "home", none)
    assert paths.cache_dir().name == "headstart"
