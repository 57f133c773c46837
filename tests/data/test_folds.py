"""Folds: each photo held out once, stratified, units whole, the same for a seed; every mistake named."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from headstart.data.folds import draw_folds, without_val
from headstart.data.schema import Manifest, Photo, SplitDataset, SplitOptions
from headstart.data.split_table import read_splits, write_splits
from headstart.data.splits import split_dataset
from headstart.errors import DataError, OptionError

ROOT = Path("/photos").absolute()


def manifest(spec, group=None):
    """``{"cat": 10}`` or ``{("train", "cat"): 10}`` as a manifest."""
    photos = []
    for key, count in spec.items():
        split, label = key if isinstance(key, tuple) else (None, key)
        for i in range(count):
            path = ROOT / (split or "") / label / f"{i}.jpg"
            photos.append(Photo(path, label, split, group(label, i) if group else None))
    return Manifest(ROOT, "photos", "class folders", tuple(photos))


def divided(found: Manifest, alike=None, **options) -> SplitDataset:
    names = [p.path.as_posix() for p in found.photos]
    return split_dataset(found, names, (), SplitOptions(**{"folds": 5, **options}), alike)


def fold_of(dataset: SplitDataset) -> dict[Path, int | None]:
    return {sample.path: fold for sample, fold in dataset.numbered()}


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_each_photo_is_held_out_once_and_the_others_train_and_choose(folds):
    found = divided(manifest({"cat": 41, "dog": 30}), folds=folds)
    labels = np.array([s.label for s in found.split("train")])
    assert len(labels) == len(found.samples) == 71
    assert sorted(i for fold in found.folds for i in fold.held_out) == list(range(71))
    for fold in found.folds:
        assert sorted((*fold.train, *fold.val, *fold.held_out)) == list(range(71))
        for c, size in enumerate((41, 30)):
            out, val = (np.count_nonzero(labels[list(part)] == c) for part in (fold.held_out, fold.val))
            assert size // folds <= out <= size // folds + 1
            assert abs(val - 0.15 * (size - out)) <= 1


def test_the_draw_is_the_seeds_and_ignores_the_order_of_files():
    photos = manifest({"cat": 40, "dog": 30})
    mixed = Manifest(ROOT, "photos", "class folders", tuple(reversed(photos.photos)))
    assert fold_of(divided(photos)) == fold_of(divided(mixed))
    assert divided(photos).digest == divided(mixed).digest
    assert fold_of(divided(photos)) != fold_of(divided(photos, seed=1))
    assert len({divided(photos, **more).digest for more in ({}, {"seed": 1}, {"folds": 4})}) == 3


def test_groups_and_near_duplicates_stay_in_one_fold_and_on_one_side_of_its_val():
    photos = manifest({"cat": 60, "dog": 60}, lambda label, i: f"{label} {i // 3}" if i < 30 else None)
    alike = [i if i % 60 < 40 else i - i % 2 for i in range(120)]  # the last twenty of each class, two and two
    found = divided(photos, alike)
    key = {p.path: p.group or alike[i] for i, p in enumerate(photos.photos)}
    train = found.split("train")
    for fold in found.folds:
        units = [{key[train[i].path] for i in part} for part in fold]
        assert not units[0] & units[1]
        assert not units[2] & (units[0] | units[1])
    assert any("near-duplicates stay in one split" in note for note in found.notes)


def test_a_given_test_split_stays_what_it_is_and_val_is_divided_with_train():
    given = {(s, c): n for s, n in (("train", 20), ("val", 10), ("test", 7)) for c in ("cat", "dog")}
    found = divided(without_val(manifest(given)))
    assert {s: len(found.split(s)) for s in ("train", "val", "test")} == {"train": 60, "val": 0, "test": 14}
    assert all(fold is None for sample, fold in found.numbered() if sample.split == "test")
    assert Counter(fold_of(found).values()) == {None: 14, **dict.fromkeys(range(1, 6), 12)}
    assert "train and test: 5 folds stratified, seed 0 (train 60, test 14)" in found.summary


def test_no_test_split_is_made_unless_it_is_asked_for():
    without, asked = divided(manifest({"cat": 40, "dog": 40})), divided(manifest({"cat": 40, "dog": 40}), test=0.25)
    assert without.counts("test") == [0, 0]
    assert asked.counts("test") == [10, 10]
    assert len(asked.split("train")) == sum(len(fold.held_out) for fold in asked.folds) == 60
    assert not without.notes  # that there is no test split is no caveat here
    assert "no splits: 5 folds stratified, seed 0 (train 80)" in without.summary
    assert "test is 25 %, 5 folds" in asked.summary


@pytest.mark.parametrize(
    ("spec", "folds", "words"),
    [
        ({"cat": 7, "dog": 30, "owl": 30}, 10, ["'cat' has 7 photos", "use `folds=7`", "1 class (7 photos)", "=10`"]),
        ({"cat": 2, "dog": 30}, 5, ["'cat' has 2 photos", "needs 5 at least: add photos"]),
        ({"cat": 3, "dog": 30}, 2, ["'cat' has 3 photos", "use `folds=3`"]),
        ({"cat": 9, "dog": 4}, 1000, ["in 2 of 2 classes", "use `folds=4`"]),
    ],
)
def test_classes_with_too_few_photos_are_named_with_the_most_folds_that_work(spec, folds, words):
    with pytest.raises(DataError) as caught:
        divided(manifest(spec), folds=folds)
    assert all(part in str(caught.value) for part in words)
    if most := [int(word.split("=")[1].strip("`")) for word in words if word.startswith("use ")]:
        assert len(divided(manifest(spec), folds=most[0]).folds) == most[0]


def test_photos_of_one_group_count_once():
    photos = manifest({"cat": 30, "dog": 30}, lambda label, i: f"cat {i // 10}" if label == "cat" else None)
    with pytest.raises(DataError, match=r"'cat' has 30 photos in 3 groups that cannot be divided(.|\n)*`folds=3`"):
        divided(photos)


def test_groups_that_leave_no_photo_of_a_class_to_train_on_are_an_error():
    labels, unit = ["a", "c", "c", "c", "c", "a", "a"], [3, 3, 0, 0, 1, 2, 1]
    with pytest.raises(DataError, match=r"outside fold 1 no photo of 'a' is left for train: its groups") as caught:
        draw_folds(labels, unit, 3, 0.3, 0)
    assert "train without `folds`" in str(caught.value)


@pytest.mark.parametrize("more", [{"folds": 1}, {"folds": 0}, {"folds": -3}, {"shots": 3}, {"fraction": 0.5}])
def test_options_without_meaning(more):
    with pytest.raises(OptionError, match="folds"):
        SplitOptions(**{"folds": 5, **more})


def test_the_table_of_splits_has_the_fold_of_each_photo(tmp_path):
    found = divided(manifest({"cat": 20, "dog": 20}), test=0.2)
    write_splits(found, tmp_path / "splits.csv")
    assert (tmp_path / "splits.csv").read_text().splitlines()[0] == "path,label,split,digest,group,left_out,fold"
    rows = read_splits(tmp_path / "splits.csv")
    assert {ROOT / row.path: row.fold for row in rows} == fold_of(found)
