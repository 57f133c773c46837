"""Scanning: every layout recognised, every mistake named."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from headstart.data.sources.detect import scan
from headstart.data.sources.unlabelled import find_files
from headstart.errors import DataError


def counts(manifest):
    return Counter((p.split, p.label) for p in manifest.photos)


def flatten(folder, to, pattern="{label}.{number}.png"):
    """Move the photos of class folders into one folder of label.number names."""
    to.mkdir(parents=True, exist_ok=True)
    for label in sorted(os.listdir(folder)):
        for number, name in enumerate(sorted(os.listdir(folder / label))):
            shutil.move(folder / label / name, to / pattern.format(label=label, number=number))
    return to


def test_class_folders(class_folder):
    found = scan(class_folder(classes=("cat", "dog", "Panda"), per_class=3))
    assert found.layout == "class folders"
    assert found.name == "photos"
    assert counts(found) == {(None, "cat"): 3, (None, "dog"): 3, (None, "Panda"): 3}
    assert found.skipped == found.notes == ()


@pytest.mark.parametrize("names", [("train", "test"), ("Training_Set", "TEST_SET"), ("training", "testing")])
def test_split_folders_under_usual_names(class_folder, names):
    found = scan(class_folder(splits=names, per_class=2))
    assert counts(found) == {(s, label): 2 for s in ("train", "test") for label in ("cat", "dog")}
    assert found.layout == f"split folders ({', '.join(names)})"


def test_three_split_folders_and_one_that_is_none(class_folder):
    found = scan(class_folder(splits=("train", "valid", "test", "extra"), per_class=2))
    assert {p.split for p in found.photos} == {"train", "val", "test"}
    assert any("extra/" in note for note in found.notes)


def test_a_class_of_trains_is_no_split(class_folder):
    found = scan(class_folder(classes=("bus", "car", "train"), per_class=2))
    assert counts(found) == {(None, "bus"): 2, (None, "car"): 2, (None, "train"): 2}


def test_split_folders_inside_class_folders(class_folder):
    root = class_folder(classes=("train", "val"), splits=("cat", "dog"), per_class=2)
    found = scan(root)
    assert counts(found) == {(s, label): 2 for s in ("train", "val") for label in ("cat", "dog")}


def test_deeper_folders_count_as_their_class(class_folder):
    root = class_folder(per_class=2)
    (root / "cat" / "tabby" / "young").mkdir(parents=True)
    shutil.move(root / "cat" / "cat_000.png", root / "cat" / "tabby" / "young" / "1.png")
    assert counts(scan(root)) == {(None, "cat"): 2, (None, "dog"): 2}


@pytest.mark.parametrize("pattern", ["{label}.{number}.png", "{label}_{number}.png", "{label}-{number}.png"])
def test_one_flat_folder(class_folder, tmp_path, pattern):
    found = scan(flatten(class_folder(per_class=3), tmp_path / "flat", pattern))
    assert found.layout == "file names (label.number.jpg)"
    assert counts(found) == {(None, "cat"): 3, (None, "dog"): 3}


def test_kaggle_dogs_vs_cats(class_folder, tmp_path):
    train = flatten(class_folder(per_class=3), tmp_path / "kaggle" / "train")
    (tmp_path / "kaggle" / "test1").mkdir()
    shutil.copy(train / "cat.0.png", tmp_path / "kaggle" / "test1" / "1.png")
    (tmp_path / "kaggle" / "sampleSubmission.csv").write_text("id,label\n1,0\n")
    found = scan(tmp_path / "kaggle")
    assert counts(found) == {("train", "cat"): 3, ("train", "dog"): 3}
    assert any("test1/ has photos without labels (1)" in note for note in found.notes)


def test_photos_come_in_natural_order(class_folder):
    root = class_folder(classes=("c10", "c2"), per_class=1)
    for number in (10, 9, 1):
        shutil.copy(root / "c2" / "c2_000.png", root / "c2" / f"{number}.png")
    names = [p.path.relative_to(root).as_posix() for p in scan(root).photos]
    assert names == ["c2/1.png", "c2/9.png", "c2/10.png", "c2/c2_000.png", "c10/c10_000.png"]


def test_hidden_and_system_files_are_passed_over_in_silence(class_folder):
    root = class_folder(per_class=2)
    for name in (".git", "__MACOSX", "@eaDir"):
        (root / name).mkdir()
        shutil.copy(root / "cat" / "cat_000.png", root / name / "1.png")
    for name in ("._cat_000.png", ".DS_Store", "Thumbs.db", "notes.txt", "labels.csv", "README"):
        (root / "cat" / name).write_bytes(b"\0\1")
    found = scan(root)
    assert counts(found) == {(None, "cat"): 2, (None, "dog"): 2}
    assert found.skipped == ()


def test_files_are_judged_by_content_where_their_name_is_none_of_an_image(class_folder):
    root = class_folder(per_class=2)
    shutil.copy(root / "cat" / "cat_000.png", root / "cat" / "no-suffix")
    (root / "cat" / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    found = scan(root)
    assert counts(found)[None, "cat"] == 3
    assert [(b.path.name, b.reason) for b in found.skipped] == [("clip.mp4", "not an image (video inside)")]


def test_empty_class_folders_and_loose_photos_are_named(class_folder):
    root = class_folder(per_class=2)
    (root / "zebra").mkdir()
    shutil.copy(root / "cat" / "cat_000.png", root / "loose.png")
    found = scan(root)
    assert any("zebra/" in note for note in found.notes)
    assert [b.path.name for b in found.skipped] == ["loose.png"]


def test_one_inner_folder_is_looked_through(class_folder, tmp_path):
    class_folder(name="download/animals", per_class=2)
    found = scan(tmp_path / "download")
    assert counts(found) == {(None, "cat"): 2, (None, "dog"): 2}
    assert any("animals/" in note for note in found.notes)


def test_composed_and_decomposed_names_are_one_class(class_folder):
    root = class_folder(classes=("café", "dog"), splits=("train",), per_class=2)
    class_folder(classes=("cafe\u0301", "dog"), splits=("test",), per_class=2)
    assert {p.label for p in scan(root).photos} == {"café", "dog"}


def test_classes_that_differ_in_case_only_are_noted(class_folder):
    root = class_folder(classes=("Cat", "cat ", "dog"), per_class=2)
    if len(os.listdir(root)) < 3:
        pytest.skip("this file system does not tell the names apart")
    assert any("'cat'" in note and "'Cat'" in note for note in scan(root).notes)


@pytest.fixture
def link():
    def make(to, place):
        try:
            os.symlink(to, place, target_is_directory=True)
        except OSError:
            pytest.skip("links cannot be made here")

    return make


def test_link_loops_end_and_are_named(class_folder, link):
    root = class_folder(per_class=2)
    link(root, root / "cat" / "loop")
    link(root / "dog", root / "a-dog-again")
    link(root / "nowhere", root / "cat" / "dangling.png")
    found = scan(root)
    assert counts(found) == {(None, "cat"): 2, (None, "dog"): 2}
    assert {(b.path.name, b.reason) for b in found.skipped} == {
        ("loop", "a link to a folder that was read already"),
        ("a-dog-again", "a link to a folder that was read already"),
        ("dangling.png", "a link to nothing"),
    }


@pytest.fixture
def refuse_to_list(monkeypatch):
    """``refuse_to_list("yak")``: the system lets nobody list a folder of that name."""

    def refuse(name):
        real = os.scandir

        def guarded(path):
            if str(path).endswith(name):
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "scandir", guarded)

    return refuse


def test_a_linked_folder_elsewhere_is_read(class_folder, link, tmp_path):
    root = class_folder(per_class=2)
    other = class_folder(name="other", classes=("panda", "yak"), per_class=2)
    link(other / "panda", root / "panda")
    assert counts(scan(root))[None, "panda"] == 2


def test_an_unreadable_folder_is_named_and_the_others_read(class_folder, refuse_to_list):
    root = class_folder(classes=("cat", "dog", "yak"), per_class=2)
    refuse_to_list("yak")
    found = scan(root, for_training=False)
    with pytest.raises(DataError, match=r"Most photos of 1 class cannot be read \(1 of 1 of 'yak'\)"):
        scan(root)
    assert {p.label for p in found.photos} == {"cat", "dog"}
    assert [(b.path.name, b.reason) for b in found.skipped] == [("yak", "folder cannot be read (Permission denied)")]


@pytest.mark.parametrize(
    ("splits", "classes", "words"),
    [(None, ("cat",), "one class only ('cat')"), (("val", "test"), ("cat", "dog"), "no train split")],
)
def test_labels_that_nothing_is_learned_from(class_folder, splits, classes, words):
    root = class_folder(classes=classes, splits=splits, per_class=2)
    with pytest.raises(DataError) as error:
        scan(root)
    assert words in str(error.value)
    assert scan(root, for_training=False).photos


def test_a_class_that_train_lacks_is_named(class_folder):
    root = class_folder(splits=("train", "test"), per_class=2)
    shutil.copytree(root / "test" / "cat", root / "test" / "yak")
    with pytest.raises(DataError, match="'yak' is only in test"):
        scan(root)


def test_no_such_path_suggests_what_is_near(class_folder):
    root = class_folder()
    with pytest.raises(DataError, match="Did you mean"):
        scan(str(root)[:-1] + "z")
    with pytest.raises(DataError, match="Did you mean 'cifar10'"):
        scan("cifar01")
    with pytest.raises(DataError, match="address"):
        scan("https://example.org/photos.zip")


def test_nothing_to_learn_from_is_said_for_what_it_is(tmp_path, draw_photo):
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="no photos in"):
        scan(tmp_path / "void")
    photo = draw_photo(tmp_path / "flat" / "1.png", 0, np.random.default_rng(0))
    with pytest.raises(DataError, match="the 1 images in it have no labels"):
        scan(tmp_path / "flat")
    with pytest.raises(DataError, match="is one photo"):
        scan(photo)
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(DataError, match="neither a folder nor a table nor an archive"):
        scan(tmp_path / "notes.md")
    with pytest.raises(DataError, match="no such folder"):
        scan("x" * 5000)


def test_split_folders_without_labels_are_not_taken_for_classes(tmp_path, draw_photo):
    for split in ("train", "test"):
        draw_photo(tmp_path / "photos" / split / "1.png", 0, np.random.default_rng(0))
    with pytest.raises(DataError, match="without labels"):
        scan(tmp_path / "photos")


@pytest.mark.assets
def test_real_folders(assets):
    found = scan(assets / "data" / "animals")
    assert counts(found) == {(None, label): 1000 for label in ("cats", "dogs", "panda")}
    found = scan(assets / "data" / "dogs-vs-cats")
    assert sum(counts(found).values()) == 4000
    assert {split for split, _ in counts(found)} == {"train", "test"}
    found = scan(assets / "data" / "imagewoof160")
    assert sum(counts(found).values()) == 9025 + 1500
    assert {split for split, _ in counts(found)} == {"train", "val"}


# -- nothing is lost in silence --


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize(
    "links",
    [{"me.png": "me.png"}, {"a": "b", "b": "a"}, {"aa.png": "me/../me", "me": "me"}, {"0.png": "cat_000.png/x"}],
)
def test_a_link_to_itself_costs_no_photo_beside_it(class_folder, links):
    root = class_folder(per_class=3)
    for name, to in links.items():
        os.symlink(to, root / "cat" / name)
    found = scan(root)
    assert counts(found) == {(None, "cat"): 3, (None, "dog"): 3}
    assert {b.path.name for b in found.skipped} == set(links)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_class_that_is_a_link_to_itself_costs_no_other_class(class_folder):
    root = class_folder(per_class=3)
    os.symlink("bird", root / "bird")
    found = scan(root)
    assert counts(found) == {(None, "cat"): 3, (None, "dog"): 3}
    assert [(b.path.name, b.reason) for b in found.skipped] == [("bird", "a link that leads to itself")]


def test_a_link_to_a_folder_above_does_not_lead_out(class_folder, link, tmp_path):
    root = class_folder(per_class=2)
    class_folder(name="other", classes=("yak",), per_class=2)
    for number, above in enumerate((root, tmp_path, Path(tmp_path.anchor))):
        link(above, root / "cat" / f"up{number}")
    found = scan(root)
    assert counts(found) == {(None, "cat"): 2, (None, "dog"): 2}
    assert {b.path.name for b in found.skipped} == {"up0", "up1", "up2"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_named(class_folder):
    root = class_folder(per_class=2)
    os.mkfifo(root / "cat" / "pipe.png")
    found = scan(root)
    assert [(b.path.name, b.reason) for b in found.skipped] == [("pipe.png", "not a file (a pipe, socket or device)")]


def test_folders_nested_beyond_the_limit_of_recursion_are_read(class_folder):
    root = class_folder(per_class=2)
    deep = root / "cat"
    try:
        for _ in range(1200):
            deep = deep / "d"
            deep.mkdir()
    except OSError:
        pytest.skip("this file system has no such paths")
    shutil.copy(root / "cat" / "cat_000.png", deep / "1.png")
    assert counts(scan(root))[None, "cat"] == 3
    (deep / "1.png").unlink()
    os.removedirs(deep)  # shutil.rmtree, which clears the folders of tests, has that limit itself


def test_a_chain_of_folders_with_one_folder_in_each_ends(class_folder, tmp_path):
    root = class_folder(name=os.path.join("outer", *("d" * 300), "photos"), per_class=2)
    with pytest.raises(DataError, match="one class only"):
        scan(tmp_path / "outer")
    assert counts(scan(root)) == {(None, "cat"): 2, (None, "dog"): 2}


@pytest.mark.parametrize("layout", ["classes", "splits", "classes with splits"])
@pytest.mark.parametrize("name", ["loose.png", "loose"])
def test_a_photo_beside_the_folders_is_named_in_every_layout(class_folder, layout, name):
    splits = {"classes": None, "splits": ("train", "test"), "classes with splits": ("cat", "dog")}[layout]
    root = class_folder(classes=("train", "test") if "with" in layout else ("cat", "dog"), splits=splits, per_class=2)
    shutil.copy(next(root.rglob("*.png")), root / name)
    assert [b.path.name for b in scan(root).skipped] == [name]


def test_what_lies_beside_the_one_inner_folder_is_named(class_folder, link, tmp_path):
    class_folder(name="download/animals", per_class=2)
    link("nowhere", tmp_path / "download" / "gone.png")
    assert [b.path.name for b in scan(tmp_path / "download").skipped] == ["gone.png"]


@pytest.fixture
def bytes_folder(class_folder, tmp_path):
    """Class folders whose names are any bytes."""

    def make(*names, per_class=2):
        source = class_folder(name="source", classes=[f"c{i}" for i in range(len(names))], per_class=per_class)
        root = tmp_path / "bytes"
        root.mkdir()
        for i, name in enumerate(names):
            try:
                os.rename(os.fsencode(source / f"c{i}"), os.path.join(os.fsencode(root), name))
            except OSError:
                pytest.skip("this file system has no such names")
        return root

    return make


def test_classes_whose_names_are_not_utf_8_stay_apart(bytes_folder):
    found = scan(bytes_folder(b"caf\xe9", b"caf\xe8", b"ok"))
    assert counts(found) == {(None, r"caf\xe9"): 2, (None, r"caf\xe8"): 2, (None, "ok"): 2}
    assert found.notes == ()


def test_classes_that_are_taken_as_one_are_told(bytes_folder):
    found = scan(bytes_folder("café".encode(), "cafe\u0301".encode(), b"caf\xe9", b"caf\\xe9", b"dog", b"dog "))
    assert counts(found) == {(None, "café"): 4, (None, r"caf\xe9"): 4, (None, "dog"): 4}
    (note,) = found.notes
    assert all(
        words in note for words in (r"'cafe\u0301' and 'caf\xe9'", r"'caf\\xe9' and 'caf\udce9'", "'dog' and 'dog '")
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_photos_to_predict_are_found_or_named(class_folder, link, refuse_to_list):
    root = class_folder(classes=("cat", "dog", "yak"), per_class=2)
    other = class_folder(name="other", classes=("owl",), per_class=1)
    link(other, root / "cat" / "elsewhere")
    link("me.png", root / "cat" / "me.png")
    refuse_to_list("yak")
    found = find_files([root])
    assert {Path(p).relative_to(root).as_posix() for p in found.photos} == {
        "cat/cat_000.png", "cat/cat_001.png", "cat/elsewhere/owl/owl_000.png", "cat/me.png", "dog/dog_000.png",
        "dog/dog_001.png", "yak",
    }  # fmt: skip


def test_a_hidden_folder_with_photos_is_left_out_in_a_word(class_folder, draw_photo):
    root = class_folder(classes=("java", "c++"))
    draw_photo(root / ".net" / "1.png", 0, np.random.default_rng(0))
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("")
    found = scan(root)
    assert {photo.label for photo in found.photos} == {"java", "c++"}
    (note,) = [note for note in found.notes if "hidden" in note]
    assert ".net/" in note
