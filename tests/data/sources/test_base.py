"""A source from outside: its photos are bytes in memory, and every command reads them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.core.events import OnProgress
from headstart.data.schema import Manifest, Photo
from headstart.data.sources.base import SOURCES
from headstart.data.sources.detect import scan
from headstart.errors import DataError

ROOT = Path("/in/memory")
COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220)}


@dataclass(frozen=True)
class Drawn(Photo):
    content: bytes = b""

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:
        return io.BytesIO(self.content)


class Toy:
    """``toy:8``: eight photos of each class."""

    def accepts(self, data: str) -> bool:
        return data.startswith("toy:")

    def manifest(self, data: str, progress: OnProgress | None = None) -> Manifest:
        number = int(data.removeprefix("toy:"))
        photos = [
            Drawn(ROOT / label / f"{i}.png", label, content=drawn(COLOURS[label], i))
            for label in COLOURS
            for i in range(number)
        ]
        return Manifest(ROOT, f"toy-{number}", "drawn", tuple(photos))


def drawn(colour: tuple[int, int, int], seed: int) -> bytes:
    pixels = np.random.default_rng([*colour, seed]).normal(colour, 40, (40, 40, 3)).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def toy() -> Iterator[None]:
    SOURCES.register("toy", Toy())
    yield
    SOURCES.unregister("toy")


def test_without_the_source_its_data_is_unknown() -> None:
    with pytest.raises(DataError, match="no such folder or file: toy:8"):
        scan("toy:8")


def test_a_manifest_says_which_source_read_it(toy: None, class_folder) -> None:
    assert scan("toy:8").source == "toy"
    assert scan(class_folder()).source == "folder"


def test_photos_that_are_no_files_can_be_trained_on_and_whatever_follows(toy: None, tmp_path: Path) -> None:
    run = hs.train("toy:8", backbone="starter", strategy="probe", out=tmp_path / "run", quiet=True)
    assert run.metrics["val"]["accuracy"]["value"] == 1
    assert "red/0.png" in (run.path / "splits.csv").read_text()
    assert hs.evaluate(run.path, "toy:8", quiet=True)["accuracy"]["value"] == 1
    assert hs.export(run.path, format="torch", quiet=True).parity.good
    Path(tmp_path / "new.png").write_bytes(drawn(COLOURS["red"], 99))
    explained = hs.explain(run.path, [tmp_path / "new.png"], neighbours=2, quiet=True).photos[0]
    assert explained.prediction.label == "red"
    assert {n.label for n in explained.neighbours} == {"red"}


def test_they_can_be_checked_and_looked_at(toy: None, tmp_path: Path) -> None:
    found = hs.check("toy:8", quick=True, out=tmp_path / "check.html", quiet=True)
    assert found.fit
    assert hs.photos("toy:8")._repr_html_().count("<img") == 12
