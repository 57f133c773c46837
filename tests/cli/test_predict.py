"""``headstart predict``: what it prints, writes and copies."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.data.copies import Copies

Cli = Callable[..., Any]
Refused = Callable[..., None]


@pytest.fixture
def mixed(photos: Path, tmp_path: Path) -> Path:
    """Photos of each class under German names, and a file that is none."""
    folder = tmp_path / "neu"
    folder.mkdir()
    for label in ("cat", "dog", "owl"):
        for i in range(2):
            shutil.copy(photos / label / f"{label}_0{i}.png", folder / f"größe {label} {i}.png")
    (folder / "kaputt.jpg").write_bytes(b"no photo")
    return folder


def labels(run: Path, folder: Path) -> dict[str, str | None]:
    return {one.path.name: one.label for one in hs.predict(run, folder)}


def test_counts_per_class_are_told_at_the_end(cli: Cli, probe_run: Path, mixed: Path) -> None:
    files = sorted(mixed.glob("*"))
    answer = cli("predict", probe_run, *files)
    assert answer.code == 2
    assert len(answer.out.splitlines()) == 6
    expected = Counter(label for label in labels(probe_run, mixed).values() if label)
    rows = [line.split() for line in answer.err.splitlines()]
    for label, n in expected.items():
        assert [label, str(n)] in [row[:2] for row in rows]
    assert "1 photo cannot be read" in answer.err
    assert "photos" not in cli("predict", probe_run, files[0], "--quiet").err


def test_json_is_one_document(cli: Cli, probe_run: Path, mixed: Path) -> None:
    answer = cli("predict", probe_run, *sorted(mixed.glob("*")), "--json", "-q")
    assert answer.code == 2
    found = json.loads(answer.out)
    by_name = {Path(one["path"]).name: one["label"] for one in found["predictions"]}
    assert by_name == labels(probe_run, mixed) | {"kaputt.jpg": None}
    assert (found["photos"], found["unreadable"], found["unknown"]) == (6, 1, 0)
    assert found["counts"] == Counter(label for label in by_name.values() if label)


def test_jsonl_is_a_line_each(cli: Cli, probe_run: Path, mixed: Path) -> None:
    lines = cli("predict", probe_run, mixed, "--jsonl").out.splitlines()
    assert {Path(one["path"]).name: one["label"] for one in map(json.loads, lines)} == labels(probe_run, mixed)


def test_an_error_is_json_in_both(cli: Cli, probe_run: Path, tmp_path: Path) -> None:
    for form in ("--json", "--jsonl"):
        answer = cli("predict", probe_run, tmp_path / "nowhere.jpg", form)
        assert json.loads(answer.out)["exit_code"] == 2
    assert len(answer.out.splitlines()) == 1


def test_a_csv_file_is_one_that_excel_and_headstart_read(
    cli: Cli, refused: Refused, probe_run: Path, mixed: Path, tmp_path: Path
) -> None:
    table = tmp_path / "antwort.csv"
    assert cli("predict", probe_run, mixed, "--out", table).out == ""
    assert table.read_bytes().startswith(b"\xef\xbb\xbfpath,label,confidence,cat,dog,owl")
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {Path(row["path"]).name: row["label"] or None for row in rows} == labels(probe_run, mixed)
    assert len(cli("predict", probe_run, table).out.splitlines()) == 6  # its paths are read again
    refused(cli("predict", probe_run, mixed, "--out", table), "exists", "--overwrite")
    assert "Predictions: " in cli("predict", probe_run, mixed, "--out", table, "--overwrite").err
    printed = cli("predict", probe_run, mixed, "--csv").out
    assert printed == table.read_text(encoding="utf-8-sig")  # a program gets the same, without the mark


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_csv_file_keeps_the_bytes_of_a_name(cli: Cli, probe_run: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    name = os.fsencode(folder) + b"/\xff\xfe.png"
    shutil.copy(photos / "cat" / "cat_00.png", name)
    assert cli("predict", probe_run, folder, "--out", tmp_path / "p.csv").code == 0
    assert b"\xff\xfe.png,cat," in (tmp_path / "p.csv").read_bytes()


def test_json_files(cli: Cli, refused: Refused, probe_run: Path, mixed: Path, tmp_path: Path) -> None:
    cli("predict", probe_run, mixed, "--out", tmp_path / "a.json")
    cli("predict", probe_run, mixed, "--out", tmp_path / "a.jsonl")
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert document["predictions"] == list(map(json.loads, lines))
    refused(cli("predict", probe_run, mixed, "--out", tmp_path / "a.xlsx"), ".csv")
    refused(cli("predict", probe_run, mixed, "--csv", "--out", tmp_path / "b.json"), "--csv", "b.json")
    refused(cli("predict", probe_run, mixed, "--csv", "--json"), "--json and --csv")


def test_photos_are_sorted_by_copies(cli: Cli, probe_run: Path, mixed: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in mixed.iterdir()}
    there = tmp_path / "sorted"
    answer = cli("predict", probe_run, *sorted(mixed.glob("*")), "--sort-into", there)
    found = {name: label for name, label in labels(probe_run, mixed).items() if label}
    assert {p.name: p.parent.name for p in there.rglob("*.png")} == found
    assert all(p.read_bytes() == before[p.name] for p in there.rglob("*.png"))
    assert {path.name: path.read_bytes() for path in mixed.iterdir()} == before
    said = " ".join(answer.err.split())
    assert f"6 photos copied into {there}; 1 left out, which cannot be read." in said
    # Again: what is there is not copied twice. Another photo of the same name gets a number.
    assert "6 there already" in cli("predict", probe_run, mixed, "--sort-into", there).err.replace("\n", " ")
    name, label = next(iter(found.items()))
    mine = there / str(label) / name
    mine.write_bytes(b"mine")
    cli("predict", probe_run, mixed / name, "--sort-into", there)
    assert mine.read_bytes() == b"mine"
    assert mine.with_name(f"{Path(name).stem}-2.png").read_bytes() == before[name]
    assert len(list(there.rglob("*"))) == 3 + 7  # and no temporary file


def test_unknown_photos_have_a_folder_of_their_own(tmp_path: Path, photos: Path) -> None:
    one = photos / "cat" / "cat_00.png"
    copies = Copies(tmp_path / "s", ("cat", "_Unknown", "a/b"))
    assert copies.add(one, None).parent.name == "__unknown"
    assert copies.add(one, "cat").parent.name == "cat"
    assert copies.add(one, "a/b").parent.parent == tmp_path / "s"
    assert (copies.copied.total(), copies.there) == (3, 0)


def test_sorting_into_what_is_no_folder(
    cli: Cli, refused: Refused, probe_run: Path, mixed: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    refused(cli("predict", probe_run, mixed, "--sort-into", tmp_path / "file"), "--sort-into", "is a file")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "cat").write_text("")
    refused(cli("predict", probe_run, mixed, "--sort-into", tmp_path / "there"), "cannot be written", "--sort-into")


def test_long_names_keep_their_suffix(tmp_path: Path, photos: Path) -> None:
    long = tmp_path / f"{'ö' * 100}.png"
    shutil.copy(photos / "cat" / "cat_00.png", long)
    copies = Copies(tmp_path / "s", ("cat",))
    made = copies.add(long, "cat")
    assert made.suffix == ".png"
    assert made.read_bytes() == long.read_bytes()
