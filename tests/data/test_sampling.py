"""The sample: stratified, seeded, blind to a test split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from headstart.data.sampling import choosable, sampled
from headstart.data.schema import Manifest, Photo
from headstart.errors import DataError


def manifest(**counts: int) -> Manifest:
    photos = [Photo(Path(f"{label}{i}"), label) for label, count in counts.items() for i in range(count)]
    return Manifest(Path(), "drawn", "class folders", tuple(photos))


def counted(found: Manifest) -> dict[str, int]:
    return dict(Counter(photo.label for photo in found.photos))


def test_classes_in_proportion_but_none_forgotten() -> None:
    assert counted(sampled(manifest(a=600, b=380, c=20), 100, 0)) == {"a": 60, "b": 38, "c": 5}
    assert counted(sampled(manifest(a=600, b=3), 100, 0)) == {"a": 99, "b": 3}


def test_small_data_is_taken_whole_and_in_its_order() -> None:
    every = manifest(a=7, b=9)
    assert sampled(every, 1000, 0) == every


def test_the_seed_decides() -> None:
    every = manifest(a=50, b=50)
    assert sampled(every, 20, 1) == sampled(every, 20, 1) != sampled(every, 20, 2)
    order = [every.photos.index(photo) for photo in sampled(every, 20, 1).photos]
    assert order == sorted(order)


def test_a_test_split_is_not_looked_at() -> None:
    photos = tuple(Photo(Path(f"{split}{i}"), "a", split) for split in ("train", "val", "test") for i in range(2))  # type: ignore[arg-type]
    found = choosable(Manifest(Path(), "drawn", "split folders", photos))
    assert [str(photo.path) for photo in found.photos] == ["train0", "train1", "val0", "val1"]


@pytest.mark.parametrize(
    ("counts", "words"),
    [({"a": 9}, "photos of 1 class"), ({"a": 9, "b": 1}, "'b': one photo only")],
    ids=str,
)
def test_what_cannot_be_judged(counts: dict[str, int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        sampled(manifest(**counts), 10, 0)
