"""Where pixels are not kept, a photo is decoded once: it is checked, its fingerprint is taken and its features are
computed in that pass, and are those of pixels that are kept.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.shards import web_shards
from safetensors.numpy import load_file

import headstart as hs
from headstart.data import images


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often each photo was decoded."""
    counts: Counter[bytes] = Counter()
    decode = images.decode

    def counting(content: Any, *args: Any, **more: Any) -> Any:
        counts[content] += 1
        return decode(content, *args, **more)

    monkeypatch.setattr(images, "decode", counting)
    return counts


@pytest.mark.parametrize("shards", [False, True])
def test_a_photo_is_decoded_once(
    shards: bool, photos: Path, weights: Path, decoded: Counter[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = web_shards(photos, tmp_path / "shards") if shards else photos
    how = {"backbone": "starter", "weights": str(weights), "strategy": "probe", "quiet": True}

    def weights_of(name: str) -> dict[str, np.ndarray]:
        monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / f"{name}-cache"))
        return load_file(hs.train(data, out=tmp_path / name, **how).path / "model.safetensors")

    kept = weights_of("kept")
    decoded.clear()
    monkeypatch.setattr(images, "limit_bytes", lambda: 0)
    monkeypatch.setattr(images.DecodedImages, "picture", lambda *_: np.zeros((64, 64, 3), np.uint8))  # of the report
    passed = weights_of("passed")
    assert sorted(decoded.values()) == [1] * 36
    assert all(np.array_equal(kept[name], passed[name]) for name in kept)
    decoded.clear()
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "passed-cache"))
    hs.train(data, out=tmp_path / "again", **how)
    assert not decoded  # what was visited is only hashed
