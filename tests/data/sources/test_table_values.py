"""What labels are: classes, or numbers, ids and several labels at once, which are refused with a message."""

from __future__ import annotations

import pytest
from helpers.tables import BOTH, ROWS, counts, photos, table

from headstart.data.sources.detect import scan
from headstart.data.sources.table_values import no_classes, several_labels
from headstart.errors import DataError


def listed(folder, label, rows=ROWS):
    photos(folder)
    return table(folder / "list.csv", "path,label", lambda r: (f"{r.name}.png", f'"{label(r)}"'), rows)


@pytest.mark.parametrize(
    "labels",
    [
        ["cats|indoor", "dogs|indoor", "cats|outdoor"],
        ["cats|indoor", "dogs|outdoor"],
        ["cat", "cat,dog", "dog"],
        ["cat, dog", "dog, cat"],
        ["cat,indoor", "dog,indoor", "cat,outdoor", "dog,outdoor"],
        ["cat;dog", "dog"],
        ["['cat', 'dog']", "['dog']"],
        ['["cat", "dog"]'],
        ["scab", "rust", "scab rust", "mildew", "scab mildew"],
        [
            f"{a} {b}"
            for a in ("haze", "clear", "cloud")
            for b in ("road", "water", "field", "mine", "town", "farm", "bare")
        ],
    ],
)
def test_several_labels_of_one_photo(labels):
    assert several_labels(labels)


@pytest.mark.parametrize(
    "labels",
    [
        ["Black, White", "Red, Green"],
        ["Felis catus, domestic", "Canis lupus, domestic"],
        ["Smith, John", "Smith, Jane"],
        ["golden retriever", "labrador retriever", "tabby cat"],
        ["hot dog", "dog"],
        ["(unknown)", "cat"],
        ["Apple___scab", "Apple___healthy", "Corn_(maize)___healthy"],
        ["a|b", "c"],
        [],
    ],
)
def test_names_of_classes(labels):
    assert several_labels(labels) == []


def test_labels_that_are_several_are_refused_by_name(tmp_path):
    path = listed(tmp_path, lambda r: f"{r.label}|{'in' if r.number % 2 else 'out'}door")
    for data in (path, tmp_path):
        with pytest.raises(
            DataError, match=r"'cat\|indoor', 'cat\|outdoor', 'dog\|indoor' look like several labels per"
        ):
            scan(data)


def test_a_folder_of_that_name_is_a_class(tmp_path):
    def label(row):
        return f"{row.label}, pet" if row.number % 2 else row.label

    photos(tmp_path, lambda r: f"{label(r)}/{r.name}.png")
    path = table(tmp_path / "list.csv", "path,label", lambda r: (f'"{label(r)}/{r.name}.png"', f'"{label(r)}"'))
    assert counts(scan(path)) == {"cat": 6, "cat, pet": 6, "dog": 6, "dog, pet": 6}


def test_a_list_of_one_label_is_that_label(tmp_path):
    assert counts(scan(listed(tmp_path, lambda r: f"['{r.label}']"))) == BOTH


def test_one_row_per_label_is_several_labels(tmp_path):
    path = listed(
        tmp_path, lambda r: r.label if r in ROWS else "pet", [*ROWS, *(r._replace(label="pet") for r in ROWS)]
    )
    with pytest.raises(DataError, match="gives 24 photos of 24 more than one label"):
        scan(path)


def test_marks_of_several_columns_are_several_labels(tmp_path):
    photos(tmp_path)
    table(tmp_path / "list.csv", "image_id,smiling,male", lambda r: (r.name, 1, 1 if r.number % 2 else -1))
    with pytest.raises(DataError, match=r"marks 12 photos with several of its 2 columns .*smiling, male") as error:
        scan(tmp_path)
    assert "`label_column='smiling'`" in error.value.hint


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([str(i + 0.5) for i in range(40)], "measurements"),
        ([f"{i},25" for i in range(40)], "measurements"),
        ([str(i) for i in range(40)], "ids or counts"),
        ([f"x{i}" for i in range(40)], "ids or free text"),
    ],
)
def test_values_that_are_no_classes(tmp_path, values, words):
    assert words in no_classes(values)
    with pytest.raises(DataError, match=words):
        scan(listed(tmp_path, lambda r: values[ROWS.index(r)]))


@pytest.mark.parametrize("values", [["0", "1"] * 20, [str(i % 10) for i in range(60)], ["0.5", "1.0"] * 20, ["a", "b"]])
def test_numbers_may_be_classes(values):
    assert no_classes(values) == ""


def test_repeated_rows_of_one_label_are_counted(tmp_path):
    photos(tmp_path)
    rows = [row for row in ROWS for _ in range(3)]
    path = table(tmp_path / "boxes.csv", "filename,width,class,xmin", lambda r: (f"{r.name}.png", 9, r.label, 1), rows)
    found = scan(path)
    assert counts(found) == BOTH
    assert found.skipped == ()
    assert "48 lines of boxes.csv repeat a photo with the same label" in found.notes


def test_a_photo_of_two_splits_is_in_the_guarded_one(tmp_path):
    photos(tmp_path)
    table(tmp_path / "a.csv", "path,label,split", lambda r: (f"{r.name}.png", r.label, "train" if r.number else "test"))
    with open(tmp_path / "a.csv", "a") as file:
        file.write("c000.png,cat,train\nc001.png,cat,test\n")
    found = {photo.name: photo.split for photo in scan(tmp_path / "a.csv").photos}
    assert (found["c000.png"], found["c001.png"], found["c002.png"]) == ("test", "test", "train")


def test_rows_without_a_label_are_left_out_by_line(tmp_path):
    found = scan(listed(tmp_path, lambda r: r.label if r.number else " "))
    assert counts(found) == {"cat": 11, "dog": 11}
    assert [bad.reason for bad in found.skipped] == ["line 2 of list.csv: no label", "line 14 of list.csv: no label"]
