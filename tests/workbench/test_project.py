"""Projects as folders: photos, labels.csv, and data that was there before."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import headstart as hs
from headstart.data.sources.detect import scan
from headstart.errors import DataError, OptionError
from headstart.workbench.project import Project, class_name, describe


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "pets")


def content(grey: int = 100, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8), grey).save(out, kind)
    return out.getvalue()


def table(project: Project) -> dict[str, str]:
    with project.table.open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["label"] for row in csv.DictReader(file)}


def test_a_dropped_photo_lies_in_the_folder_of_its_class(project: Project) -> None:
    assert project.drop([("a photo.png", content())], "cat") == ([1], [])
    assert (project.folder / "photos" / "cat" / "a photo.png").read_bytes() == content()
    project.write_table()
    assert table(project) == {"photos/cat/a photo.png": "cat"}


def test_names_never_collide_nor_leave_the_project(project: Project) -> None:
    for grey, name in enumerate(["x.png", "x.png", "../../x.png", "..\\x.png", "con.png", ".png", "a\nb.png", ""]):
        ids, refused = project.drop([(name, content(grey))], "../up")
        assert ids, refused
    files = [path for path in project.folder.parent.rglob("*") if path.is_file() and ".studio" not in path.parts]
    own = (project.folder / "photos").resolve()
    assert len([f for f in files if f.resolve().is_relative_to(own)]) == 8
    assert {f.name for f in files if not f.resolve().is_relative_to(own)} == {"labels.csv"}


def test_the_same_file_is_taken_once(project: Project) -> None:
    ids, refused = project.drop([("a.png", content()), ("same.png", content())], "cat")
    assert (ids, [name for name, _ in refused]) == ([1], ["same.png"])
    assert project.drop([("b.png", content())], "dog")[0] == []


def test_photos_dropped_at_once_are_undone_at_once_and_can_be_dropped_again(project: Project) -> None:
    files = [(f"{grey}.png", content(grey)) for grey in range(3)]
    project.drop(files, "cat")
    assert project.store.undo() == "Added 3 photos to cat"
    assert project.store.counts()["cat"] == (0, 0)
    assert project.drop(files, "dog") == ([1, 2, 3], [])
    assert project.store.counts()["dog"] == (3, 0)
    assert len(list((project.folder / "photos").rglob("*.png"))) == 3


def test_photos_that_were_there_stay_and_are_read_again(photos: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(photos, tmp_path / "photos"))  # those of the session stay as they are
    before = sorted((path, path.stat().st_mtime_ns) for path in photos.rglob("*"))
    project = Project.create(tmp_path / "mine", str(photos))
    assert {row.label for row in project.store.photos()} == {"cat", "dog", "owl"}
    project.store.label([1], "dog", "")
    project.store.leave_out([2], "")
    project.write_table()
    assert sorted((path, path.stat().st_mtime_ns) for path in photos.rglob("*")) == before
    assert project.catch_up() == 0
    shutil.copy(next(photos.rglob("*.png")), photos / "owl" / "late.png")
    assert project.catch_up() == 1
    assert table(project)[str(photos / "owl" / "late.png")] == "owl"


def test_splits_of_the_data_are_kept(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "split"
    shutil.copytree(photos, data / "train")
    shutil.copytree(photos, data / "test")
    project = Project.create(tmp_path / "mine", str(data))
    with project.table.open(encoding="utf-8", newline="") as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"train", "test"}


def test_photos_without_classes_have_no_label(photos: Path, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    for number, photo in enumerate(sorted(photos.rglob("*.png"))):
        shutil.copy(photo, loose / f"{number}.png")
    project = Project.create(tmp_path / "mine", str(loose))
    assert {row.label for row in project.store.photos()} == {None}
    assert table(project) == {}


def test_data_without_photos_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data in ("empty", "nowhere"):
        with pytest.raises(DataError):
            Project.create(tmp_path / "mine", str(tmp_path / data))
        assert not (tmp_path / "mine").exists()
    Project.create(tmp_path / "mine")
    with pytest.raises(OptionError, match="exists"):
        Project.create(tmp_path / "mine")


def test_a_table_that_was_edited_is_taken_over(project: Project) -> None:
    for grey, label in enumerate(("cat", "cat", "dog", "dog")):
        project.drop([(f"{grey}.png", content(grey))], label)
    project.write_table()
    rows = project.table.read_text().splitlines()
    rows[1] = rows[1].replace(",cat", ",dog")
    (project.folder / "new.png").write_bytes(content(200))
    project.table.write_text("\n".join([*rows[:-1], "new.png,owl"]) + "\n")
    assert project.catch_up() == 3
    assert [(row.label, row.left_out) for row in project.store.photos()] == [
        ("dog", False), ("cat", False), ("dog", False), ("dog", True), ("owl", False),
    ]  # fmt: skip
    assert project.catch_up() == 0


def test_photos_on_a_disk_that_is_not_there_stay_in_the_project(project: Project, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "disk")
    mine = Project.create(tmp_path / "mine", str(tmp_path / "disk"))
    rows = mine.table.read_text().splitlines()
    (tmp_path / "disk" / "owl").rename(tmp_path / "elsewhere")
    mine.table.write_text("\n".join(["path,label", *sorted(rows[1:], reverse=True)]) + "\n")
    assert mine.read_edits() == 0
    assert not any(row.left_out for row in mine.store.photos())
    (tmp_path / "disk").rename(tmp_path / "disk-2")
    mine.table.write_text("\n".join([rows[0], *reversed(rows[1:])]) + "\n")
    with pytest.raises(DataError, match="no such file"):  # rather than to write over what was edited
        mine.read_edits()


def test_an_archive_is_copied_into_the_project(photos: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "pets"), "zip", photos)
    project = Project.create(tmp_path / "mine", archive)
    assert len(table(project)) == len(list(photos.rglob("*.png")))
    assert all((project.folder / path).is_file() and not path.startswith("/") for path in table(project))


def test_photos_of_shards_are_copied_into_the_project(photos: Path, tmp_path: Path) -> None:
    hs.pack(photos, tmp_path / "shards", quiet=True)
    project = Project.create(tmp_path / "pets", str(tmp_path / "shards"))
    found = scan(project.table, for_training=False).photos
    assert len(found) == 36
    assert {(one.label, one.path.read_bytes()) for one in found} == {
        (path.parent.name, path.read_bytes()) for path in photos.rglob("*.png")
    }
    assert project.catch_up() == 0


def test_classes_are_added_renamed_joined_and_removed(project: Project) -> None:
    project.add_class("  big \t cat ")
    project.add_class("dog")
    project.drop([("a.png", content())], "big cat")
    assert project.store.classes() == ["big cat", "dog"]
    with pytest.raises(OptionError, match="already"):
        project.add_class("dog")
    with pytest.raises(OptionError, match="has photos"):
        project.remove_class("big cat")
    project.rename_class("big cat", "dog")
    assert project.store.classes() == ["dog"]
    assert table(project) == {"photos/big cat/a.png": "dog"}
    project.store.undo()
    assert project.store.classes() == ["big cat", "dog"]
    project.remove_class("dog")
    assert project.store.classes() == ["big cat"]
    for call in (lambda: project.remove_class("owl"), lambda: project.rename_class("owl", "x")):
        with pytest.raises(OptionError, match="no class"):
            call()


@pytest.mark.parametrize("name", ["", "  ", "\0", "x" * 81, "a\x1bb", "cat|dog", "a\u202eb"])
def test_what_is_no_name_of_a_class(name: str) -> None:
    with pytest.raises(OptionError):
        class_name(name)


def test_paths_are_found_as_tables_write_them(project: Project) -> None:
    project.drop([("a.png", content())], "cat")
    relative, absolute = "photos/cat/a.png", str(project.folder / "photos" / "cat" / "a.png")
    assert project.find([relative, absolute, "b.png"]) == {relative: 1, absolute: 1}


def test_the_sample_is_a_project_like_others(tmp_path: Path) -> None:
    project = Project.sample(tmp_path / "digits")
    told = describe(project)
    assert [one["name"] for one in told["classes"]] == [str(digit) for digit in range(10)]
    assert len(table(project)) == 300


def test_headstart_reads_the_table(project: Project, draw_photo: Callable[..., Path], tmp_path: Path) -> None:
    import numpy as np

    from headstart.data.sources.detect import scan

    for number in range(4):
        photo = draw_photo(tmp_path / f"{number}.png", number % 2, np.random.default_rng(number))
        project.drop([(photo.name, photo.read_bytes())], ("001", "None")[number % 2])
    project.write_table()
    assert sorted(photo.label for photo in scan(project.table).photos) == ["001", "001", "None", "None"]


@pytest.mark.parametrize("name", ["می\u200cخواهم", "👨\u200d👩\u200d👧", "a/b", "=1+1"])
def test_names_of_every_language_are_names_of_a_class(name: str) -> None:
    assert class_name(name) == name


def test_a_class_of_the_data_keeps_its_name(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "cat", tmp_path / "data" / "red  fox")
    shutil.copytree(photos / "dog", tmp_path / "data" / "dog")
    project = Project.create(tmp_path / "pets", str(tmp_path / "data"))
    project.drop([("new.png", content())], "red  fox")
    assert project.store.classes() == ["dog", "red  fox"]
    assert project.store.counts()["red  fox"] == (13, 0)


def test_photos_that_are_added_to_data_with_splits_are_for_training(
    class_folder: Callable[..., Path], tmp_path: Path
) -> None:
    data = class_folder(splits=("train", "val", "test"), per_class=3)
    project = Project.create(tmp_path / "pets", str(data))
    project.drop([("new.png", content())], "cat")
    project.write_table()
    found = scan(project.table, for_training=False).photos
    assert [photo.split for photo in found if photo.path.name == "new.png"] == ["train"]
    assert {photo.split for photo in found} == {"train", "val", "test"}


def test_groups_and_splits_of_a_table_are_kept(project: Project) -> None:
    project.drop([(f"{grey}.png", content(grey)) for grey in range(4)], "cat")
    project.write_table()
    lines = [f"photos/cat/{i}.png,cat,{'test' if i else 'train'},g{i // 2}" for i in range(4)]
    project.table.write_text("path,label,split,group\n" + "\n".join(lines) + "\n", encoding="utf-8")
    assert project.read_edits() == 4
    project.drop([("5.png", content(5))], "cat")
    project.write_table()
    assert project.table.read_text(encoding="utf-8").splitlines() == [
        "path,label,split,group", *lines, "photos/cat/5.png,cat,train,"
    ]  # fmt: skip


def test_a_photo_whose_file_is_gone_or_another_can_be_dropped_again(project: Project) -> None:
    project.drop([("a.png", content(1)), ("b.png", content(2))], "cat")
    place = project.folder / "photos" / "cat"
    (place / "a.png").unlink()
    (place / "b.png").write_bytes(content(9))
    assert project.drop([("a.png", content(1)), ("b.png", content(2))], "cat") == ([3, 1], [])
    assert (place / "a.png").read_bytes() == content(1)
    assert {(place / "b.png").read_bytes(), (place / "b-2.png").read_bytes()} == {content(9), content(2)}
    assert project.drop([("a.png", content(1))], "cat")[0] == []


def test_a_full_disk_leaves_no_file_of_a_drop(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.workbench import project as module

    real = module._write_new

    def full(place: Path, name: str, held: bytes) -> Path:
        if name == "b.png":
            raise OSError(28, "No space left on device")
        return real(place, name, held)

    monkeypatch.setattr(module, "_write_new", full)
    with pytest.raises(OSError, match="No space left"):
        project.drop([("a.png", content(1)), ("b.png", content(2))], "cat")
    assert not list((project.folder / "photos").rglob("*.png"))
    assert project.store.photos() == []


def test_a_name_that_is_longer_than_file_systems_allow(project: Project) -> None:
    ids, refused = project.drop([("x." + "🐈" * 190, content(1)), ("y" * 300 + ".png", content(2))], "cat")
    assert (len(ids), refused) == (2, [])
    assert {len(file.name.encode()) < 256 for file in (project.folder / "photos" / "cat").iterdir()} == {True}
