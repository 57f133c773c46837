"""The demo: a comparison on digits that are at hand without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.workflows import demo as module


def test_the_demo_ends_with_a_report_and_can_be_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    for name, value in {"SHOTS": (2,), "SEEDS": 2, "EPOCHS": 1}.items():
        monkeypatch.setattr(module, name, value)
    for _ in range(2):
        found = hs.demo(tmp_path / "demo", quiet=True)
        assert [row["arm"] for row in found.rows] == ["probe", "finetune", "scratch"]
        assert found.report == tmp_path / "demo" / "report.html"
    assert len(list((tmp_path / "cache" / "demo" / "digits" / "7").glob("*.png"))) == module.PER_CLASS


def test_the_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    folder, count = module.write_digits(tmp_path / "digits"), 0
    for digit in range(10):
        for number, row in enumerate(images[labels == digit][: module.PER_CLASS]):
            grey = (255 - np.asarray(row).reshape(8, 8) * (255 / 16)).round().astype(np.uint8)
            expected = tmp_path / "expected.png"
            Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC).save(expected)
            assert (folder / str(digit) / f"{digit}_{number:03d}.png").read_bytes() == expected.read_bytes()
            count += 1
    assert count == len(list(folder.glob("*/*.png"))) == 1000
