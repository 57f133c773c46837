"""Folders as people have them: which level holds the classes, what is no class, and what is said about it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.data.schema import Manifest, ReadOptions
from headstart.data.sources.detect import scan
from headstart.errors import DataError

PHOTO = b"\xff\xd8\xff\xe0 is enough: scanning decodes nothing"
Make = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Make:
    """``tree({"cat": 3, "test/dog/1.nef": b""})``: folders with so many photos, and files with these bytes."""

    def make(what: dict[str, int | bytes], name: str = "photos") -> Path:
        for place, content in what.items():
            path = tmp_path / name / place
            if isinstance(content, bytes):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            else:
                path.mkdir(parents=True, exist_ok=True)
                for number in range(content):
                    (path / f"{number}.jpg").write_bytes(PHOTO)
        return tmp_path / name

    return make


def counts(found: Manifest) -> dict[str, int]:
    """``{"cat": 3}``, or ``{"train cat": 3}`` where there are splits."""
    return dict(Counter(f"{p.split} {p.label}" if p.split else p.label for p in found.photos))


def each(*places: str, photos: int = 3) -> dict[str, int]:
    return dict.fromkeys(places, photos)


BOTH = {"cat": 3, "dog": 3}
SPLIT = {"train cat": 3, "train dog": 3, "test cat": 3, "test dog": 3}
TRAIN = {"train cat": 3, "train dog": 3}
INNER = {"cat": 6, "dog": 6}


def within(*outer: str) -> dict[str, int]:
    return each(*(f"{one}/{label}" for one in outer for label in ("cat", "dog")))


# -- a level of folders that is none of classes --

LAYOUTS: dict[str, tuple[dict[str, int | bytes], dict[str, int], str]] = {
    "twins in splits": (
        within("training_set/training_set", "test_set/test_set"), SPLIT,
        "photos taken from the one folder inside each split: training_set/training_set, test_set/test_set",
    ),
    "a wrapper in each split": (within("train/images", "test/images"), SPLIT, "the one folder inside each split"),
    "a wrapper of another name": (within("train/a/b", "test/c"), SPLIT, "the one folder inside each split"),
    "the word last": (within("seg_train/seg_train", "seg_test/seg_test"), SPLIT, "seg_train/seg_train"),
    "with photos to predict": (
        {**within("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred": 4}, SPLIT,
        "left out, because they are no splits: seg_pred/",
    ),
    "the word first, and in the middle": (within("my-train-photos", "my-test-photos"), SPLIT, ""),
    "words in one": (within("flowersTrain", "flowersTest"), SPLIT, ""),
    "another word in one split only": (within("train", "flowers_test"), SPLIT, ""),
    "years": (within("2023", "2024"), INNER, "classes are the folders inside 2023/ and 2024/: cat, dog"),
    "years without one of the classes": (
        each("2022/cat", "2023/cat", "2023/dog", "2024/dog"), INNER, "inside 2022/, 2023/, 2024/: cat, dog",
    ),
    "years and months": (
        within("2023/01", "2024/02"), INNER, "classes are the folders inside",
    ),
    "days": (within("2024-01-10", "2024-01-11"), INNER, "inside 2024-01-10/ and 2024-01-11/"),
    "cards": (within("100CANON", "101CANON"), INNER, "inside 100CANON/ and 101CANON/"),
    "folds": (within("fold1", "fold2"), INNER, "inside fold1/ and fold2/"),
    "folds of digits": (each("fold1/0", "fold1/1", "fold2/0", "fold2/1"), {"0": 6, "1": 6}, "inside fold1/ and fold2/"),
    "batches with a wrapper": (within("batch 1/images", "batch 2/images"), INNER, "inside batch 1/ and batch 2/"),
    "a stray photo in a year": ({**within("2023", "2024"), "2023/x.jpg": PHOTO}, INNER, "inside 2023/ and 2024/"),
    "years inside classes": (
        each("cat/2023", "cat/2024", "dog/2023", "dog/2024"), INNER, "count as its own: cat/ (2023, 2024)",
    ),
    "views inside classes": (each("cat/front", "cat/side", "dog/front", "dog/side"), INNER, "count as its own"),
    "one folder inside each class": (each("cat/images", "dog/images"), BOTH, "count as its own: cat/ (images)"),
    "a taxonomy": (
        each("animals/cat", "animals/dog", "plants/rose", "plants/tulip"), {"animals": 6, "plants": 6},
        "photos in folders below a class count as its own: animals/ (cat, dog), plants/ (rose, tulip);"
        " `class_folders='inner'` makes these folders the classes",
    ),
    "classes beside annotations": (
        {**within("images"), "annotations/list.txt": b"cat/0.jpg 1"}, BOTH,
        "photos taken from the one folder in it, images/",
    ),
    "classes beside masks": ({**within("images", "masks")}, BOTH, "left out (annotations, by their names): masks/"),
    "classes beside all photos": ({**within("classes"), "all": 6}, BOTH, "left out (no folders in them): all/"),
    "wrappers in wrappers": (within("a/b/c"), BOTH, "photos taken from the one folder in it"),
    "a stray photo beside the wrapper": ({**within("data"), "x.jpg": PHOTO}, BOTH, "one folder in it, data/"),
    "labels in names beside annotations": (
        {f"images/{label}_{i}.jpg": PHOTO for label in ("cat", "dog") for i in range(3)} | {"annotations/x.txt": b"1"},
        BOTH, "images/",
    ),
    "a folder in a class of its name": ({**BOTH, "cat/cat": 2}, {"cat": 5, "dog": 3}, ""),
    "splits inside classes": (each("cat/train", "cat/test", "dog/train", "dog/test"), SPLIT, ""),
    "test beside the classes": (
        {**BOTH, **within("test")}, SPLIT, "test/ hold folders of the classes beside: taken as splits",
    ),
    "test without labels": ({**within("train"), "test": 4}, TRAIN, "test/ has photos without labels (4)"),
    "test/unknown": ({**within("train"), "test/unknown": 4}, TRAIN, "test/unknown/ has photos without labels (4)"),
    "test/test": ({**within("train"), "test/test": 4}, TRAIN, "test/test/ has photos without labels (4)"),
    "test with labels and without": (
        {**within("train", "test"), "test/unlabelled": 4}, SPLIT, "unlabelled/",
    ),
    "unlabelled beside splits": ({**within("train", "test"), "unlabelled": 4}, SPLIT, "no splits: unlabelled/"),
    "unlabelled beside classes": ({**BOTH, "unlabelled_images": 4}, BOTH, "left out (no labels, by their names)"),
    "a card beside classes": ({**BOTH, "100CANON": 4}, BOTH, "left out (no classes, by their names): 100CANON/"),
    "a hidden folder with photos": ({**BOTH, ".net": 4}, BOTH, "hidden folders with photos, left out: .net/"),
    "an empty class": ({**BOTH, "owl": 0}, BOTH, "folders without photos, left out: owl/"),
    "train beside other classes": (
        each("bus", "car", "train/steam", "train/diesel"), {"bus": 3, "car": 3, "train": 6}, "train/ (diesel, steam)",
    ),
    "classes called test and train": (each("test", "control", "train"), {"test": 3, "control": 3, "train": 3}, ""),
    "test and no test": (each("test", "no test"), {"test": 3, "no test": 3}, ""),
    "classes and a test": (each("cat", "dog", "test"), {**BOTH, "test": 3}, "`ignore='test'` leaves such a folder out"),
    "wrappers of one name": (within("a/a/train"), TRAIN, "photos taken from the one folder in it, a/a/"),
    "augmented beside train": (
        within("train", "train_augmented", "test"), SPLIT, "left out, because they are no splits: train_augmented/",
    ),
    "digits": (each("0", "1", "10"), {"0": 3, "1": 3, "10": 3}, ""),
    "a class that is a camera": (each("camera", "phone"), {"camera": 3, "phone": 3}, ""),
    "a class that is unknown": (each("cat", "unknown"), {"cat": 3, "unknown": 3}, ""),
    "birds by number": (each("001.Albatross", "002.Auklet"), {"001.Albatross": 3, "002.Auklet": 3}, ""),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_and_splits_of_a_layout_and_what_is_said(tree: Make, layout: str) -> None:
    made, right, words = LAYOUTS[layout]
    found = scan(tree(made))
    assert counts(found) == right
    assert words in " | ".join(found.notes)
    assert words or found.notes == ()


def test_a_stray_photo_beside_splits_in_a_class_is_named(tree: Make) -> None:
    made = each("cat/train", "cat/test", "dog/train", "dog/test", photos=6)
    found = scan(tree({**made, "cat/stray.jpg": PHOTO}))
    assert counts(found) == dict.fromkeys(SPLIT, 6)
    assert [(b.path.name, b.reason) for b in found.skipped] == [
        ("stray.jpg", "no split: it is beside the split folders")
    ]


REFUSED: dict[str, tuple[dict[str, int | bytes], str]] = {
    "either level": (each("amazon/mug", "amazon/bike", "webcam/mug", "webcam/bike"), "which level are the classes"),
    "either level, in wrappers": (
        each("amazon/images/mug", "amazon/images/bike", "webcam/images/mug", "webcam/images/bike"), "which level",
    ),
    "numbers in numbers": (each("1/1", "1/2", "2/1", "2/2"), "which level are the classes"),
    "years with photos beside": ({**within("2023", "2024"), "misc": 3}, "misc"),
    "a folder that repeats its parent": ({**within("data", "data/data")}, "holds folders of the same names"),
    "classes again in a folder": ({**BOTH, **within("augmented")}, "augmented/ holds folders of the same names"),
    "splits in some classes": ({**each("cat/train", "cat/test"), "dog": 3}, "dog/ not"),
    "cards": (each("100CANON", "101CANON"), "100CANON/ and 101CANON/: folders named by cameras"),
    "cards in DCIM": (each("DCIM/100APPLE", "DCIM/101APPLE"), "folders named by cameras"),
    "days of photos": (each("2024-01-10", "2024-01-11"), "folders named by cameras, phones or dates"),
    "years of photos": (each("2023", "2024"), "folders named by cameras, phones or dates"),
    "months of years": (each("2023/01", "2023/02", "2024/01", "2024/02"), "folders named by cameras"),
    "months of photos": (each("January", "February"), "folders named by cameras, phones or dates"),
    "a card and another folder": (each("DCIM/100CANON", "DCIM/101CANON", "MISC"), "DCIM/: folders named by cameras"),
    "datasets in folds": (within("fold1/train", "fold1/test", "fold2/train", "fold2/test"), "a dataset of its own"),
    "albums of a phone": (each("Camera", "Screenshots"), "folders named by cameras, phones"),
    "Takeout": (each("Photos from 2022", "Photos from 2023"), "folders named by cameras, phones or dates"),
    "images with boxes": ({"images": 3, "labels/0.txt": b"0 .5 .5 1 1"}, "no labels"),
    "images and boxes in splits": (
        {"train/images": 3, "train/labels/0.txt": b"0", "valid/images": 3}, "photos without labels",
    ),
    "splits of images and boxes": ({"images/train": 3, "images/val": 3, "labels/train/0.txt": b"0"}, "labels"),
}  # fmt: skip


@pytest.mark.parametrize("layout", REFUSED)
def test_a_layout_without_clear_classes_is_refused(tree: Make, layout: str) -> None:
    made, words = REFUSED[layout]
    if layout == "years with photos beside":
        with pytest.raises(DataError, match="same names"):
            scan(tree(made))
        return
    with pytest.raises(DataError) as caught:
        scan(tree(made))
    assert words in str(caught.value)


# -- the options that answer --


def read(root: Path, **options: object) -> Manifest:
    return scan(root, options=ReadOptions(**options))  # type: ignore[arg-type]


def test_the_level_of_the_classes_can_be_named(tree: Make) -> None:
    root = tree(within("amazon", "webcam"))
    assert counts(read(root, class_folders="inner")) == INNER
    assert counts(read(root, class_folders="outer")) == {"amazon": 6, "webcam": 6}
    years = tree(each("2023", "2024"), "years")
    assert counts(read(years, class_folders="outer")) == {"2023": 3, "2024": 3}
    taxonomy = tree(each("animals/cat", "animals/dog", "plants/rose"), "taxonomy")
    assert counts(read(taxonomy, class_folders="inner")) == {"cat": 3, "dog": 3, "rose": 3}


@pytest.mark.parametrize("pattern", ["owl", "owl/", "./owl", "ow*", "FULL"])
def test_what_is_to_be_ignored_is_left_out(tree: Make, pattern: str) -> None:
    root = tree({**BOTH, "owl": 3})
    found = read(root, ignore=(str(root / "owl") if pattern == "FULL" else pattern,))
    assert counts(found) == BOTH
    assert found.notes == ("left out as asked: owl",)


def test_a_path_a_glob_and_a_name_at_any_depth_can_be_ignored(tree: Make) -> None:
    root = tree({**BOTH, "cat/raw": 2, "dog/raw": 2, "dog/9.jpg": PHOTO})
    assert counts(read(root, ignore=("raw", "*/9.jpg"))) == BOTH
    assert counts(read(root, ignore=("cat/raw",))) == {"cat": 3, "dog": 6}
    data = tree(within("data", "data/data"), "nested")
    assert counts(read(data, ignore=("data/data",))) == BOTH


def test_a_path_from_here_is_one_below_the_data(tree: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({**BOTH, "owl": 3})
    monkeypatch.chdir(root.parent)
    assert counts(scan("photos", options=ReadOptions(("photos/owl",)))) == BOTH


def test_a_pattern_that_matches_nothing_is_refused(tree: Make) -> None:
    root = tree({**BOTH, "test": 3})
    with pytest.raises(DataError, match=r"`ignore='tset'` matches nothing.*\n.*Did you mean 'test'"):
        read(root, ignore=("tset",))


def test_photos_of_a_table_can_be_ignored(tree: Make) -> None:
    root = tree({**BOTH, "owl": 2})
    rows = "".join(f"{label}/{i}.jpg,{label}\n" for label in ("cat", "dog", "owl") for i in range(2))
    (root / "list.csv").write_text("path,label\n" + rows)
    found = scan(root / "list.csv", options=ReadOptions(("owl",)))
    assert counts(found) == {"cat": 2, "dog": 2}
    assert "left out as asked: 2 photos (owl)" in found.notes
    with pytest.raises(DataError, match="matches no photo"):
        scan(root / "list.csv", options=ReadOptions(("yak",)))


# -- names that cameras give --


@pytest.mark.parametrize(
    "names",
    [
        ("IMG_{}.jpg", "DSC_{}.JPG"), ("PXL_20240110_10{}.jpg", "IMG-20240110-WA00{}.jpg"),
        ("Screenshot_{}.png", "image ({}).png"), ("Screen Shot 2024-01-10 at 10.12.{}.png", "Untitled-{}.png"),
        ("Bildschirmfoto 2024-01-10 um 10.12.{}.png", "photo_{}.jpg"), ("frame_{}.jpg", "scan_{}.jpg"),
        ("WhatsApp Image 2024-01-10 at 10.{}.jpeg", "2024-01-10_{}.jpg"), ("DJI_{}.JPG", "GOPR_{}.JPG"),
        ("train_{}.jpg", "test_{}.jpg"), ("3f2a9c1b44d0_{}.jpg", "MVIMG_{}.jpg"), ("P1010{}.JPG", "DSCN{}.JPG"),
        ("123e4567-e89b-12d3-a456-4266141740{}.jpg", "VID_{}.jpg"),
    ],
)  # fmt: skip
def test_names_that_cameras_give_are_no_labels(tree: Make, names: tuple[str, str]) -> None:
    root = tree({name.format(i): PHOTO for name in names for i in range(10, 16)})
    with pytest.raises(DataError, match="the 12 images in it have no labels"):
        scan(root)


def test_names_of_one_photo_each_are_no_labels(tree: Make) -> None:
    names = ("holiday", "john", "beach", "party", "sunset")
    root = tree({f"{name}_{i}.jpg": PHOTO for i, name in enumerate(names)})
    with pytest.raises(DataError, match="have no labels"):
        scan(root)


def test_labels_in_names_beside_names_that_cameras_give(tree: Make) -> None:
    root = tree({f"{name}_{i}.jpg": PHOTO for name in ("cat", "dog", "IMG") for i in range(3)})
    found = scan(root)
    assert counts(found) == BOTH
    assert {b.path.name for b in found.skipped} == {"IMG_0.jpg", "IMG_1.jpg", "IMG_2.jpg"}


# -- what is no photo --


def test_sidecars_and_what_systems_leave_are_no_bad_files(tree: Make) -> None:
    beside = [
        "0.xmp", "0.jpg.xmp", "0.jpg.pp3", "0.aae", "0.dop", "0.jpg.json", "0.MOV", "1.mp4", "1.MP", "2.nef", "2.cr2",
        "Thumbs.db", "picasa.ini", ".picasa.ini", ".nomedia", "ZbThumbnail.info",
    ]  # fmt: skip
    folders = [
        "@eaDir", "@__thumb", "#recycle", ".thumbnails", ".picasaoriginals", "__MACOSX", ".ipynb_checkpoints",
        "$RECYCLE.BIN", "Previews.lrdata", ".Trash",
    ]  # fmt: skip
    made: dict[str, int | bytes] = {**BOTH, **{f"cat/{name}": b"\0\1" for name in beside}}
    found = scan(tree({**made, **each(*folders), **each(*(f"cat/{one}" for one in folders))}))
    assert counts(found) == BOTH
    assert found.skipped == found.notes == ()


def test_a_film_alone_is_named(tree: Make) -> None:
    found = scan(tree({**BOTH, "cat/film.mp4": b"\0\0\0\x18ftypisom"}))
    assert [b.reason for b in found.skipped] == ["not an image (video inside)"]


def test_raw_photos_are_named_by_kind_and_not_trained_on(tree: Make) -> None:
    found = scan(tree({**BOTH, "cat/a.NEF": b"II*\0", "dog/b.dng": b"MM\0*"}))
    assert counts(found) == BOTH
    assert [(b.path.name, b.reason, b.label) for b in found.skipped] == [
        ("a.NEF", "RAW photo (.nef): export it as JPEG", "cat"),
        ("b.dng", "RAW photo (.dng): export it as JPEG", "dog"),
    ]


@pytest.mark.parametrize("extra", [{}, {"dog/jpg.jpg": PHOTO}])
def test_a_class_of_raw_photos_stops(tree: Make, extra: dict[str, bytes]) -> None:
    root = tree({"cat": 3, **{f"dog/{i}.nef": b"II*\0" for i in range(24)}, **extra})
    with pytest.raises(DataError, match="Most photos of 1 class cannot be read") as caught:
        scan(root)
    assert caught.value.lines == ("24 RAW photos (.nef): export them as JPEG (dog/0.nef, …)",)


# -- what headstart wrote --

OUTPUTS = {
    "a run": ("request.json", "splits.csv", "x.png"),
    "an unfinished run": ("request.json", "state/1.png"),
    "a run of a comparison": ("request.json", "plan.json"),
    "a comparison": ("comparison-request.json", "arms/x/1.png"),
    "a study": ("study.json", "report.html", "pictures/1.png"),
    "an explanation": ("explained.html", "1.png"),
    "a model": ("model.json", "model.safetensors", "1.png"),
}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("place", ["out", "runs/out", "cat/out", "runs/a/b/out"])
def test_what_headstart_wrote_is_no_class(tree: Make, output: str, place: str) -> None:
    made = {f"{place}/{name}": PHOTO if name.endswith(".png") else b"{}" for name in OUTPUTS[output]}
    found = scan(tree({**BOTH, **made, "runs/photos-check.html": b"<html>"}))
    assert counts(found) == BOTH
    assert f"left out, because headstart wrote them: {place}/" in found.notes


def test_what_headstart_predicted_labels_nothing(tree: Make) -> None:
    """The lists of a run in the folder of its photos are no table of these."""
    lists = b"path,label\n../0.jpg,cat\n../1.jpg,dog\n../2.jpg,dog\n"
    run = {"run/request.json": b"{}", "run/splits.csv": b"", "run/predictions.csv": lists}
    with pytest.raises(DataError, match="no labels"):
        scan(tree({"": 3, **run}))
    assert counts(scan(tree({"": 3, "run/predictions.csv": lists}, "theirs"))) == {"cat": 1, "dog": 2}


def test_the_tables_of_a_folder_can_be_ignored(tree: Make) -> None:
    table = {f"{name}/list.csv": b"path,label\n../0.jpg,cat\n../1.jpg,%s\n" % name.encode() for name in ("old", "new")}
    root = tree({"": 2, **table})
    assert counts(scan(root, options=ReadOptions(("old",)))) == {"cat": 1, "new": 1}


def test_what_headstart_wrote_is_no_split_and_no_wrapper(tree: Make) -> None:
    run = {"runs/r/request.json": b"{}", "runs/r/splits.csv": b"", "runs/r/x.png": PHOTO}
    assert counts(scan(tree({**within("train", "test"), **run}))) == SPLIT
    assert counts(scan(tree({**within("data"), **run}, "wrapped"))) == BOTH


def test_a_result_of_headstart_is_not_data(tree: Make) -> None:
    with pytest.raises(DataError, match="is a run, not photos"):
        scan(tree({"request.json": b"{}", "splits.csv": b"", "x.png": PHOTO}))
    with pytest.raises(DataError, match="is a result of headstart, not photos"):
        scan(tree({"explained.html": b"", "x.png": PHOTO}, "why"))


def test_lists_of_check_beside_a_folder_are_no_data_of_their_own(tree: Make) -> None:
    root = tree({"clean-left-out.csv": b"path,label,split,reason\n", "a": 2})
    (root / "clean.csv").write_text("path,label\na/0.jpg,cat\na/1.jpg,dog\n")
    assert counts(scan(root)) == {"cat": 1, "dog": 1}


def test_a_large_folder_is_scanned_quickly(tree: Make) -> None:
    import time

    root = tree({f"{name}/{i % 50}/{i}.{end}": b"x" for name in "abc" for i in range(2000) for end in ("jpg", "bin")})
    began = time.monotonic()
    assert counts(scan(root)) == {"a": 2000, "b": 2000, "c": 2000}
    assert time.monotonic() - began < 10
    assert os.path.isdir(root)
