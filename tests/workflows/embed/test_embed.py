"""``embed`` and ``search``: features are those of the network, and the nearest photos those of a plain loop."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import headstart as hs
from headstart.core.paths import cache_dir
from headstart.data.images import centre, read_photos
from headstart.errors import DataError, HeadstartError, OptionError
from headstart.inference.classifier import Classifier
from headstart.models.factory import create

Cli = Callable[..., Any]


@pytest.fixture
def asked(weights: Path) -> dict[str, Any]:
    return {"backbone": "starter", "weights": weights, "precision": "float32", "device": "cpu", "quiet": True}


def reference(paths: list[Path], weights: Path) -> np.ndarray:
    """Features by PyTorch alone."""
    network = create("starter", weights=weights)
    how = network.preprocessing
    size = hs.embed(paths[:1], backbone="starter", weights=weights, quiet=True).image_size
    pixels = read_photos(paths, size, how.interpolation)
    rows = np.stack([centre(pixels.row(i), size) for i in range(len(paths))])
    x = torch.from_numpy(rows).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(how.mean).view(3, 1, 1)) / torch.tensor(how.std).view(3, 1, 1)
    with torch.no_grad():
        return np.asarray(network(x).numpy())


def test_features_are_the_networks(photos: Path, weights: Path, asked: dict[str, Any]) -> None:
    paths = sorted(photos.rglob("*.png"))
    made = hs.embed(paths, **asked)
    assert made.names == tuple(map(str, paths))
    assert np.allclose(made.features, reference(paths, weights), atol=1e-4)
    again = hs.embed([np.asarray(Image.open(path)) for path in paths[:3]], **asked)
    assert np.allclose(again.features, made.features[:3], atol=1e-4)
    assert again.names == ("image 1", "image 2", "image 3")
    assert np.array_equal(np.asarray(made), made.features)


def test_features_of_a_run_are_what_its_head_reads(probe_run: Path, photos: Path) -> None:
    paths = sorted(photos.rglob("*.png"))[:5]
    made = hs.embed(paths, run=probe_run, device="cpu", quiet=True)
    classifier = Classifier.load(probe_run, "cpu")
    assert [a.probabilities.argmax() for a in classifier.answers(made.features)] == [
        classifier.classes.index(str(p.label)) for p in classifier.predict(paths)
    ]
    for run in (classifier, hs.open_run(probe_run, "cpu")):
        assert np.array_equal(run.embed(paths, quiet=True).features, made.features)


def test_the_cache_is_used(photos: Path, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = hs.embed(photos, **asked).features
    monkeypatch.setattr("headstart.inference.features.photo_batches", pytest.fail)
    assert np.array_equal(hs.embed(photos, **asked).features, first)


def test_files_of_features(photos: Path, tmp_path: Path, asked: dict[str, Any], draw_photo: Any) -> None:
    folder = tmp_path / "new"
    for i, name in enumerate(("=a.png", "b,1.png", "ü.png")):
        draw_photo(folder / name, i, np.random.default_rng(i))
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff no photo")
    made = hs.embed(folder, out=tmp_path / "f.npy", **asked)
    assert [Path(name).name for name in made.names] == ["=a.png", "b,1.png", "ü.png"]
    assert [Path(name).name for name in made.bad] == ["bad.jpg"]
    assert np.array_equal(np.load(tmp_path / "f.npy", allow_pickle=False), made.features)
    with (tmp_path / "f.paths.csv").open(encoding="utf-8", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == list(made.names)
    hs.embed(folder, out=tmp_path / "f.csv", **asked)
    with (tmp_path / "f.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert np.array_equal(np.array([row[1:] for row in rows[1:]], np.float32), made.features)
    pandas = pytest.importorskip("pandas")
    frame = made.frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.path) == list(made.names)
    assert np.array_equal(frame.iloc[:, 1:].to_numpy(), made.features)


def test_parquet(photos: Path, tmp_path: Path, asked: dict[str, Any]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    made = hs.embed(photos, out=tmp_path / "f.parquet", **asked)
    table = parquet.read_table(tmp_path / "f.parquet").to_pydict()
    assert table["path"] == list(made.names)
    assert np.array_equal(np.array(table["features"], np.float32), made.features)


def test_the_nearest_are_those_of_a_loop_and_copies_are_apart(tmp_path: Path, asked: dict[str, Any]) -> None:
    rng, folder = np.random.default_rng(5), tmp_path / "in"
    folder.mkdir()
    paths = [folder / f"{k:02d}.png" for k in range(30)]
    for path in paths:  # clouds, no two alike
        clouds = Image.fromarray(rng.integers(0, 256, (14, 16, 3), dtype=np.uint8))
        clouds.resize((96, 84), Image.Resampling.BICUBIC).save(path)
    shutil.copy(paths[0], folder / "same.png")
    Image.open(paths[0]).save(folder / "again.jpg", quality=92)
    Image.open(paths[4]).resize((48, 40)).save(folder / "small.png")
    found = hs.search(paths[0], folder, most=5, **asked)
    assert sorted(Path(name).name for name in found.copies) == ["00.png", "again.jpg", "same.png"]
    every = hs.embed(paths, **asked).features.astype(np.float64)
    cosine = [float(every[0] @ row / np.linalg.norm(every[0]) / np.linalg.norm(row)) for row in every]
    order = sorted(range(1, 30), key=lambda i: -cosine[i])[:5]
    names = {str(path): i for i, path in enumerate(paths)} | {str(folder / "small.png"): 4}
    assert [names[match.name] for match in found.nearest] == order
    for match, i in zip(found.nearest, order, strict=True):  # a copy may stand for its original
        assert match.similarity == pytest.approx(cosine[i], abs=0.02 if "small" in match.name else 1e-4)
    whole = hs.search(paths[0], folder, most=40, **asked)
    assert len(whole.nearest) == 29
    (twice,) = [match for match in whole.nearest if match.copies]
    assert {twice.name, *twice.copies} == {str(paths[4]), str(folder / "small.png")}
    assert whole.searched == 33


def test_the_command_line(
    cli: Cli, photos: Path, probe_run: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--backbone", "starter", "--weights", weights, "--device", "cpu")
    answer = cli("embed", photos, *words)
    assert answer.code == 0, answer
    assert answer.out.splitlines()[1:] == ["features.npy", "features.paths.csv"]
    assert max(map(len, answer.out.splitlines())) <= 80
    told = json.loads(cli("embed", photos, "--run", probe_run, "--out", "run.npy", "--json").out)
    assert len(told["paths"]) == np.load("run.npy").shape[0] == 36
    photo = photos / "cat" / "cat_00.png"
    answer = cli("search", photo, "--in", photos, "--run", probe_run, "--most", 3)
    assert answer.code == 0, answer
    lines = answer.out.splitlines()
    assert lines[0].startswith("the same picture: ")
    assert len(lines) == 5
    told = json.loads(cli("search", photo, "--in", photos, *words, "--json", "-q").out)
    assert [Path(name).name for name in told["copies"]] == ["cat_00.png"]
    assert len(told["nearest"]) == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("embed", "photos"), "features.npy exists"), (("embed", "photos", "--out", "f.xlsx"), "no file of features"),
        (("embed", "nowhere", "--out", "g.npy"), "no such photo: nowhere"),
        (("embed", "photos", "--out", "g.npy", "--run", "run", "--cut", "layer1"), "it takes no --cut"),
        (("search", "photos", "--in", "photos"), "the photo to search for is 2 photos"),
        (("search", "photos/1.png", "--in", "nowhere"), "no such photo: nowhere"),
        (("search", "bad.jpg", "--in", "photos", "--backbone", "starter"), "bad.jpg cannot be read"),
        (("search", "photos/1.png", "--in", "photos", "--most", "0"), "--most 0 must be at least 1"),
        (("embed", "photos", "--run", "nowhere", "--out", "g.npy"), "nowhere"),
    ],
)  # fmt: skip
def test_mistakes_are_one_message(
    cli: Cli, refused: Any, words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    draw_photo: Callable[..., Path],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        draw_photo(Path("photos") / f"{i}.png", i, np.random.default_rng(i))
    Path("bad.jpg").write_bytes(b"no photo")
    Path("features.npy").write_bytes(b"mine")
    refused(cli(*words), said)
    assert Path("features.npy").read_bytes() == b"mine"


def test_what_a_run_decides_cannot_be_asked_for(probe_run: Path, photos: Path) -> None:
    with pytest.raises(OptionError, match="it takes no `image_size`"):
        hs.embed(photos, run=probe_run, image_size=64)
    with pytest.raises(HeadstartError, match="no option 'epochs'"):
        hs.embed(photos, epochs=3)  # type: ignore[call-arg]
    assert not list(cache_dir().rglob("given-*"))


def test_photos_of_which_none_can_be_read_are_one_message(probe_run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"None of the photos can be read\.\n  The first: .*bad\.jpg: not an image"):
        hs.embed(tmp_path / "bad.jpg", run=probe_run, quiet=True)
    good = next(photos.rglob("*.png"))
    with pytest.raises(DataError, match=r"None of the photos to search can be read\.\n  The first: .*bad\.jpg"):
        hs.search(good, tmp_path / "bad.jpg", run=probe_run, quiet=True)
