"""Tables as different programs write them: encodings, delimiters, comments, JSON, and kinds that are named."""

from __future__ import annotations

import json

import pytest
from helpers.tables import BOTH, ROWS, counts, photos, table, text

from headstart.data.sources.detect import scan
from headstart.errors import DataError

NAMED = {"Käfer": 12, "dog": 12}


@pytest.fixture
def folder(tmp_path):
    return photos(tmp_path)


def lines(separator=",", end="\n", header="path{0}label", label="Käfer"):
    rows = [f"{r.name}.png{separator}{label if r.label == 'cat' else 'dog'}" for r in ROWS]
    return end.join([header.format(separator), *rows]) + end


@pytest.mark.parametrize(
    ("content", "encoding", "note"),
    [
        (lines(), "utf-8", None),
        (lines(end="\r\n"), "utf-8-sig", None),
        (lines("\t"), "utf-16", None),
        (lines(), "utf-16-le", "UTF-16"),
        (lines(";"), "utf-16-be", "UTF-16"),
        (lines(";"), "cp1252", "Windows-1252 where it is not UTF-8"),
        ("sep=;\n" + lines(";"), "utf-8-sig", None),
        ('"sep=|"\r\n' + lines("|", "\r\n"), "utf-8", None),
        ("# made in 2020, by X\n#\n\n" + lines(), "utf-8", None),
        (lines().replace("\n", ",,\n") + ",,,\n , ,\n\n", "utf-8", None),
        (lines(header='"path"{0}"label, as seen"'), "utf-8", None),
    ],
)
def test_texts(folder, content, encoding, note):
    found = scan(text(folder / "list.csv", content, encoding))
    assert counts(found) == NAMED
    assert found.skipped == ()
    assert [n for n in found.notes if "read as" in n] == ([f"list.csv is read as {note}"] if note else [])


def test_comments_between_rows_and_breaks_in_cells(folder):
    content = 'path,label,remark\n# the cats\nc000.png,cat,"two\nlines"\nc001.png,cat,x\n# the dogs\nd000.png,dog,\n'
    found = scan(text(folder / "list.csv", content))
    assert counts(found) == {"cat": 2, "dog": 1}
    assert "list.csv: 2 lines that begin with # left out, as comments" in found.notes


@pytest.mark.parametrize(
    ("changes", "line", "after"),
    [
        ({5: ',"unclosed note', 20: ',a 5" one'}, 7, 15),
        ({5: ',"unclosed note'}, 7, 18),  # to the end of the file
        ({5: ',"unclosed note', 20: ',"closed" here'}, 7, 15),
        ({5: ',"unclosed note', 20: ',5"'}, 7, 15),  # closed where a cell may end: nothing is wrong but what it holds
        ({23: ',"unclosed'}, 25, 0),
        ({5: f',"{"x" * 200_000}'}, 7, 0),  # more than a cell may hold
    ],
)
def test_a_quotation_mark_that_takes_in_rows_is_named(folder, changes, line, after):
    rows = [f"{r.name}.png,{r.label}{changes.get(i, ',')}" for i, r in enumerate(ROWS)]
    path = text(folder / "list.csv", "path,label,remark\n" + "\n".join(rows) + "\n")
    words = f"line {line} of .*list.csv: a quotation mark is not closed" + (
        f", .* the {after} lines" if after else r"\n"
    )
    with pytest.raises(DataError, match=words) as error:
        scan(path)
    assert '""' in error.value.hint


def test_quotes_that_only_look_odd_are_read(folder):
    rows = [f'"{r.name}.png" ,{r.label},5" or "6"' for r in ROWS[1:]]
    long = '"a cat,\nwhich is grey, and\nold"'
    path = text(
        folder / "list.csv", "\n".join(["path,label,remark", f"{ROWS[0].name}.png,{ROWS[0].label},{long}", *rows])
    )
    assert sum(counts(scan(path)).values()) == len(ROWS)


def test_decimal_commas(folder):
    path = text(folder / "list.csv", "path;label;w\n" + "".join(f"{r.name}.png;{r.label};{r.number},5\n" for r in ROWS))
    assert counts(scan(path)) == BOTH


@pytest.mark.parametrize("name", ["train.txt", "list.lst"])
def test_lists_of_names_and_labels(folder, name):
    path = text(folder / name, "".join(f"{r.name}.png {int(r.label == 'cat')}\n" for r in ROWS))
    for data in (path, folder):
        assert counts(scan(data)) == {"0": 12, "1": 12}


def test_other_texts_are_no_tables(folder):
    text(folder / "README.txt", "These are photos\nof cats, and of dogs\n")
    with pytest.raises(DataError, match="have no labels"):
        scan(folder)


