"""The files that the cells of a table name: completed, moved, or said to be missing; never another photo."""

from __future__ import annotations

import os
import sys

import pytest
from helpers.archives import PNG
from helpers.tables import BOTH, ROWS, counts, photos, table

from headstart.data.schema import ReadOptions
from headstart.data.sources.detect import scan
from headstart.errors import DataError, OptionError


@pytest.mark.parametrize(
    ("place", "cell"),
    [
        (lambda r: f"{r.name}.jpg", lambda r: f"{r.name}.JPG"),
        (lambda r: f"{r.name}.JPG", lambda r: r.name),
        (lambda r: f"{r.name}.jpg", lambda r: r.name.upper()),
        (lambda r: f"img/{r.name}.jpg", lambda r: f"img\\{r.name}.jpg"),
        (lambda r: f"img/{r.name}.jpg", lambda r: f"./img/{r.name}.jpg"),
        (lambda r: f"img/{r.name}.jpg", lambda r: f"img/{r.name}"),
        (lambda r: f"ä b/{r.name}.jpg", lambda r: f"%C3%A4%20b/{r.name}.jpg"),
        (lambda r: f"a\u0308 {r.name}.jpg", lambda r: f"ä {r.name}.jpg"),
        (lambda r: f"train/{r.name}.jpg", lambda r: r.name),
        (lambda r: f"train_images/{r.name}.png", lambda r: f"{r.name}.png"),
        (lambda r: f"part_{r.number % 2}/{r.name}.jpg", lambda r: r.name),
        (lambda r: f"images/{ROWS.index(r):05d}.PNG", lambda r: ROWS.index(r)),
        (lambda r: f"{ROWS.index(r):05d}.PNG", lambda r: ROWS.index(r)),
        (lambda r: f"{r.name}.jpg", lambda r: f"C:\\Users\\me\\photos\\{r.name}.jpg"),
        (lambda r: f"{r.label}/{r.number}.jpg", lambda r: f"/kaggle/input/set/{r.label}/{r.number}.jpg"),
        (lambda r: f"deep/er/{r.label}/{r.number}.jpg", lambda r: f"D:/set/{r.label}/{r.number}.jpg"),
        (lambda r: f"all/{r.name}.jpg", lambda r: f"/home/me/{r.label}/{r.name}.jpg"),
    ],
)
def test_names_as_other_machines_write_them(tmp_path, place, cell):
    photos(tmp_path, place)
    path = table(tmp_path / "list.csv", "path,label", lambda r: (cell(r), r.label))
    found = scan(path)
    assert counts(found) == BOTH
    assert {(p.label, p.path) for p in found.photos} == {(r.label, tmp_path / place(r)) for r in ROWS}


def test_how_a_photo_was_found_is_said(tmp_path):
    photos(tmp_path / "train", lambda r: f"{r.name}.JPG")
    path = table(tmp_path / "list.csv", "id,label", lambda r: (r.name, r.label))
    assert f"24 photos in list.csv found in other folders below {tmp_path}" in scan(path).notes
    table(path, "id,label", lambda r: (f"train/{r.name}", r.label))
    assert "24 names in list.csv completed by the suffix of the photo" in scan(path).notes
    table(path, "id,label", lambda r: (f"train/{r.name}.jpg", r.label))
    assert "24 paths in list.csv matched without regard to case" in scan(path).notes
    table(path, "id,label", lambda r: (f"/a/b/{r.name}.JPG", r.label))
    assert any(note.startswith("24 photos of 'a/b' in list.csv found in other folders") for note in scan(path).notes)


def test_one_name_in_several_folders_is_named_with_them(tmp_path):
    photos(tmp_path, lambda r: f"{'x' if r.label == 'cat' else 'y'}/{r.number}.png")
    path = table(tmp_path / "list.csv", "id,label", lambda r: (f"{r.number}.png", r.label))
    with pytest.raises(DataError, match="24 of the 24 rows") as error:
        scan(path)
    names = (os.path.join("x", "0.png"), os.path.join("y", "0.png"))
    assert all(name in str(error.value) for name in names)
    assert error.value.hint.startswith("All of them: 2 files fit it. Write the folders into the table")


