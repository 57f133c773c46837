"""Photos with any number of labels: a patch of its colour for each, at a place of its own; and tables of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"cat": (220, 40, 40), "dog": (40, 60, 220), "owl": (40, 200, 60)}
SHARES = {"cat": 0.5, "dog": 0.4, "owl": 0.25}


def draw_several(folder: Path, photos: int = 90, seed: int = 0) -> list[tuple[str, list[str]]]:
    """(path below the folder, labels) of photos in ``folder/photos``; the first has no label."""
    rng = np.random.default_rng(seed)
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(photos):
        labels = [label for label, share in SHARES.items() if i and rng.random() < share]
        pixels = rng.integers(90, 150, (40, 48, 3), dtype=np.uint8)
        for place, (label, colour) in enumerate(COLOURS.items()):
            if label in labels:
                top = int(rng.integers(0, 20))
                pixels[top : top + 18, 16 * place : 16 * place + 15] = colour
        name = f"photos/{i:03d}.png"
        Image.fromarray(pixels).save(folder / name)
        rows.append((name, labels))
    return rows


def joined_table(path: Path, rows: Sequence[tuple[str, Sequence[str]]], separator: str = "|") -> Path:
    return _table(path, ("path", "label"), [(name, separator.join(labels)) for name, labels in rows])


def one_hot_table(path: Path, rows: Sequence[tuple[str, Sequence[str]]]) -> Path:
    return _table(path, ("path", *COLOURS), [(name, *(int(c in labels) for c in COLOURS)) for name, labels in rows])


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="session")
def several_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished probe with several labels per photo, beside ``several.csv``; never written to."""
    from headstart.workflows.train.train import train

    place = tmp_path_factory.mktemp("several")
    table = joined_table(place / "several.csv", draw_several(place, 150))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(place / "cache"))
        train(table, out=place / "run", labels="multi", backbone="starter", strategy="probe", quiet=True)
    return place / "run"
