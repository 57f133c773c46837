"""Names: order, splits, labels, kinds of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.filenames import (
    clean_label,
    content_kind,
    is_hidden,
    label_in_name,
    merged,
    natural_key,
    shown,
    split_of,
    written_alike,
)


def test_natural_order():
    mixed = [
        "class10",
        "Class2",
        "b",
        "class2",
        "class 3",
        "A",
        "a",
        "class02",
        "10",
        "9",
        "x" + "9" * 30,
        "x" + "8" * 31,
    ]
    assert sorted(mixed, key=natural_key) == [
        "9", "10", "A", "a", "b", "class 3", "Class2", "class02", "class2", "class10", "x" + "9" * 30, "x" + "8" * 31,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training_Set", "train"), ("TRAINING", "train"), ("train_images", "train"),
        ("trainset", "train"), ("val", "val"), ("valid", "val"), ("Validation", "val"), ("dev", "val"),
        ("valid-set", "val"), ("test", "test"), ("testing", "test"), ("test_set", "test"), ("test1", "test"),
        ("trains", None), ("tester", None), ("cat", None), ("", None), ("set", None), ("validity", None),
    ],
)  # fmt: skip
def test_usual_split_names(name, split):
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("cat.0.jpg", "cat"), ("cats_00338.jpg", "cats"), ("dog-17.png", "dog"), ("dog (3).jpg", "dog"),
        ("dog(3).jpg", "dog"),
        ("golden_retriever_12.jpg", "golden_retriever"), ("n02086240_100.JPEG", "n02086240"), ("b 52.jpg", "b"),
        ("1.jpg", None), ("cat.jpg", None), ("cat10.jpg", None), ("2021-07-03.jpg", None), ("._1.jpg", None),
    ],
)  # fmt: skip
def test_labels_in_file_names(name, label):
    assert label_in_name(name) == label


def test_one_label_for_two_ways_to_write_it():
    assert clean_label("cafe\u0301 ") == clean_label("café") == "café"
    assert clean_label("bad\udce9name") == "bad\\xe9name" != clean_label("bad\udce8name")


def test_what_systems_leave_behind_is_hidden():
    assert all(map(is_hidden, [".git", "._cat.jpg", ".DS_Store", "Thumbs.db", "__MACOSX", "desktop.ini"]))
    assert not any(map(is_hidden, ["cat", "_cat", "thumbs"]))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"), (b"\x89PNG\r\n\x1a\nxx", "PNG"), (b"RIFF1234WEBPVP8 ", "WEBP"),
        (b"GIF89a", "GIF"),
        (b"\0\0\0\x18ftypheic", "HEIC"), (b"\0\0\0\x18ftypavif", "AVIF"), (b"\0\0\0\x18ftypisom", "video"),
        (b"%PDF-1.4", "PDF"), (b" <html>", "HTML or XML"), (b"plain words", "text"), (b"\0\1\2", ""), (b"", ""),
    ],
)  # fmt: skip
def test_kinds_by_content(head, kind):
    assert content_kind(head) == kind


def test_shown_paths():
    root = Path("/photos").absolute()
    assert shown(root / "cat" / "1.jpg", root) == "cat/1.jpg"
    assert shown(root.parent / "photos2" / "1.jpg", root) == (root.parent / "photos2" / "1.jpg").as_posix()


@pytest.mark.parametrize(
    ("name", "label"),
    [("a\nb", r"a\nb"), ("\x1b[31mred", r"\x1b[31mred"), ("a\x9bb", r"a\x9bb"), ("a\u2028b", r"a\u2028b"),
     ("\ud800", r"\ud800"), (" ", r"\x20"), ("\t\n", r"\t\n"), ("", ""), ("=1+1", "=1+1"), ("..", "..")],
)  # fmt: skip
def test_a_label_is_one_line_of_valid_text(name, label):
    assert clean_label(name) == label
    assert label.encode().decode() == label
    assert label.isprintable()


def test_names_that_give_one_label_are_told():
    assert merged(["cat", "dog", "cat"]) == ()
    assert merged(["cafe\u0301", "café", "dog", "cat ", "cat"]) == (
        r"taken as one class: 'cafe\u0301' and 'caf\xe9'; 'cat' and 'cat '",
    )


@pytest.mark.parametrize(
    "labels", [["1", "1.0"], ["01", "1"], ["Cat", "cat"], ["sea lion", "sea-lion"], ["sea_lion", "Sea  Lion"]]
)
def test_classes_that_differ_only_in_how_they_are_written_are_noted(labels: list[str]) -> None:
    (note,) = written_alike([*labels, "dog"])
    assert all(label in note for label in labels)
    assert "dog" not in note


@pytest.mark.parametrize(
    "labels", [["C", "C++", "C#"], ["1", "10", "-1", "1.5"], ["a-1", "a1"], ["9" * 400, "8" * 400]]
)
def test_classes_that_differ_in_more_are_not(labels: list[str]) -> None:
    assert written_alike(labels) == ()
