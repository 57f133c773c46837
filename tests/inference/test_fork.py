"""A forked child computes, in one thread: those of its parent are not copied, and to wait for them would never end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

CHILD = """
import multiprocessing, os, sys
import headstart as hs
from headstart.inference.classifier import Classifier
from headstart.errors import OptionError
from headstart.inference.openvino import OpenVinoBackend, has_openvino
from headstart.inference.device import find_machine

data, out = sys.argv[1:]
run = hs.train(data, backbone="starter", strategy="probe", image_size=32, out=out, quiet=True)
photos = sorted(str(p) for p in __import__("pathlib").Path(data).rglob("*.png"))
loaded = Classifier.load(out, "cpu")
before = [p.probabilities for p in loaded.predict(photos)]

def in_child(_):
    answers = (loaded.predict(photos), hs.predict(out, photos, device="cpu"))
    same = [[p.probabilities for p in found] for found in answers]
    assert not has_openvino()
    try:
        OpenVinoBackend().check(find_machine("cpu"))
    except OptionError as error:
        return same, str(error)

with multiprocessing.get_context("fork").Pool(2) as pool:
    for same, told in pool.map(in_child, range(3)):
        for found in same:
            assert max(abs(a - b) for x, y in zip(before, found) for a, b in zip(x, y)) < 1e-5
        assert "forked" in told, told
print("computed")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_predicts_what_its_parent_does(tmp_path: Path, draw_photo: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    for i in range(24):
        draw_photo(tmp_path / "data" / "ab"[i % 2] / f"{i}.png", i % 2, rng)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "data"), str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}  # with one thread there is nothing to wait for
    found = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert found.stdout.endswith("computed\n"), found.stderr
