"""Which columns are what: by options, names and values; what was not used is said."""

from __future__ import annotations

import pytest
from helpers.tables import BOTH, ROWS, counts, photos, table

from headstart.data.schema import ReadOptions
from headstart.data.sources.detect import scan
from headstart.data.sources.table_columns import UnclearError
from headstart.errors import DataError, OptionError


@pytest.fixture
def made(tmp_path):
    """``made(header, cells)``: a table beside 24 photos ``c000.png`` …"""
    photos(tmp_path)

    def make(header, cells, rows=ROWS):
        return table(tmp_path / "list.csv", header, cells, rows)

    return make


def name(row):
    return f"{row.name}.png"


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("id,breed", lambda r: (r.name, r.label)),
        ("image_id,label", lambda r: (r.name, r.label)),
        ("name,species", lambda r: (name(r), r.label)),
        ("image,id,choice,annotator", lambda r: (name(r), ROWS.index(r), r.label, 1)),
        ("Width,Height,ClassId,Path", lambda r: (9, 9, r.label, name(r))),
        ("Datei,Klasse", lambda r: (name(r), r.label)),
        ("Datei,Klasse,Breite", lambda r: (name(r), r.label, 1 + ROWS.index(r))),
        ("label_id,file,class_name", lambda r: (int(r.label == "cat"), name(r), r.label)),
        ("class,label_name,file", lambda r: (int(r.label == "cat"), r.label, name(r))),
        ("", lambda r: (name(r), r.label)),
        ("", lambda r: (r.label, r.name)),
        ("filename, cat, dog", lambda r: (name(r), int(r.label == "cat"), int(r.label == "dog"))),
        ("filename,cat,dog,owl", lambda r: (r.name, float(r.label == "cat"), float(r.label == "dog"), 0.0)),
        ("filename,cat,dog", lambda r: (name(r), r.label == "cat", r.label == "dog")),
        ("filename,cat,dog", lambda r: (name(r), 1 if r.label == "cat" else -1, 1 if r.label == "dog" else -1)),
    ],
)
def test_paths_and_labels_by_names_and_values(made, header, cells):
    assert counts(scan(made(header, cells))) == BOTH


SPLIT = {("cat", "train"): 9, ("dog", "train"): 9}
TEST, VAL = ({**SPLIT, ("cat", split): 3, ("dog", split): 3} for split in ("test", "val"))


@pytest.mark.parametrize(
    ("column", "first", "last", "expected"),
    [
        *((c, "train", "test", TEST) for c in ("dataset", "data set", "phase", "data_split", "train/test", "colour")),
        ("type", "TRAIN", "TEST", TEST),
        ("Usage", "Training", "PublicTest", TEST),
        ("split", "train", "eval", VAL),
        ("is_valid", "False", "True", VAL),
        ("is_valid", 0, 1, VAL),
        ("valid", "no", "yes", VAL),
        ("is_test", "0.0", "1.0", TEST),
        ("is_train", 1, 0, TEST),
        ("fold", 1, 0, VAL),
        ("kfold", "fold_4", "fold_2", VAL),
    ],
)
def test_a_column_whose_values_are_splits_says_the_split(made, column, first, last, expected):
    found = scan(made(f"path,label,{column}", lambda r: (name(r), r.label, last if r.number > 8 else first)))
    assert counts(found) == expected
    if column != "split":
        assert any(f"{column} as split" in note for note in found.notes)


def test_folds_are_explained(made):
    found = scan(made("path,label,fold", lambda r: (name(r), r.label, r.number % 4)))
    assert "fold holds 4 folds: fold 0 is val, the others train" in found.notes


def test_two_yes_no_columns_together(made):
    found = scan(made("path,label,is_valid,is_test", lambda r: (name(r), r.label, r.number == 1, r.number == 2)))
    assert counts(found) == {(c, s): n for c in ("cat", "dog") for s, n in (("train", 10), ("val", 1), ("test", 1))}


def test_public_and_private_tests_are_val_and_test(made):
    words = ("Training", "PublicTest", "PrivateTest")
    found = scan(made("path,label,usage", lambda r: (name(r), r.label, words[r.number % 3])))
    assert counts(found) == {(c, s): 4 for c in ("cat", "dog") for s in ("train", "val", "test")}


