"""The state of a project: changes, history and undo."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headstart.errors import RunError
from headstart.workbench.store import NewRow, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.add([NewRow(f"photos/{i}.jpg", "cat" if i < 3 else "dog", digest=f"d{i}") for i in range(5)], "Added 5 photos")
    return made


def labels(store: Store) -> list[str | None]:
    return [None if row.left_out else row.label for row in store.photos()]


def test_counts_are_of_classes_and_of_what_has_none(store: Store) -> None:
    store.label([1], None, "")
    store.leave_out([2], "")
    assert store.counts() == {"cat": (1, 1), "dog": (2, 0), None: (1, 0)}


def test_each_change_is_a_line_of_history_and_can_be_undone(store: Store) -> None:
    assert store.label([1, 2], "owl", "Labelled 2 photos owl") == 2
    assert store.leave_out([4, 5], "Left 2 photos out") == 2
    assert labels(store) == ["owl", "owl", "cat", None, None]
    assert store.classes() == ["cat", "dog", "owl"]
    assert store.undo() == "Left 2 photos out"
    assert store.undo() == "Labelled 2 photos owl"
    assert labels(store) == ["cat", "cat", "cat", "dog", "dog"]
    assert store.classes() == ["cat", "dog"]
    assert [line["what"] for line in store.history()] == [
        "Undid: Labelled 2 photos owl", "Undid: Left 2 photos out", "Left 2 photos out", "Labelled 2 photos owl",
        "Added 5 photos",
    ]  # fmt: skip


def test_undo_goes_back_to_nothing_and_says_so(store: Store) -> None:
    assert store.undo() == "Added 5 photos"
    assert labels(store) == [None] * 5
    assert store.undo() is None


def test_a_label_brings_back_what_was_left_out(store: Store) -> None:
    store.leave_out([1], "")
    store.label([1], "dog", "")
    assert labels(store)[0] == "dog"
    store.undo()
    assert store.photos()[0].left_out


def test_what_changes_nothing_is_no_history(store: Store) -> None:
    before = store.revision
    assert store.label([1], "cat", "again") == 0
    assert store.add([NewRow("photos/0.jpg", "cat")], "again") == []
    store.set_classes(["cat", "dog"], None, "again")
    assert store.label([99], "cat", "no such photo") == 0
    assert store.revision == before


def test_a_renamed_class_takes_its_photos_along_and_back(store: Store) -> None:
    store.leave_out([3], "")
    store.set_classes(["kitten", "dog"], ("cat", "kitten"), "Renamed cat")
    assert [row.label for row in store.photos()] == ["kitten"] * 3 + ["dog"] * 2
    store.undo()
    assert [row.label for row in store.photos()] == ["cat"] * 3 + ["dog"] * 2
    assert store.photos()[2].left_out


def test_what_was_kept_is_remembered_and_undone(store: Store) -> None:
    store.keep("label", [1, 2], "Kept 2 photos")
    assert store.kept() == {("label", 1), ("label", 2)}
    store.undo()
    assert store.kept() == set()


def test_two_connections_see_each_other(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path)
    other.label([1], "dog", "in another tab")
    assert store.photos()[0].label == "dog"
    assert store.undo() == "in another tab"
    assert other.photos()[0].label == "cat"


def test_a_change_that_fails_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (labels(store), store.revision)
    monkeypatch.setattr(store, "_add_class", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.label([1], "owl", "")
    assert (labels(store), store.revision) == before


def test_a_newer_or_damaged_file_is_refused(store: Store, tmp_path: Path) -> None:
    store.db.execute("pragma user_version=99")
    with pytest.raises(RunError, match="newer headstart"):
        Store(tmp_path)
    store.close()
    for file in (tmp_path / ".studio").glob("project.sqlite*"):
        file.unlink()
    (tmp_path / ".studio" / "project.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(RunError, match="cannot be read"):
        Store(tmp_path)


def test_the_history_only_grows(store: Store, tmp_path: Path) -> None:
    store.label([1], "dog", "a")
    store.undo()
    lines = sqlite3.connect(tmp_path / ".studio" / "project.sqlite").execute("select n, what from history").fetchall()
    assert lines == [(1, "Added 5 photos"), (2, "a"), (3, "Undid: a")]


def test_a_project_of_an_older_version_is_opened_with_its_photos(tmp_path: Path) -> None:
    (tmp_path / ".studio").mkdir()
    with closing(sqlite3.connect(tmp_path / ".studio" / "project.sqlite")) as old:
        old.execute(
            "create table photos (id integer primary key autoincrement, path text not null unique, label text,"
            " left_out integer not null default 0, split text, digest text, added real not null)"
        )
        old.execute("insert into photos (path, label, split, added) values ('a.png', 'cat', 'val', 1.0)")
        old.execute("pragma user_version = 1")
        old.commit()
    made = Store(tmp_path)
    assert [row[1:] for row in made.photos()] == [("a.png", "cat", False, "val", None)]
    made.add([NewRow("b.png", "cat", group="g1")], "Added 1 photo")
    made.close()
    assert [row.group for row in Store(tmp_path).photos()] == [None, "g1"]


def test_what_is_added_and_brought_back_at_once_is_undone_at_once(store: Store) -> None:
    store.leave_out([2], "Left 1 photo out")
    store.add([NewRow("photos/9.jpg", "dog")], "Added 2 photos to dog", back=[2], label="dog")
    assert store.undo() == "Added 2 photos to dog"
    back, new = store.photo(2), store.photo(6)
    assert back is not None
    assert new is not None
    assert (back.label, back.left_out, new.left_out) == ("cat", True, True)


def test_photos_that_are_not_there_are_not_kept(store: Store) -> None:
    assert store.keep("outliers", [1, 99999], "Kept 2 photos as labelled") == 1
