"""A run folder of somebody else: every file of a model, and a checkpoint, with any bytes in it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from helpers.tampering import checkpoint, deep_dict, deep_tuple, endless_dict
from PIL import Image

import headstart as hs
from headstart.errors import HeadstartError
from headstart.inference.classifier import Classifier
from headstart.models.checkpoints import read_state_dict

_MODEL = ("model.json", "model.safetensors", "certainty.safetensors")


@cache
def _run() -> Path:
    """A small run; it lives as long as the process."""
    place = Path(tempfile.mkdtemp(prefix="headstart-fuzz-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    noise = np.random.default_rng(0)
    for n, label in enumerate("abc" * 12):
        (place / "photos" / label).mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 120, (40, 40, 3), dtype=np.uint8)
        pixels[..., "abc".index(label)] += 120
        Image.fromarray(pixels).save(place / "photos" / label / f"{n}.png")
    with patch.dict(os.environ, {"HEADSTART_CACHE": str(place / "cache")}):
        run = hs.train(place / "photos", out=place / "run", strategy="probe", backbone="starter", quiet=True)
    return run.path


def _with(name: str, content: bytes, folder: Path) -> None:
    """Load the run with this file in the place of its own."""
    for file in _MODEL:
        shutil.copyfile(_run() / file, folder / file)
    (folder / name).write_bytes(content)
    try:
        Classifier.load(folder, "cpu")
    except HeadstartError as error:
        words = str(error)
        if not words or len(words) > 3000:
            raise AssertionError(words[:500]) from None


def description(content: bytes, folder: Path) -> None:
    _with("model.json", content, folder)


def weights(content: bytes, folder: Path) -> None:
    _with("model.safetensors", content, folder)


def certainty(content: bytes, folder: Path) -> None:
    _with("certainty.safetensors", content, folder)


def pickled(content: bytes, folder: Path) -> None:
    """A checkpoint of another library."""
    (folder / "weights.pth").write_bytes(content)
    try:
        read_state_dict(folder / "weights.pth")
    except HeadstartError:
        return


def _checkpoints() -> list[bytes]:
    import io

    found = []
    for value in (
        {"a.weight": torch.zeros(2)},
        {"state_dict": {"module.a": torch.ones(1)}, "epoch": 3},
        torch.zeros(3),
    ):
        out = io.BytesIO()
        torch.save(value, out)
        found.append(out.getvalue())
    # A text of 2**62 bytes, by its length: as the whole file, and in an archive's list.
    long = b"\x8d" + (1 << 62).to_bytes(8, "little")
    return [
        *found,
        long,
        checkpoint(long),
        checkpoint(deep_tuple(1000)),
        checkpoint(deep_dict(1000)),
        checkpoint(endless_dict()),
    ]


class _Seeds(dict[str, list[bytes]]):
    """The corpus; a run is trained when the first of its files is asked for."""

    def __missing__(self, name: str) -> list[bytes]:
        file = dict(zip(("description", "weights", "certainty"), _MODEL, strict=True))[name]
        whole = (_run() / file).read_bytes()
        # A whole file of weights is long; what is read with care is its head.
        self[name] = [whole] if name != "weights" else [whole, whole[:3000]]
        return self[name]


TARGETS = {"description": description, "weights": weights, "certainty": certainty, "checkpoint": pickled}
CORPUS = _Seeds(checkpoint=_checkpoints())
