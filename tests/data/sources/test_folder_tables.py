"""Folders with tables: which one labels the photos, several together, and what is said of the others."""

from __future__ import annotations

import json

import pytest
from helpers.tables import BOTH, ROWS, counts, photos, table, text

from headstart.data.sources.detect import scan
from headstart.data.sources.table import split_of_table
from headstart.errors import DataError


def cells(above="", suffix=".png"):
    return lambda r: (f"{above}{r.name}{suffix}", r.label)


def part(first, last):
    return [row for row in ROWS if first <= row.number < last]


SPLITS = {(c, s): n for c in ("cat", "dog") for s, n in (("train", 8), ("val", 2), ("test", 2))}


@pytest.mark.parametrize("form", ["{}.csv", "{}_labels.csv", "labels_{}.csv", "my-{}-list.csv", "{}.txt"])
def test_a_table_per_split(tmp_path, form):
    photos(tmp_path / "img")
    for split, rows in (("train", part(0, 8)), ("val", part(8, 10)), ("test", part(10, 12))):
        table(tmp_path / form.format(split), "path,label", cells("img/"), rows)
    found = scan(tmp_path)
    assert counts(found) == SPLITS
    assert any(note.startswith("each table is a split: ") for note in found.notes)


def test_a_test_table_without_labels_is_left_out(tmp_path):
    photos(tmp_path / "train")
    photos(tmp_path / "test", lambda r: f"t{r.name}.png")
    table(tmp_path / "train.csv", "id,breed", cells(suffix=""))
    table(tmp_path / "test.csv", "id", lambda r: (f"t{r.name}",))
    table(tmp_path / "sample_submission.csv", "id,breed", lambda r: (f"t{r.name}", "cat"))
    found = scan(tmp_path)
    assert counts(found) == BOTH
    assert "tables left out: test.csv (no column of labels), sample_submission.csv (a form for answers)" in found.notes


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_metadata_in_split_folders(tmp_path, kind):
    for split, rows in (("train", part(0, 9)), ("test", part(9, 12))):
        for row in rows:
            photos(tmp_path / split, lambda r, row=row: f"cat.{ROWS.index(row)}.png")  # names that look like labels
        if kind == "csv":
            table(
                tmp_path / split / "metadata.csv",
                "file_name,label",
                lambda r: (f"cat.{ROWS.index(r)}.png", r.label),
                rows,
            )
        else:
            objects = ({"file_name": f"cat.{ROWS.index(r)}.png", "label": r.label} for r in rows)
            text(tmp_path / split / "metadata.jsonl", "\n".join(map(json.dumps, objects)))
    found = scan(tmp_path)
    assert counts(found) == {(c, s): n for c in ("cat", "dog") for s, n in (("train", 9), ("test", 3))}


def test_metadata_at_the_root_has_the_splits_of_its_folders(tmp_path):
    def place(row):
        return f"{'test' if row.number > 8 else 'train'}/{row.name}.png"

    photos(tmp_path, place)
    table(tmp_path / "metadata.csv", "file_name,label", lambda r: (place(r), r.label))
    found = scan(tmp_path)
    assert counts(found) == {(c, s): n for c in ("cat", "dog") for s, n in (("train", 9), ("test", 3))}
    assert any("splits of metadata.csv are those of the folders" in note for note in found.notes)


def test_metadata_of_captions_leaves_the_folders_to_say_the_classes(tmp_path):
    photos(tmp_path, lambda r: f"{r.label}/{r.name}.png")
    table(
        tmp_path / "metadata.csv", "file_name,text", lambda r: (f"{r.label}/{r.name}.png", f"{r.label} number {r.name}")
    )
    found = scan(tmp_path)
    assert found.layout == "class folders"
    assert counts(found) == BOTH


def test_folders_that_hold_several_labels_of_a_table_are_no_classes(tmp_path):
    photos(tmp_path, lambda r: f"part_{1 + r.number % 2}/{r.name}.png")
    table(tmp_path / "meta.csv", "image_id,dx", cells(suffix=""))
    found = scan(tmp_path)
    assert counts(found) == BOTH
    assert any("holds several of them (part_1, part_2)" in note for note in found.notes)


def test_a_table_in_another_folder(tmp_path):
    photos(tmp_path / "images")
    table(tmp_path / "annotations" / "labels.csv", "file,label", cells())
    assert counts(scan(tmp_path)) == BOTH
    assert counts(scan(tmp_path.parent / tmp_path.name / "annotations" / "..")) == BOTH


def test_a_wrapped_folder_with_its_table(tmp_path):
    photos(tmp_path / "set")
    table(tmp_path / "set" / "labels.csv", "file,label", cells())
    assert counts(scan(tmp_path)) == BOTH


def test_a_table_that_is_not_understood_is_named_with_its_columns(tmp_path):
    photos(tmp_path, lambda r: f"{r.number:04d}{r.label[0]}.png")
    table(tmp_path / "weather.csv", "day,rain", lambda r: (f"2020-{r.number}", r.number * 1.5))
    for data in (tmp_path, tmp_path / "weather.csv"):
        with pytest.raises(
            DataError, match=r"weather\.csv has no column 'path', .*day \(12 values\), rain \(12 val"
        ) as e:
            scan(data)
        assert "`path_column='NAME'`" in e.value.hint


def test_the_list_of_what_check_left_out_is_no_second_table(tmp_path):
    photos(tmp_path)
    table(tmp_path / "clean.csv", "path,label", cells(), part(0, 11))
    table(tmp_path / "clean-left-out.csv", "path,label", cells(), part(11, 12))
    assert counts(scan(tmp_path)) == {"cat": 11, "dog": 11}


def test_several_tables_of_the_same_photos_are_asked_about(tmp_path):
    photos(tmp_path)
    for name in ("is_test.csv", "is_valid.csv", "labels.csv"):
        table(tmp_path / name, "path,label", cells())
    with pytest.raises(DataError, match=r"several tables: is_test\.csv, is_valid\.csv, labels\.csv"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("stem", "split"),
    [("train", "train"), ("labels_train", "train"), ("val-annotations", "val"), ("Test Labels", "test"),
     ("labels", None), ("train_test", None), ("trainee", None)],
)  # fmt: skip
def test_splits_in_names_of_tables(stem, split):
    assert split_of_table(stem) == split
