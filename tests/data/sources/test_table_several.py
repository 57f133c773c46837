"""Tables with any number of labels per photo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.several import draw_several, joined_table, one_hot_table
from helpers.tables import text

from headstart.data.schema import ReadOptions
from headstart.data.sources.detect import scan
from headstart.errors import DataError, OptionError

MULTI = ReadOptions(labels="multi")


def read(path: Path, options: ReadOptions = MULTI) -> dict[str, str]:
    """The labels of each photo by its name."""
    found = scan(path, options=options)
    assert found.several
    return {photo.path.name: photo.label for photo in found.photos}


@pytest.fixture
def rows(tmp_path: Path) -> list[tuple[str, list[str]]]:
    return draw_several(tmp_path, 30)


@pytest.fixture
def wanted(rows: list[tuple[str, list[str]]]) -> dict[str, str]:
    return {name.split("/")[1]: "|".join(labels) for name, labels in rows}


@pytest.mark.parametrize("separator", ["|", " | ", ";", ", "])
def test_labels_of_one_column(
    tmp_path: Path, rows: list[tuple[str, list[str]]], wanted: dict[str, str], separator: str
) -> None:
    table = joined_table(tmp_path / "some.csv", rows, separator)
    assert read(table) == wanted
    notes = " ".join(scan(table, options=MULTI).notes)
    assert f"{list(wanted.values()).count('')} photos without any label" in notes
    assert ("is read as labels that" in notes) == ("|" not in separator)


def test_a_column_of_zero_and_one_for_each_label(
    tmp_path: Path, rows: list[tuple[str, list[str]]], wanted: dict[str, str]
) -> None:
    assert read(one_hot_table(tmp_path / "some.csv", rows)) == wanted


def test_minus_one_beside_zero_is_not_guessed(tmp_path: Path, rows: list[tuple[str, list[str]]]) -> None:
    """In some tables of X-rays it means "uncertain", in others of faces "no"."""
    table = one_hot_table(tmp_path / "t.csv", rows)
    lines = table.read_text(encoding="utf-8").splitlines()
    cells = [line.split(",") for line in lines[1:]]
    signs = [",".join([name, *("1" if mark == "1" else "-1" for mark in marks)]) for name, *marks in cells]
    table.write_text("\n".join([lines[0], *signs]), encoding="utf-8")
    assert len(scan(table, options=MULTI).photos) == len(rows)
    table.write_text("\n".join([lines[0], *signs[:5], *lines[6:]]), encoding="utf-8")
    with pytest.raises(DataError, match="-1 beside 0 and 1") as error:
        scan(table, options=MULTI)
    assert "leave uncertain photos out" in error.value.hint


def test_lists_of_json(tmp_path: Path, rows: list[tuple[str, list[str]]], wanted: dict[str, str]) -> None:
    lines = [json.dumps({"path": name, "label": labels}) for name, labels in rows]
    assert read(text(tmp_path / "some.jsonl", "\n".join(lines))) == wanted


def test_a_line_for_each_label_of_a_photo(
    tmp_path: Path, rows: list[tuple[str, list[str]]], wanted: dict[str, str]
) -> None:
    lines = [f"{name},{label}" for name, labels in rows for label in labels or [""]]
    table = text(tmp_path / "some.csv", "\n".join(["path,label", *lines]))
    assert read(table) == wanted
    more = sum(max(0, len(labels) - 1) for _, labels in rows)
    assert f"{more} lines of some.csv add labels" in " ".join(scan(table, options=MULTI).notes)


def test_labels_are_in_natural_order_and_each_once(tmp_path: Path, rows: list[tuple[str, list[str]]]) -> None:
    lines = [f"{name},b10|b9| a |b9" for name, _ in rows[:4]] + [f"{name},a" for name, _ in rows[4:]]
    assert set(read(text(tmp_path / "some.csv", "\n".join(["path,label", *lines]))).values()) == {"a|b9|b10", "a"}


def test_a_folder_finds_its_table(tmp_path: Path, rows: list[tuple[str, list[str]]], wanted: dict[str, str]) -> None:
    joined_table(tmp_path / "labels.csv", rows)
    assert read(tmp_path) == wanted


def test_a_split_column_is_kept(tmp_path: Path, rows: list[tuple[str, list[str]]]) -> None:
    lines = [f"{name},{'|'.join(labels)},{'test' if i % 5 == 4 else 'train'}" for i, (name, labels) in enumerate(rows)]
    found = scan(text(tmp_path / "some.csv", "\n".join(["path,label,split", *lines])), options=MULTI)
    assert sum(photo.split == "test" for photo in found.photos) == 6


@pytest.mark.parametrize("label", ['["a|b", "c"]', '["c", "a|b"]'])
def test_a_label_with_the_separator_in_it_is_refused(
    tmp_path: Path, rows: list[tuple[str, list[str]]], label: str
) -> None:
    lines = [json.dumps({"path": name, "label": json.loads(label)}) for name, _ in rows]
    with pytest.raises(DataError, match=r"'a\|b' holds \|"):
        read(text(tmp_path / "some.jsonl", "\n".join(lines)))


def test_free_text_is_no_labels(tmp_path: Path, rows: list[tuple[str, list[str]]]) -> None:
    lines = [f"{name},seen on day {i} by no {i * 7}" for i, (name, _) in enumerate(rows)]
    with pytest.raises(DataError, match=r"free text|different numbers"):
        read(text(tmp_path / "some.csv", "\n".join(["path,label", *lines])))


def test_a_label_column_that_is_not_there(tmp_path: Path, rows: list[tuple[str, list[str]]]) -> None:
    with pytest.raises(OptionError, match="no column 'kind'"):
        read(joined_table(tmp_path / "some.csv", rows), ReadOptions(labels="multi", label_column="kind"))


def test_labels_that_train_lacks_are_named(tmp_path: Path, rows: list[tuple[str, list[str]]]) -> None:
    lines = [
        f"{name},{'yak|cat' if i == 4 else 'cat|dog'},{'test' if i % 5 == 4 else 'train'}"
        for i, (name, _) in enumerate(rows)
    ]
    with pytest.raises(DataError, match="'yak' is only in test"):
        read(text(tmp_path / "some.csv", "\n".join(["path,label,split", *lines])))
