"""Tables of photos: columns and delimiters recognised, each broken row named by its line."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import sys

import pytest

from headstart.data.sources.detect import scan
from headstart.data.sources.table import listed_paths, read_table
from headstart.errors import DataError


@pytest.fixture
def photos(class_folder):
    return class_folder(per_class=3)


def rows(photos, line="{path},{label}\n"):
    found = sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.png"))
    return "".join(line.format(path=p, label=p.split("/")[0]) for p in found)


@pytest.mark.parametrize(
    ("header", "line", "encoding"),
    [
        ("path,label", "{path},{label}\n", "utf-8"),
        ("Label;File Name", "{label};{path}\n", "utf-8-sig"),
        ("image_path\tclass", "{path}\t{label}\n", "utf-16"),
        ("filename|category", '"{path}"|{label}\r\n', "cp1252"),
        ("id,path,label", "1,./{path}, {label} \n", "utf-8"),
    ],
)
def test_usual_tables(photos, header, line, encoding):
    (photos / "list.csv").write_bytes(f"{header}\n{rows(photos, line)}".encode(encoding))
    found = scan(photos / "list.csv")
    assert found.layout == "CSV"
    assert sorted((p.label, p.path.parent.name) for p in found.photos) == [("cat", "cat")] * 3 + [("dog", "dog")] * 3
    assert found.skipped == ()


def test_splits_and_groups(photos):
    lines = ["path,label,set,patient"]
    for i, (label, split) in enumerate([("cat", "Training"), ("cat", "valid"), ("dog", "train"), ("dog", "TEST")]):
        lines.append(f"{label}/{label}_{i % 3:03d}.png,{label},{split},p{i // 2}")
    (photos / "list.csv").write_text("\n".join(lines))
    found = scan(photos / "list.csv")
    assert [(p.label, p.split, p.group) for p in found.photos] == [
        ("cat", "train", "p0"), ("cat", "val", "p0"), ("dog", "test", "p1"), ("dog", "train", "p1"),
    ]  # fmt: skip
    assert any("patient as group" in note for note in found.notes)


def test_every_broken_row_is_named_by_its_line(photos):
    broken = "cat/absent.png,cat\ncat/cat_000.png\n\n,cat\ncat/cat_001.png,\ncat/cat_000.png,dog\n"
    (photos / "list.csv").write_text("path,label\n" + rows(photos) + broken)
    found = scan(photos / "list.csv")
    assert len(found.photos) == 5  # a photo with two labels has none
    assert [bad.reason for bad in found.skipped] == [
        "line 8 of list.csv: no such file",
        "line 9 of list.csv: too few cells",
        "line 11 of list.csv: no path",
        "line 12 of list.csv: no label",
        "line 13 of list.csv: listed on line 2 already as 'cat', so its label is not known",
    ]


def test_splits_that_are_unknown_or_lacking(photos):
    text = rows(photos, "{path},{label},train\n").replace("cat_000.png,cat,train", "cat_000.png,cat,trian")
    text = text.replace("dog_000.png,dog,train", "dog_000.png,dog,")
    (photos / "list.csv").write_text("path,label,split\n" + text)
    reasons = [bad.reason for bad in read_table(photos / "list.csv").skipped]
    assert reasons == [
        "line 2 of list.csv: unknown split 'trian' (train, val or test)",
        "list.csv: no split, though other rows have one",
    ]


def test_a_class_whose_files_are_missing_is_not_left_out_silently(photos):
    (photos / "list.csv").write_text("path,label\n" + rows(photos) + "".join(f"owl/{i}.jpg,owl\n" for i in range(3)))
    with pytest.raises(
        DataError, match=r"Most photos of 1 class cannot be read \(3 of 3 of 'owl'\)(.|\n)*no such file"
    ):
        scan(photos / "list.csv")
    assert len(scan(photos / "list.csv", for_training=False).skipped) == 3


def test_a_table_of_missing_files_is_refused(photos):
    (photos / "list.csv").write_text("path,label\n" + "".join(f"a/{i}.jpg,a\n" for i in range(20)))
    with pytest.raises(DataError, match=r"20 of the 20 rows(.|\n)*a/0\.jpg(.|\n)*relative to the table's own folder"):
        scan(photos / "list.csv")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no column 'path'"), ("a,b\n1,2\n", "no column 'path'"), ("path,x,y\n1,2,3\n", "no column 'label'"),
     ("path,label\n", "lists no photos")],
)  # fmt: skip
def test_headers_that_do_not_serve(tmp_path, text, words):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        scan(tmp_path / "list.csv")


def test_a_table_beside_unlabelled_photos_gives_the_labels(photos, tmp_path):
    images = tmp_path / "set" / "images"
    images.mkdir(parents=True)
    for path in photos.rglob("*.png"):
        path.rename(images / path.name)
    names = sorted(p.name for p in images.iterdir())
    lines = "".join(f"images/{name},{name[:3]}\n" for name in names)
    (tmp_path / "set" / "labels.csv").write_text("file,label\n" + lines)
    found = scan(tmp_path / "set")
    assert found.layout == "CSV"
    assert found.name == "set"
    assert {p.label for p in found.photos} == {"cat", "dog"}
    (tmp_path / "set" / "more.csv").write_text("file,label\n" + lines)
    with pytest.raises(DataError, match=r"several tables: labels\.csv, more\.csv"):
        scan(tmp_path / "set")


def test_class_folders_win_over_a_table_beside_them_and_it_is_said(photos):
    (photos / "list.csv").write_text("path,label\n" + rows(photos).replace(",cat", ",lion"))
    found = scan(photos)
    assert {p.label for p in found.photos} == {"cat", "dog"}
    assert any("list.csv" in note for note in found.notes)


def test_the_paths_of_a_table_without_labels(photos):
    (photos / "new.csv").write_text("nr;foto\n1;cat/cat_000.png\n2;dog/dog_001\n3;none.png\n")
    found = listed_paths(photos / "new.csv")
    assert [(name, path.name, path.is_file()) for name, path in found] == [
        ("cat/cat_000.png", "cat_000.png", True), ("dog/dog_001", "dog_001.png", True), ("none.png", "none.png", False),
    ]  # fmt: skip


# -- what ``check`` writes and other programs write --


def table_of(folder, text, name="list.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
    return folder / name


@pytest.fixture
def named(tmp_path, photos):
    """``named(b"a b.png", ...)``: photos with these names, any bytes, in one folder."""
    some = sorted(photos.rglob("*.png"))

    def make(*names):
        for i, name in enumerate(names):
            try:
                shutil.copy(some[i % len(some)], os.path.join(os.fsencode(tmp_path), name))
            except OSError:
                pytest.skip("this file system has no such names")
        return tmp_path

    return make


ODD = [
    b"caf\xe9.png", "café.png".encode(), "cafe\u0301.png".encode(), b"back\\slash.png", b"com,ma.png", b'quo"te.png',
    b"new\nline.png", b" blank.png", b"blank.png ", b"=1+1.png", b"@x.png", b"+x.png", b"-x.png", b"'=x.png", b"'x.png",
    b"\tx.png", b"semi;colon.png",
]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_odd_names_in_a_table_are_those_files(named):
    folder = named(*ODD)
    cells = [name.decode("utf-8", "surrogateescape") for name in ODD]
    quoted = ["'" + c if re.match("'?[=+\\-@\t\r]", c) else c for c in cells]  # as the writer of tables does
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("path", "label"), *((c, f"l{i}") for i, c in enumerate(quoted))])
    found = read_table(table_of(folder, out.getvalue()))
    assert found.skipped == ()
    assert {os.fsencode(p.path.name): p.label for p in found.photos} == {n: f"l{i}" for i, n in enumerate(ODD)}


@pytest.mark.parametrize(
    ("cell", "label"),
    [("'=1+1", "=1+1"), ("'-x", "-x"), ("'@x", "@x"), ("''=x", "'=x"), ("'x", "'x"), ("'", "'"), ("=x", "=x")],
)
def test_the_apostrophe_before_a_formula_is_no_part_of_a_label(photos, cell, label):
    found = read_table(table_of(photos, "path,label\ncat/cat_000.png," + cell + "\ncat/cat_001.png,b\n"))
    assert {p.label for p in found.photos} == {label, "b"}


def test_text_that_is_not_utf_8_is_read_as_windows_1252_cell_by_cell(photos):
    text = "path,label\ncat/cat_000.png,写真\n".encode() + b"cat/cat_001.png,caf\xe9\ncat/cat_002.png,a\x81\n"
    found = read_table(table_of(photos, text + b"dog/dog_000.png,a\x8d\n"))
    assert [p.label for p in found.photos] == ["写真", "café", r"a\x81", r"a\x8d"]


def test_labels_that_are_taken_as_one_are_told(photos):
    found = read_table(table_of(photos, "path,label\ncat/cat_000.png,café\ncat/cat_001.png,cafe\u0301\n"))
    assert {p.label for p in found.photos} == {"café"}
    assert any("taken as one class" in note for note in found.notes)


@pytest.mark.parametrize("path", ["a\0b.png", "x" * 5000, "/".join("y" * 3000), "loop/1.png"])
def test_a_path_that_none_can_be_is_named(photos, path):
    if sys.platform != "win32":
        os.symlink("loop", photos / "loop")
    table = table_of(photos, "path,label\ncat/cat_000.png,a\ncat/cat_001.png,b\n" + path + ",c\n")
    for within in (None, photos):
        found = read_table(table, within)
        assert len(found.photos) == 2
        assert [bad.reason for bad in found.skipped] == ["line 4 of list.csv: no such file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_named_like_a_table_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(DataError, match="neither a folder nor a table"):
        scan(tmp_path / "list.csv")
