"""Splits: stratified, seeded, honest; every mistake named."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from headstart.data.schema import BadFile, Manifest, Photo, SplitOptions
from headstart.data.split_table import SplitRow, read_splits, write_splits
from headstart.data.splits import split_dataset
from headstart.errors import DataError, OptionError, RunError

ROOT = Path("/photos").absolute()


def manifest(spec, groups=None):
    """``{"cat": 10}`` or ``{("train", "cat"): 10}`` as a manifest; no files are needed."""
    photos = []
    for key, count in spec.items():
        split, label = key if isinstance(key, tuple) else (None, key)
        for i in range(count):
            path = ROOT / (split or "") / label / f"{i}.jpg"
            photos.append(Photo(path, label, split, groups(label, i) if groups else None))
    return Manifest(ROOT, "photos", "class folders", tuple(photos))


def split(found, digests=None, bad=(), **options):
    names = digests or [p.path.as_posix() for p in found.photos]
    return split_dataset(found, names, bad, SplitOptions(**options))


def where(dataset):
    return {s.path: s.split for s in dataset.samples}


def counts(dataset):
    return {name: dataset.counts(name) for name in ("train", "val", "test")}


def test_no_splits_given():
    found = split(manifest({"cat": 1000, "dog": 1000, "panda": 1000}))
    assert counts(found) == {"train": [700] * 3, "val": [150] * 3, "test": [150] * 3}
    assert found.summary == (
        "3 classes, 3000 photos, no splits: 70/15/15 stratified, seed 0 (train 2100, val 450, test 450)"
    )
    assert found.notes == ()


def test_fractions_of_choice():
    found = split(manifest({"cat": 100, "dog": 50}), val=0.1, test=0.3, seed=4)
    assert counts(found) == {"train": [60, 30], "val": [10, 5], "test": [30, 15]}
    assert "60/10/30 stratified, seed 4" in found.summary


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_files():
    photos = manifest({"cat": 40, "dog": 30})
    mixed = list(photos.photos)
    random.Random(0).shuffle(mixed)
    again = Manifest(ROOT, "photos", "class folders", tuple(mixed))
    assert split(again).samples == split(photos).samples
    assert where(split(photos, seed=1)) != where(split(photos))
    assert split(photos).digest == split(again).digest


def test_classes_stand_in_natural_order():
    found = split(manifest({"c10": 5, "c2": 5, "B": 5, "a": 5}))
    assert found.classes == ("a", "B", "c2", "c10")
    assert all(found.classes[s.label] == s.path.parent.name for s in found.samples)


def test_train_and_test_given():
    photos = manifest({("train", "cat"): 100, ("train", "dog"): 60, ("test", "cat"): 9, ("test", "dog"): 7})
    found = split(photos)
    assert counts(found) == {"train": [85, 51], "val": [15, 9], "test": [9, 7]}
    assert found.summary == (
        "2 classes, 176 photos, train and test given: val is 15 % of train, stratified, seed 0 "
        "(train 136, val 24, test 16)"
    )
    assert all(s.split == "test" for s in found.samples if s.path.parts[-3] == "test")


def test_train_and_val_given():
    photos = manifest({(s, label): 20 for s in ("train", "val") for label in ("cat", "dog")})
    found = split(photos)
    assert counts(found) == {"train": [20, 20], "val": [20, 20], "test": [0, 0]}
    assert found.summary == "2 classes, 80 photos, train and val given (train 40, val 40)"
    assert any("no test split" in note for note in found.notes)
    asked = split(photos, test=0.2)
    assert counts(asked) == {"train": [16, 16], "val": [20, 20], "test": [4, 4]}
    assert "test is 20 % of train" in asked.summary


def test_all_three_given_and_an_option_without_effect():
    photos = manifest({(s, label): 4 for s in ("train", "val", "test") for label in ("cat", "dog")})
    found = split(photos, val=0.3)
    assert counts(found) == {"train": [4, 4], "val": [4, 4], "test": [4, 4]}
    assert found.summary == "2 classes, 24 photos, train, val, test given (train 8, val 8, test 8)"
    assert any("`val=0.3` has no effect" in note for note in found.notes)


def test_only_train_given():
    found = split(manifest({("train", "cat"): 20, ("train", "dog"): 20}))
    assert counts(found) == {"train": [14, 14], "val": [3, 3], "test": [3, 3]}
    assert "only train: 70/15/15" in found.summary


def test_no_test_where_none_is_wanted():
    found = split(manifest({"cat": 20, "dog": 20}), test=0)
    assert counts(found) == {"train": [17, 17], "val": [3, 3], "test": [0, 0]}
    assert any("no test split" in note for note in found.notes)


def test_groups_never_straddle():
    photos = manifest({"cat": 60, "dog": 60}, groups=lambda label, i: f"visit {i // 3}")
    found = split(photos)
    splits = {}
    for sample in found.samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert all(len(s) == 1 for s in splits.values())
    assert {len(found.split(s)) for s in ("val", "test")} == {18}


def test_exact_copies_never_straddle():
    photos = manifest({"cat": 40, "dog": 40})
    digests = [f"{p.label}{int(p.path.stem) // 2}" for p in photos.photos]
    found = split(photos, digests)
    splits = {}
    for sample in found.samples:
        splits.setdefault(sample.digest, set()).add(sample.split)
    assert all(len(s) == 1 for s in splits.values())
    assert "40 exact duplicates; duplicates stay in one split" in found.notes


def test_copies_with_other_labels_are_named():
    photos = manifest({"cat": 10, "dog": 10})
    digests = [p.path.as_posix() for p in photos.photos]
    digests[0] = digests[10] = "same"
    assert any("cat/0.jpg (cat) = dog/0.jpg (dog)" in note for note in split(photos, digests).notes)


def test_of_copies_in_given_splits_the_test_copy_stays():
    spec = {(s, label): 10 for s in ("train", "val", "test") for label in ("cat", "dog")}
    photos = manifest(spec)
    digests = [p.path.as_posix() for p in photos.photos]
    index = {p.path.relative_to(ROOT).as_posix(): i for i, p in enumerate(photos.photos)}
    digests[index["train/cat/0.jpg"]] = digests[index["test/cat/3.jpg"]] = "one"
    digests[index["val/dog/1.jpg"]] = digests[index["test/dog/4.jpg"]] = "two"
    digests[index["train/dog/2.jpg"]] = digests[index["val/dog/5.jpg"]] = "three"
    found = split(photos, digests)
    gone = {p.path.relative_to(ROOT).as_posix() for p in photos.photos} - {
        s.path.relative_to(ROOT).as_posix() for s in found.samples
    }
    assert gone == {"train/cat/0.jpg", "val/dog/1.jpg", "train/dog/2.jpg"}
    note = next(n for n in found.notes if "a later split holds the same file" in n)
    assert "3 photos, train/cat/0.jpg (train)" in note


def test_shots_are_nested_and_leave_test_alone():
    photos = manifest({"cat": 100, "dog": 80})
    full, five, ten = split(photos), split(photos, shots=5), split(photos, shots=10)
    assert counts(five) == {"train": [5, 5], "val": [5, 5], "test": full.counts("test")}
    assert counts(ten) == {"train": [10, 10], "val": [10, 10], "test": full.counts("test")}
    assert five.split("test") == ten.split("test") == full.split("test")
    for name in ("train", "val"):
        assert set(five.split(name)) < set(ten.split(name)) < set(full.split(name))
    assert "(10 per class, train 20, val 20, test 27)" in ten.summary


def test_fraction_is_nested_stratified_and_keeps_every_class():
    photos = manifest({"cat": 200, "dog": 20})
    full, tenth, half = split(photos), split(photos, fraction=0.01), split(photos, fraction=0.5)
    assert counts(tenth) == {"train": [1, 1], "val": full.counts("val"), "test": full.counts("test")}
    assert half.counts("train") == [70, 7]
    assert set(tenth.split("train")) < set(half.split("train")) < set(full.split("train"))
    assert "(50 % of train, train 77" in half.summary


def test_bad_photos_are_out():
    photos = manifest({"cat": 10, "dog": 10, "broken": 2})
    digests = [None if p.label == "broken" or p.path.stem == "0" else p.path.as_posix() for p in photos.photos]
    bad = [BadFile(p.path, "truncated") for p, d in zip(photos.photos, digests, strict=True) if d is None]
    found = split(photos, digests, bad)
    assert found.classes == ("cat", "dog")
    assert len(found.samples) == 18
    assert found.bad == tuple(bad)
    with pytest.raises(DataError, match="one class only"):
        split(manifest({"cat": 5, "dog": 1}), ["1", "2", "3", "4", "5", None])
    with pytest.raises(DataError, match="none of the 2 photos"):
        split(manifest({"cat": 1, "dog": 1}), [None, None])


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        ({"cat": 10, "dog": 2}, {}, "'dog' has 2 photos"),
        ({("train", "cat"): 10, ("train", "dog"): 1, ("test", "cat"): 1}, {}, "'dog' has 1 photo"),
        ({"cat": 100, "dog": 10}, {"shots": 8}, "`shots=8`: too few photos in train: 'dog' has 7"),
    ],
)
def test_too_few_photos_are_named_with_class_and_count(spec, options, words):
    with pytest.raises(DataError) as error:
        split(manifest(spec), **options)
    assert words in str(error.value)
    assert error.value.hint


def test_three_photos_of_a_class_suffice():
    assert counts(split(manifest({"cat": 3, "dog": 30}))) == {"train": [1, 21], "val": [1, 5], "test": [1, 4]}


def test_groups_too_few_to_part():
    with pytest.raises(DataError, match="'cat' has 10 photos in 2 groups that cannot be divided"):
        split(manifest({"cat": 10, "dog": 10}, groups=lambda label, i: i % 2 if label == "cat" else None))


def test_a_given_test_may_lack_a_class_and_it_is_said():
    photos = manifest({("train", "cat"): 10, ("train", "dog"): 10, ("test", "cat"): 5})
    assert any("test has no photo of 'dog'" in note for note in split(photos).notes)


@pytest.mark.parametrize(
    "options",
    [{"val": 1.0}, {"test": -0.1}, {"val": 0.5, "test": 0.5}, {"shots": 0}, {"fraction": 0.0}, {"fraction": 1.5},
     {"shots": 1, "fraction": 0.5}, {"seed": -1}, {"val": 0.0}],
)  # fmt: skip
def test_options_without_meaning(options):
    with pytest.raises(OptionError):
        split(manifest({"cat": 20, "dog": 20}), **options)


def test_splits_are_written_and_read(tmp_path):
    photos = manifest({"cat": 10, 'größe, "quoted"': 10}, groups=lambda label, i: f"{label} {i}")
    found = split(photos)
    write_splits(found, tmp_path / "splits.csv")
    rows = read_splits(tmp_path / "splits.csv")
    assert rows == [
        SplitRow(s.path.relative_to(ROOT).as_posix(), found.classes[s.label], s.split, s.digest, s.group)
        for s in found.samples
    ]
    assert Counter(row.split for row in rows) == {"train": 14, "val": 4, "test": 2}
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["splits.csv"]


@pytest.mark.parametrize(
    "text", ["", "a,b\n", "path,label,split,digest,group\nx,y\n", "path,label,split,digest,group\na,b,c,d,\n"]
)
def test_a_file_that_holds_no_splits(tmp_path, text):
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(RunError, match=r"splits\.csv"):
        read_splits(tmp_path / "splits.csv")


# -- small classes --


def long_tail(small=3, large=20, **more):
    return manifest({**{f"small {i}": 2 for i in range(small)}, **{f"large {i}": 10 for i in range(large)}, **more})


def test_small_classes_are_named_with_what_leaving_them_out_costs():
    with pytest.raises(DataError) as caught:
        split(long_tail())
    assert "too few photos to divide into train, val, test, in 3 of 23 classes: 'small 0' has 2 photos" in str(
        caught.value
    )
    assert "leave out 3 classes (6 photos) with `min_per_class=3`" in str(caught.value)


def test_where_nothing_would_be_left_leaving_out_is_not_proposed():
    with pytest.raises(DataError) as caught:
        split(long_tail(3, 1))
    assert "min_per_class" not in str(caught.value)
    with pytest.raises(DataError, match="only 1 class has as many photos"):
        split(long_tail(3, 1), min_per_class=3)


def test_small_classes_are_left_out_on_request_and_the_others_are_divided_as_without_them():
    found, without = split(long_tail(), min_per_class=3), split(long_tail(0))
    assert found.classes == without.classes
    assert where(found) == where(without)
    assert len(found.left_out) == 6
    assert {(p.label, p.reason) for p in found.left_out} == {
        (f"small {i}", "its class has fewer than 3 photos") for i in range(3)
    }
    assert "`min_per_class=3` leaves out 3 of 23 classes, 6 photos: 'small 0' (2)" in found.notes[0]
    assert found.summary == without.summary


def test_photos_of_one_group_and_exact_duplicates_count_once():
    photos = manifest(
        {"cat": 10, "dog": 10, "burst": 10, "copy": 10}, lambda label, i: "one" if label == "burst" else None
    )
    digests = ["same" if p.label == "copy" else p.path.as_posix() for p in photos.photos]
    assert split(photos, digests, min_per_class=3).classes == ("cat", "dog")


def test_of_given_splits_train_counts_and_a_class_that_it_lacks_can_be_left_out():
    photos = manifest(
        {("train", "cat"): 9, ("train", "dog"): 9, ("test", "cat"): 5, ("test", "dog"): 5, ("test", "owl"): 5}
    )
    with pytest.raises(DataError, match=r"'owl' is only in test(.|\n)*`min_per_class=1`"):
        split(photos)
    found = split(photos, min_per_class=1)
    assert (found.classes, counts(found)["test"]) == (("cat", "dog"), [5, 5])


def test_photos_that_are_left_out_are_written_with_a_reason_and_not_read_as_a_split(tmp_path):
    found = split(long_tail(), min_per_class=3)
    write_splits(found, tmp_path / "splits.csv")
    lines = (tmp_path / "splits.csv").read_text().splitlines()
    assert lines[0] == "path,label,split,digest,group,left_out"
    assert sum(line.endswith(",its class has fewer than 3 photos") for line in lines) == 6
    assert len(read_splits(tmp_path / "splits.csv")) == len(found.samples)