def test_numbers_that_may_be_any_split_are_refused_and_can_be_left_unused(made):
    path = made("path,label,split", lambda r: (name(r), r.label, int(r.number > 8)))
    with pytest.raises(DataError, match="column split holds '0', '1', which do not say what is train") as error:
        scan(path)
    assert "`split_column='none'`" in error.value.hint
    assert counts(scan(path, options=ReadOptions(split_column="none"))) == BOTH


@pytest.mark.parametrize(
    "column", ["lesion_id", "case_id", "animal_id", "patient", "Subject No", "specimen", "tree_id"]
)
def test_ids_that_repeat_are_groups(made, column):
    found = scan(made(f"path,label,{column}", lambda r: (name(r), r.label, f"A{r.number // 4}")))
    assert {photo.group for photo in found.photos} == {"A0", "A1", "A2"}
    assert found.notes == (f"columns of list.csv: {column} as group",)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", lambda r: ROWS.index(r)),  # each its own
        ("annotator_id", lambda r: r.number % 4),  # not what is in the photo
        ("location", lambda r: r.number % 4),
        ("class_id", lambda r: r.label),  # the label again
        ("tree_id", lambda r: int(r.number > 9)),  # nearly all in one group
        ("patient_id", lambda r: "" if r.number else f"P{r.label}"),
    ],
)
def test_other_columns_are_no_groups_and_are_named(made, column, value):
    found = scan(made(f"path,label,{column}", lambda r: (name(r), r.label, value(r))))
    if column != "patient_id":
        assert {photo.group for photo in found.photos} == {None}
        assert f"not used: {column} (" in found.notes[0]


def test_the_widest_of_several_groups_is_taken(made):
    found = scan(made("path,label,lesion_id,patient_id", lambda r: (name(r), r.label, r.number // 2, r.number // 4)))
    assert len({photo.group for photo in found.photos}) == 3
    assert "patient_id as group; not used: lesion_id (6 values)" in found.notes[0]


@pytest.mark.parametrize("nothing", ["", "NA", "nan", "None"])
def test_photos_without_a_group_are_no_group(made, nothing):
    found = scan(made("path,label,group", lambda r: (name(r), r.label, f"g{r.number // 2}" if r.number else nothing)))
    assert [photo.group for photo in found.photos].count(None) == 2


def test_every_column_that_is_not_used_is_in_one_line(made):
    found = scan(made("path,label,age,sex", lambda r: (name(r), r.label, 30 + r.number, "mf"[r.number % 2])))
    assert found.notes == ("columns of list.csv: not used: age (12 values), sex ('f' and 'm')",)


def test_what_may_be_the_label_is_asked(made):
    path = made("Datei,Klasse,Ort", lambda r: (name(r), r.label, "ab"[r.number % 2]))
    with pytest.raises(
        UnclearError, match=r"several columns that may hold the labels: Klasse, Ort .*'cat' and 'dog'"
    ) as e:
        scan(path)
    assert "`label_column='Klasse'`" in e.value.hint
    assert counts(scan(path, options=ReadOptions(label_column="klasse"))) == BOTH
    assert counts(scan(path.parent, options=ReadOptions(label_column="Klasse"))) == BOTH


def test_options_go_before_names_and_values(made):
    path = made(
        "path,label,split,group,a,b,c,d",
        lambda r: ("x", "y", "train", "g", r.name, r.label, "test" if r.number > 8 else "train", r.number // 4),
    )
    asked = ReadOptions(path_column="a", label_column="b", split_column="c", group_column="d")
    found = scan(path, options=asked)
    assert counts(found) == TEST
    assert len({photo.group for photo in found.photos}) == 3


@pytest.mark.parametrize("option", ["path_column", "label_column", "split_column", "group_column"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_column_that_is_not_there_is_named_with_the_closest(made, option, whole):
    path = made("path,label,phase,tier", lambda r: (name(r), r.label, "x", "y"))
    with pytest.raises(
        OptionError, match=rf"no column 'lable' \(`{option}`\); its columns: path, label, phase, tier"
    ) as e:
        scan(path.parent if whole else path, options=ReadOptions(**{option: "lable"}))
    assert "Did you mean 'label'" in e.value.hint
    assert e.value.option == option


def test_columns_without_a_header_are_named_by_number(made):
    path = made("", lambda r: ("x", r.label, name(r), "ab"[r.number % 2]))
    assert counts(scan(path, options=ReadOptions(label_column="2"))) == BOTH


def test_an_option_of_tables_for_data_without_one_is_refused(class_folder):
    with pytest.raises(DataError, match="`label_column` is about a table"):
        scan(class_folder(), options=ReadOptions(label_column="x"))
