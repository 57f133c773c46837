"""One idea of "a photo": whatever names photos without labels, the same files are found, in a fixed order."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.shards import arrow_folder, parquet_file, web_shards
from PIL import Image

import headstart as hs
from headstart.data.sources.detect import scan
from headstart.data.sources.unlabelled import find_files
from headstart.errors import DataError, OptionError
from headstart.inference.classifier import name_of

Cli = Callable[..., Any]


def names(*given: Any) -> list[str]:
    return [name_of(photo) for photo in find_files(*given).photos]


@pytest.fixture
def odd(class_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A class folder, beside others, with photos in every form that a training reads, and what it leaves out."""
    root = class_folder("odd", per_class=4) / "cat"
    photo = (root / "cat_000.png").read_bytes()
    for name in ("photo1", "a.jpg_large", "b.jpg.1", "c.pjpeg", "D.JPG", ".hidden.png", "deep/e"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(photo)
    (root / "notes.txt").write_text("words")
    (root / "labels.csv").write_text("path,label\nD.JPG,cat\n")
    (root / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 60)
    if sys.platform != "win32":
        shutil.copytree(root.parent / "dog", tmp_path / "elsewhere")
        os.symlink(tmp_path / "elsewhere", root / "linked")
    monkeypatch.chdir(tmp_path)
    return Path("odd/cat")


def test_a_folder_is_to_predict_what_it_is_to_train(odd: Path) -> None:
    found, trained = find_files(odd), scan(odd.parent)
    wanted = {p.path for p in trained.photos if p.label == "cat"}
    assert {Path(os.path.abspath(name_of(p))) for p in found.photos} == wanted
    assert len(wanted) == 10 + 4 * (sys.platform != "win32")
    assert [(bad.path.name, bad.reason) for bad in found.skipped] == [("clip.mp4", "not an image (video inside)")]
    everything = names(odd)
    below = [name for name in everything if Path(name).parent != odd]  # a glob's files first, then those in its folders
    assert names(f"{odd}/*") == [name for name in everything if name not in below] + below


@pytest.mark.parametrize("form", ["tars", "one tar", "pattern", "parquet", "one parquet", "saved"])
def test_photos_of_shards(photos: Path, tmp_path: Path, form: str) -> None:
    """As a training reads them, in place; nothing is said of what the shards themselves are."""
    if form in ("tars", "one tar", "pattern"):
        folder = web_shards(photos, tmp_path / "shards")
        given = {"tars": folder, "one tar": folder / "photos-000.tar", "pattern": f"{folder}/photos-{{000..003}}.tar"}[
            form
        ]
    elif form == "saved":
        given = arrow_folder(photos, tmp_path / "saved")
    else:
        file = parquet_file(photos, tmp_path / "shards" / "p.parquet")
        given = file if form == "one parquet" else file.parent
    found = find_files(given)
    read = [photo.open("rb").read() for photo in found.photos]
    wanted = {photo.read_bytes() for photo in photos.rglob("*.png")}
    assert len(read) == (10 if form == "one tar" else len(wanted))
    assert set(read) <= wanted
    assert found.skipped == []


@pytest.mark.slow
def test_predict_explain_export_and_evaluate_read_the_same_files(
    cli: Cli, odd: Path, probe_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(probe_run, tmp_path / "run"))
    answer = cli("predict", run, odd)
    assert answer.code == 0
    assert len(answer.out.splitlines()) == len(names(odd))
    assert "1 file left out" in answer.err
    assert "clip.mp4: not an image (video inside)" in answer.err
    assert "notes.txt" not in answer.err
    assert len(hs.explain(run, odd, neighbours=0, quiet=True).photos) == len(names(odd))
    assert hs.export(run, photos=odd, quiet=True).parity.photos == len(names(odd))
    assert hs.evaluate(run, odd.parent, quiet=True)["photos"] == len(names(odd)) + 4


def test_names_globs_and_folders_keep_their_order_and_number(odd: Path) -> None:
    assert names(odd / "photo1") == [str(odd / "photo1")]
    assert names([odd / "photo1", str(odd / "D.JPG"), odd / "photo1"]) == [
        str(odd / n) for n in ("photo1", "D.JPG", "photo1")
    ]
    assert names(f"{odd}/cat_00*.png") == [str(odd / f"cat_00{n}.png") for n in range(4)]
    assert names(np.array([str(odd / "photo1")])) == names(p for p in [odd / "photo1"]) == [str(odd / "photo1")]
    assert names([]) == []
    assert len(names([odd, odd])) == 2 * len(names(odd))


def pack(kind: str, folder: Path) -> Path:
    if kind == "zip":
        with zipfile.ZipFile("p.zip", "w") as packed:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    packed.write(file, f"käse/{file.relative_to(folder)}")
        return Path("p.zip")
    with tarfile.open("p.tgz", "w:gz") as tar:
        tar.add(folder, "käse")
    return Path("p.tgz")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_the_folder_in_it(odd: Path, kind: str) -> None:
    if sys.platform != "win32":
        (odd / "linked").unlink()
    packed = pack(kind, odd)
    inside = [str(packed / "käse" / Path(name).relative_to(odd)) for name in names(odd)]
    found = find_files(packed)
    assert [name_of(photo) for photo in found.photos] == inside
    assert all(photo.open("rb").read(4) == b"\x89PNG" for photo in found.photos)
    assert [bad.path for bad in found.skipped] == [packed / "käse" / "clip.mp4"]
    assert names([packed, odd / "photo1"])[-1] == str(odd / "photo1")


def test_a_table_keeps_its_order_and_its_names(cli: Cli, odd: Path, probe_run: Path) -> None:
    rows = ["./photo1", "nothing.png", "cat_003.png", "https://a.b/c.jpg", "", "deep\\e", "./photo1"]
    (odd / "list.csv").write_text("id;file_name\n" + "\n".join(f"{n};{row}" for n, row in enumerate(rows)) + "\n")
    answer = cli("predict", probe_run, odd / "list.csv", "--csv")
    assert answer.code == 2
    lines = [line.split(",") for line in answer.out.splitlines()[1:]]
    assert [line[0] for line in lines] == rows
    assert [bool(line[1]) for line in lines] == [True, False, True, False, False, True, True]
    problems = [line[6] for line in lines]
    assert "No such file" in problems[1]
    assert "an address" in problems[3]
    assert "names no file" in problems[4]
    found = list(hs.predict(probe_run, odd / "list.csv"))
    assert found[0].path == odd / "photo1"
    assert found[0].name == "./photo1"


def test_a_table_among_other_files_is_named_not_read(odd: Path) -> None:
    (table,) = [
        photo for photo in find_files([odd / "labels.csv", odd / "photo1"]).photos if photo.name == "labels.csv"
    ]
    with pytest.raises(OSError, match="name it alone"):
        table.open("rb")
    (odd / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"other.csv has no column 'path'"):
        find_files(odd / "other.csv")


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\0"])
def test_standard_input_lists_paths(
    cli: Cli, odd: Path, probe_run: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    asked = [str(odd / "photo1"), "gone.png", str(odd / "deep")]
    content = ending.join([*asked, ""]).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    answer = cli("predict", probe_run, "-")
    assert answer.code == 2
    assert [line.split("  ")[0] for line in answer.out.splitlines()] == [asked[0], str(odd / "deep" / "e")]
    assert "gone.png" in answer.err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n\n")))
    with pytest.raises(DataError, match="Standard input names no photos"):
        find_files("-")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nothing.jpg", "No such photo: nothing.jpg"), ("*.bmp", r"No such photo: \*.bmp"),
        ("ssh://a.b/c.jpg", "photos are not fetched"), ("file:///a.jpg", "photos are not fetched"),
        ("ftp://host/a.jpg", "not fetched"), ("data:image/png;base64,AAAA", "not fetched"),
        ("odd/cat/*.txt", "no photo among what matches"), (["a", "b"], "a, b"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(odd: Path, given: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        find_files(given)


@pytest.mark.parametrize("given", [None, 3, {"a.jpg": 1}, object()])
def test_what_is_neither_a_name_nor_a_picture_is_refused(given: Any) -> None:
    with pytest.raises(OptionError, match=rf"`photos` is of the type {type(given).__name__}"):
        find_files(given, "photos")


@pytest.mark.parametrize("given", [b"a.jpg", io.BytesIO(b"")])
def test_bytes_that_are_no_picture_are_a_photo_that_cannot_be_read(probe_run: Path, given: Any) -> None:
    (found,) = hs.predict(probe_run, given)
    assert found.label is None
    assert found.problem


def test_numbers_in_a_frame_name_no_photos_of_the_folder_that_python_runs_in(odd: Path) -> None:
    pandas = pytest.importorskip("pandas")
    shutil.copy(odd / "cat_000.png", "1.png")
    with pytest.raises(DataError, match="no column of photos: 'x' holds 1, 2"):
        find_files(pandas.DataFrame({"x": [1, 2]}))


def test_a_frame_is_read_by_its_column_of_paths(odd: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"path": [str(odd / "photo1")], "taken": ["2026-11-26"]})
    assert [Path(name) for name in names(frame)] == [odd / "photo1"]


def test_a_series_of_paths(odd: Path) -> None:
    pandas = pytest.importorskip("pandas")
    assert names(pandas.Series([str(odd / "photo1")])) == [str(odd / "photo1")]


def test_a_stream_of_pictures_need_not_end(probe_run: Path) -> None:
    frame, taken = np.zeros((40, 50, 3), np.uint8), []

    def camera() -> Any:
        while True:
            taken.append(1)
            yield frame

    found = hs.predict(probe_run, camera())
    first = [next(found) for _ in range(3)]
    assert [one.name for one in first] == ["image 1", "image 2", "image 3"]
    assert first[0].label is not None
    assert len(taken) < 1000


def test_names_among_the_pictures_of_a_stream(probe_run: Path, photos: Path) -> None:
    one, other = (photos / "cat" / f"cat_0{n}.png" for n in (0, 1))
    found = list(hs.predict(probe_run, iter([Image.open(one), str(other), photos / "none.png"])))
    wanted = list(hs.predict(probe_run, [one, other]))
    assert [row.probabilities for row in found[:2]] == [row.probabilities for row in wanted]
    assert found[2].problem


def test_an_empty_cell_is_named_by_its_row(odd: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"path": [str(odd / "photo1"), "", None]})
    assert names(frame)[1:] == ["row 2", "row 3"]


def test_in_memory_or_from_its_folder_a_run_predicts_the_same(probe_run: Path, photos: Path) -> None:
    run, one = hs.open_run(probe_run), photos / "cat" / "cat_00.png"
    (wanted,) = hs.predict(probe_run, one)
    for model in (str(probe_run), run, run.classifier):
        (found,) = hs.predict(model, one)
        assert found.probabilities == wanted.probabilities
    assert hs.evaluate(run, photos, quiet=True)["photos"] == 36
    assert hs.describe(run) == hs.describe(probe_run)
    from PIL import Image

    (found,) = hs.predict(run, Image.open(one))
    assert found.probabilities == wanted.probabilities