@pytest.mark.parametrize("above", ["", "/data/set/"])
def test_a_photo_that_is_gone_is_never_another_of_its_name(tmp_path, above):
    photos(tmp_path, lambda r: f"{r.label}/{r.number:03d}.png")
    (tmp_path / "cat" / "003.png").unlink()
    path = table(tmp_path / "list.csv", "path,label", lambda r: (f"{above}{r.label}/{r.number:03d}.png", r.label))
    found = scan(path)
    assert all(photo.path.parent.name == photo.label for photo in found.photos)
    assert [bad.reason for bad in found.skipped] == ["line 5 of list.csv: no such file"]


def test_one_name_that_several_photos_fit_is_named(tmp_path):
    photos(tmp_path, lambda r: f"{r.name}.png")
    (tmp_path / "c000.jpg").write_bytes(PNG)
    path = table(tmp_path / "list.csv", "id,label", lambda r: (r.name, r.label))
    (bad,) = scan(path).skipped
    assert bad.reason == "line 2 of list.csv: 2 files fit it ('c000.jpg', 'c000.png')"
    assert counts(scan(path, options=ReadOptions(suffix=".png"))) == BOTH
    assert counts(scan(path, options=ReadOptions(suffix="PNG"))) == BOTH


def test_ids_in_several_split_folders_are_those_of_the_table(tmp_path):
    for folder in ("train", "test"):
        photos(tmp_path / folder)
    path = table(tmp_path / "train.csv", "id,label", lambda r: (r.name, r.label))
    for data in (path, tmp_path):
        found = scan(data)
        if data == tmp_path:
            assert {photo.path.parent.name for photo in found.photos} == {"train"}
            assert counts(found) == BOTH


def test_a_folder_of_photos_elsewhere(tmp_path):
    photos(tmp_path / "photos")
    path = table(tmp_path / "tables" / "list.csv", "path,label", lambda r: (f"{r.name}.png", r.label))
    with pytest.raises(DataError, match="24 of the 24 rows") as error:
        scan(path)
    assert "`images` names another, `suffix` what the names lack" in error.value.hint
    assert counts(scan(path, options=ReadOptions(images=str(tmp_path / "photos")))) == BOTH
    with pytest.raises(OptionError, match="no folder"):
        scan(path, options=ReadOptions(images=str(tmp_path / "photo")))


def test_addresses_are_said_to_be_ones(tmp_path):
    path = table(tmp_path / "list.csv", "url,label", lambda r: (f"https://x.org/{r.name}.jpg", r.label))
    with pytest.raises(DataError, match="an address on the web, not a file") as error:
        scan(path)
    assert "Download the photos first" in error.value.hint


def test_file_addresses_are_files(tmp_path):
    photos(tmp_path)
    path = table(tmp_path / "list.csv", "path,label", lambda r: ((tmp_path / f"{r.name}.png").as_uri(), r.label))
    assert counts(scan(path)) == BOTH


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_in_circles_are_walked_once(tmp_path):
    photos(tmp_path / "a" / "train")
    os.symlink("..", tmp_path / "a" / "train" / "up")
    os.symlink("train", tmp_path / "a" / "same")
    path = table(tmp_path / "a" / "list.csv", "id,label", lambda r: (r.name, r.label))
    assert counts(scan(path)) == BOTH


@pytest.mark.parametrize("cell", ["nan", "..", "/", "\\", "C:", "%", "%00", "file://", "file:///", "http://", "*", "~"])
def test_cells_that_name_nothing(tmp_path, cell):
    photos(tmp_path)
    path = table(tmp_path / "list.csv", "path,label", lambda r: (cell if r == ROWS[0] else f"{r.name}.png", r.label))
    assert len(scan(path).skipped) == 1