OBJECTS = [{"file_name": f"{r.name}.png", "label": r.label} for r in ROWS]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".jsonl", "\n".join(map(json.dumps, OBJECTS))),
        (".ndjson", "\r\n".join(json.dumps({**one, "box": {"x": [1]}, "n": None}) for one in OBJECTS) + "\r\n\r\n"),
        (".json", json.dumps(OBJECTS, indent=1)),
        (".json", json.dumps({"data": OBJECTS})),
        (".json", json.dumps({one["file_name"]: one["label"] for one in OBJECTS})),
        (".json", json.dumps({one["file_name"]: {"class": one["label"]} for one in OBJECTS})),
        (".json", json.dumps({key: [one[key] for one in OBJECTS] for key in ("file_name", "label")})),
    ],
)
def test_json(folder, suffix, content):
    found = scan(text(folder / f"list{suffix}", content))
    assert counts(found) == BOTH
    assert found.layout == "JSON"


def test_a_damaged_line_of_json_is_named(folder):
    lines = [json.dumps(one) for one in OBJECTS]
    lines[6] = '{"file_name": '
    with pytest.raises(DataError, match=r"not JSON that can be read \(line 7: Expecting value at character 15\)"):
        scan(text(folder / "list.jsonl", "\n".join(lines)))


def test_numbers_as_labels_in_json(folder):
    content = "\n".join(json.dumps({**one, "label": int(one["label"] == "cat")}) for one in OBJECTS)
    assert counts(scan(text(folder / "metadata.jsonl", content))) == {"0": 12, "1": 12}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"images": [{"file_name": "c000.png"}], "annotations": [{"bbox": [1, 2, 3, 4]}]}, "boxes and outlines (COCO)"),
        ({"c000.png1": {"filename": "c000.png", "regions": []}}, "regions (VIA)"),
        ({"_via_img_metadata": {}, "_via_settings": {}}, "regions (VIA)"),
        ([{"id": 1, "data": {"image": "c000.png"}, "annotations": []}], "annotations (Label Studio)"),
        ({"shapes": [], "imagePath": "c000.png", "version": "5"}, "outlines (LabelMe)"),
        ([{"image": "c000.png", "annotations": []}], "boxes (CreateML)"),
        ({one["file_name"]: [one["label"], "pet"] for one in OBJECTS}, "look like several labels per photo"),
        ([1, 2], "not a list of photos"),
        ("a", "not a list of photos"),
        ([], "not a list of photos"),
        ({"a": 1, "b": "c"}, "2 of the 2 rows of"),
    ],
)
def test_json_of_other_kinds(folder, content, words):
    with pytest.raises(DataError) as error:
        scan(text(folder / "list.json", json.dumps(content)))
    assert words in str(error.value)


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}\n{"a', "[" * 100_000, "nul", "9" * 5000])
def test_damaged_json(folder, content):
    with pytest.raises(DataError):
        scan(text(folder / "list.json", content))


@pytest.mark.parametrize(
    ("name", "words"),
    [("list.xlsx", "an Excel file"), ("list.XLS", "an Excel file"), ("list.ods", "OpenDocument")],
)
def test_spreadsheets_are_named(folder, name, words):
    (folder / name).write_bytes(b"PK\3\4 something")
    for data in (folder / name, folder):
        with pytest.raises(DataError, match=words) as error:
            scan(data)
        assert "Save it as CSV" in error.value.hint


def test_parquet(folder):
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        text(folder / "metadata.parquet", "PAR1")
        for data in (folder / "metadata.parquet", folder):
            with pytest.raises(DataError, match="needs pyarrow") as error:
                scan(data)
            assert error.value.hint == 'pip install "headstart[parquet]"'
        return
    parquet.write_table(pa.Table.from_pylist(OBJECTS), folder / "metadata.parquet")
    assert counts(scan(folder)) == BOTH
    rows, digest = pa.Table.from_pylist(OBJECTS), pa.array([bytes(16)] * len(OBJECTS), pa.binary(16))
    parquet.write_table(rows.append_column("md5", digest), folder / "metadata.parquet")  # bytes, but no photos
    assert counts(scan(folder)) == BOTH
    inside = [{"image": {"bytes": b"x", "path": f"{n}.png"}, "label": n} for n in range(4)]  # shards, not a table
    parquet.write_table(pa.Table.from_pylist(inside), folder / "photos.parquet")
    assert len(scan(folder / "photos.parquet").photos) == 4
    (folder / "photos.parquet").unlink()
    text(folder / "metadata.parquet", "PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        scan(folder / "metadata.parquet")


def test_an_empty_row_and_a_short_one(folder):
    path = table(folder / "list.csv", "path,label", lambda r: (f"{r.name}.png", r.label))
    with open(path, "a") as file:
        file.write("\n,\nx.png\n")
    assert [bad.reason for bad in scan(path).skipped] == ["line 28 of list.csv: too few cells"]
