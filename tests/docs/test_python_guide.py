"""The blocks of the guide to Python run from top to bottom, and give what the text says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), flags=re.M | re.S)


@pytest.mark.slow
def test_the_blocks_run(draw_photo: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    for index, label in enumerate(("cat", "dog", "owl")):
        for i in range(12):
            draw_photo(tmp_path / "photos" / label / f"{i}.png", index, rng)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    assert len(BLOCKS) == 8
    assert names["run"].evaluate("photos/", split="all", quiet=True)["photos"] == 36
    assert names["same"].path == names["run"].path.absolute()
    assert list(names["table"].label[:2]) == ["cat", "cat"]
    assert names["page"].is_file()
    assert names["file"].is_file()
    assert names["of_arrays"].classifier.classes == names["run"].classifier.classes
    assert (names["of_arrays"].path / "photos" / "images" / "000017.png").is_file()
    assert names["own"].plan.augment == "own"
    assert names["exported"].parity.good
    assert names["prediction"].probabilities == next(names["again"].predict("photos/cat/0.png")).probabilities
    assert names["health"] == 200
    assert not names["server"].running
    assert np.array_equal(np.load("features.npy"), names["features"].features)
    assert names["nearest"].copies == ("photos/cat/0.png",)
    assert len(names["nearest"].nearest) == 3
    assert names["scores"].shape == (3,)
