"""``suggest``: which photos it lists, their copies, its CSV, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.errors import OptionError

Cli = Callable[..., Any]


@pytest.fixture
def asked(weights: Path) -> dict[str, Any]:
    return {"backbone": "starter", "weights": weights, "precision": "float32", "device": "cpu", "quiet": True}


@pytest.fixture
def pool(tmp_path: Path, draw_photo: Callable[..., Path]) -> Path:
    """Twelve new photos of three classes, one of them twice."""
    rng = np.random.default_rng(11)
    for i in range(12):
        draw_photo(tmp_path / "pool" / f"new_{i:02d}.png", i % 3, rng)
    shutil.copy(tmp_path / "pool" / "new_05.png", tmp_path / "pool" / "twin.png")
    return tmp_path / "pool"


def names(found: Any) -> list[str]:
    return [Path(one.name).name for one in found.rows]


def test_every_photo_of_the_pool_is_listed_once_and_copies_are_apart(
    photos: Path, pool: Path, asked: dict[str, Any]
) -> None:
    shutil.copy(photos / "cat" / "cat_03.png", pool / "known.png")
    found = hs.suggest(photos, pool, count=12, **asked)
    assert sorted(names(found)) == [f"new_{i:02d}.png" for i in range(12)]
    assert [Path(name).name for name in found.already] == ["known.png"]
    (twin,) = [one for one in found.rows if one.copies]
    assert (Path(twin.name).name, [Path(n).name for n in twin.copies]) == ("new_05.png", ["twin.png"])
    assert found.labelled == 36
    assert found.pool == 12
    assert {one.label for one in found.rows} <= {"cat", "dog", "owl"}
    assert all(1 / 3 <= one.confidence <= 1 for one in found.rows)
    assert {one.why for one in found.rows} <= {"uncertain", "new kind"}
    assert [one.group for one in found.rows] == [*range(1, 13)]


def test_look_alikes_stand_beside_their_photo(photos: Path, pool: Path, asked: dict[str, Any]) -> None:
    alone = hs.suggest(photos, pool, count=3, **asked)
    found = hs.suggest(photos, pool, count=3, alike=2, **asked)
    first = [one for one in found.rows if one.why != "look-alike"]
    assert [one.name for one in first] == [one.name for one in alone.rows]
    assert len(found) > 3
    assert len(set(names(found))) == len(found)
    leader = first[0]
    for one in found.rows:
        leader = leader if one.why == "look-alike" else one
        assert (one.group, one.label) == (leader.group, leader.label)
    assert "3 of 12 unlabelled photos" in found.text


@pytest.mark.parametrize("method", ["coverage", "margin", "random"])
def test_a_shorter_list_begins_a_longer_one(photos: Path, pool: Path, asked: dict[str, Any], method: Any) -> None:
    every = names(hs.suggest(photos, pool, count=12, method=method, **asked))
    assert names(hs.suggest(photos, pool, count=5, method=method, **asked)) == every[:5]


def test_the_margin_lists_the_most_uncertain_first(photos: Path, pool: Path, asked: dict[str, Any]) -> None:
    two = [path for path in sorted(photos.rglob("*.png")) if path.parent.name != "owl"]
    table = [[str(path), path.parent.name] for path in two]
    (pool.parent / "two.csv").write_text("path,label\n" + "\n".join(map(",".join, table)))
    found = hs.suggest(pool.parent / "two.csv", pool, count=12, method="margin", **asked)
    sure = [one.confidence for one in found.rows]  # of two classes, the margin grows with the confidence
    assert sure == sorted(sure)
    assert sure[0] < sure[-1]


def test_a_run_suggests_by_its_own_certainty(probe_run: Path, pool: Path) -> None:
    found = hs.suggest(probe_run, pool, count=20, method="margin", device="cpu", quiet=True)
    said = {p.name: p for p in hs.predict(probe_run, pool, device="cpu")}
    assert len(found) == 12
    for one in found.rows:
        assert one.label == said[one.name].label
        assert one.confidence == pytest.approx(said[one.name].confidence, abs=1e-3)
    with pytest.raises(OptionError, match="takes no `image_size`"):
        hs.suggest(probe_run, pool, image_size=64)


def test_test_photos_are_no_labelled_ones(class_folder: Callable[..., Path], pool: Path, asked: dict[str, Any]) -> None:
    data = class_folder("split", splits=("train", "test"), per_class=5)
    assert hs.suggest(data, pool, count=2, **asked).labelled == 10


def test_the_table_is_what_train_reads(
    cli: Cli, photos: Path, pool: Path, starter: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli("suggest", photos, pool, "--count", 6, "--out", "next.csv", *starter)
    assert answer.code == 0, answer
    assert "6 of 12 unlabelled photos" in answer.out
    with open("next.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "confidence", "why", "group", "copies"]
    told = json.loads(cli("suggest", photos, pool, "--count", 6, "--json", "-q", *starter).out)
    assert [row["path"] for row in told["suggestions"]] == [row["path"] for row in rows]
    Path("sub").mkdir()
    assert cli("suggest", photos, "pool", "--count", 6, "--out", "sub/next.csv", "-q", *starter).code == 0
    assert {photo.path for photo in hs.photos("sub/next.csv").manifest.photos} == {Path(row["path"]) for row in rows}
    text = Path("next.csv").read_text(encoding="utf-8")
    for n, row in enumerate(rows):  # as corrected by a person
        text = text.replace(f"{row['path']},{row['label']}", f"{row['path']},{('cat', 'dog')[n % 2]}")
    Path("next.csv").write_text(text, encoding="utf-8")
    found = hs.photos("next.csv")
    assert found.counts == {"cat": 3, "dog": 3}


def test_more_than_there_are_is_said(cli: Cli, photos: Path, pool: Path, starter: tuple[str, ...]) -> None:
    answer = cli("suggest", photos, pool, "--count", 99, *starter)
    assert answer.code == 0, answer
    assert "--count 99: the pool has 12 photos to choose from; all are listed" in " ".join(answer.err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("photos", "pool", "--count", "0"), "--count 0 must be at least 1"),
        (("photos", "pool", "--alike", "-1"), "--alike -1 must not be negative"),
        (("photos", "pool", "--method", "best"), "is not one of coverage, margin, random"),
        (("photos", "pool", "--out", "next.txt"), "is no CSV"), (("photos", "pool", "--out", "mine.csv"), "exists"),
        (("photos", "nowhere"), "no such photo: nowhere"), (("photos", "empty"), "a folder without photos"),
        (("nowhere", "pool"), "no such folder or file: nowhere"), (("one", "pool"), "one class only"),
        (("photos", "photos"), "labelled already"), (("photos", "bad"), "none of the unlabelled photos can be read"),
        (("halves", "pool"), "the labelled photos that can be read have 1 class"),
        (("photos", "pool", "--set", "nonsense=1"), "nonsense"),
    ],
)  # fmt: skip
def test_mistakes_are_one_message(
    cli: Cli, refused: Any, starter: tuple[str, ...], words: tuple[str, ...], said: str, tmp_path: Path,
    class_folder: Callable[..., Path], pool: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    class_folder("photos", per_class=2)
    class_folder("one", classes=("cat",))
    class_folder("halves", classes=("cat",))
    for folder in ("empty", "bad", "halves/dog"):
        Path(folder).mkdir()
    for file in ("bad/a.jpg", "halves/dog/a.jpg", "mine.csv"):
        Path(file).write_bytes(b"mine")
    refused(cli("suggest", *words, *starter), said)
    assert Path("mine.csv").read_bytes() == b"mine"
    assert not list(tmp_path.glob("next.*"))


def test_several_labels_are_refused(pool: Path, tmp_path: Path) -> None:
    table = tmp_path / "several.csv"
    labels = ("a", "b", "a|b", "")
    rows = [f"{path},{label}" for path, label in zip(sorted(pool.iterdir()), labels, strict=False)]
    table.write_text("\n".join(["path,label", *rows]))
    with pytest.raises(OptionError, match="one class per photo"):
        hs.suggest(table, pool, labels="multi", backbone="starter", quiet=True)
