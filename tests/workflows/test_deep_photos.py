"""Deep photos through every command that reads them: the range that training chose is kept with the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.core.ranges import Ranges
from headstart.data.decode import decode
from headstart.data.images import centre
from headstart.inference.classifier import Classifier

STORED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": lambda v: v,
    "deep": lambda v: v.astype(np.uint16) * 16,
    "float": lambda v: v.astype(np.float32),
}


def drawn(folder: Path, draw_photo: Callable[..., Path], kind: str) -> Path:
    """Twelve grey photos of each of three classes, the same for every kind, in given splits."""
    rng = np.random.default_rng(0)
    for label in range(3):
        for i in range(12):
            split = "train" if i < 6 else "val" if i < 9 else "test"
            path = draw_photo(folder / split / "abc"[label] / f"{i}.png", label, rng, (60, 50))
            values = np.asarray(Image.open(path).convert("L"))
            path.unlink()
            Image.fromarray(STORED[kind](values)).save(path.with_suffix(".tif"))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, draw_photo: Callable[..., Path], weights: Path) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("deep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(place / "cache"))
        for kind in STORED:
            # 18 photos to train on: which L2 val prefers hangs on the last digit, and on more features by more.
            hs.train(
                drawn(place / f"photos-{kind}", draw_photo, kind), out=place / kind, backbone="starter", quiet=True,
                weights=str(weights), strategy="probe", precision="float32", stages="last", leakage="keep",
            )  # fmt: skip
    return {kind: place / kind for kind in STORED}


def photos_of(runs: dict[str, Path], kind: str) -> list[Path]:
    return sorted((runs[kind].parent / f"photos-{kind}").rglob("*.tif"))


def test_the_ranges_are_in_model_json_and_only_where_there_are_some(runs: dict[str, Path]) -> None:
    told = {kind: json.loads((run / "model.json").read_text())["preprocessing"] for kind, run in runs.items()}
    assert "ranges" not in told["plain"]
    assert told["deep"]["ranges"] == {"integers": [0, 4095]}
    assert told["float"]["ranges"] == {"floats": [0, 255]}
    assert Classifier.load(runs["deep"], "cpu").preprocessing.ranges == Ranges(integers=(0, 4095))
    assert Classifier.load(runs["plain"], "cpu").preprocessing.ranges is None


@pytest.mark.parametrize("kind", ["deep", "float"])
def test_deep_photos_get_the_answers_of_ordinary_ones(runs: dict[str, Path], kind: str) -> None:
    found = [p.probabilities for p in hs.predict(runs[kind], photos_of(runs, kind))]
    wanted = [p.probabilities for p in hs.predict(runs["plain"], photos_of(runs, "plain"))]
    assert np.abs(np.array(found) - np.array(wanted)).max() < 0.05
    own, plain = (hs.evaluate(runs[k], runs[k].parent / f"photos-{k}")["accuracy"]["value"] for k in (kind, "plain"))
    assert own == plain


@pytest.mark.parametrize("kind", ["deep", "float"])
def test_an_exported_file_agrees_and_tells_how_to_scale(runs: dict[str, Path], kind: str, tmp_path: Path) -> None:
    made = hs.export(runs[kind], format="torch", out=tmp_path / "model.pt2", quiet=True)
    assert made.parity.same == made.parity.photos == 18
    beside = json.loads((tmp_path / "model.pt2.json").read_text())
    values, top = ("integers", 4095) if kind == "deep" else ("floats", 255)
    assert f"of {values} v, round(255 * (v - 0) / {top})" in beside["input"]
    assert beside["preprocessing"]["ranges"] == {values: [0, top]}


def test_explain_reads_by_the_same_ranges(runs: dict[str, Path], tmp_path: Path) -> None:
    photo, how = photos_of(runs, "deep")[0], Classifier.load(runs["deep"], "cpu").preprocessing
    (one,) = hs.explain(runs["deep"], [photo], out=tmp_path / "explained", quiet=True).photos
    wanted = centre(decode(photo, how.resize, ranges=how.ranges).pixels, how.image_size)
    np.testing.assert_array_equal(one.photo, wanted)
    near = one.neighbours[0]
    beside = decode(runs["deep"].parent / "photos-deep" / near.shown, how.resize, ranges=how.ranges)
    np.testing.assert_array_equal(near.picture, centre(beside.pixels, how.image_size))


def test_export_takes_runs_of_photos_many_times_larger_than_the_input(
    tmp_path: Path, draw_photo: Callable[..., Path], weights: Path
) -> None:
    """Detail in every pixel: whoever decodes at a reduced scale shows it."""
    rng = np.random.default_rng(0)
    for label in range(3):
        for i in range(12):
            draw_photo(tmp_path / "photos" / "abc"[label] / f"{i}.jpg", label, rng, (1200 + 37 * i, 900 + 11 * i))
    hs.train(
        tmp_path / "photos", out=tmp_path / "run", backbone="starter", weights=str(weights), strategy="probe",
        image_size=32, quiet=True, settings={"precision": "float32", "stages": "last"}, leakage="keep",
    )  # fmt: skip
    made = hs.export(tmp_path / "run", format="torch", quiet=True)
    assert made.parity.same == made.parity.photos
    assert made.parity.largest < 0.02
