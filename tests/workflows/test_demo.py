"""The demo: a comparison on digits that are at hand without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

import headstart as hs
from headstart.workflows import demo as module


def test_the_demo_ends_with_a_report_and_can_be_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    for name, value in {"SHOTS": (2,), "EPOCHS": 1}.items():
        monkeypatch.setattr(module, name, value)
    for _ in range(2):
        found = hs.demo(tmp_path / "demo", quiet=True)
        assert [row["arm"] for row in found.rows] == ["probe", "finetune", "scratch"]
        assert found.report == tmp_path / "demo" / "report.html"
    assert len(list((tmp_path / "cache" / "demo" / "digits" / "7").glob("*.png"))) == module.PER_CLASS
