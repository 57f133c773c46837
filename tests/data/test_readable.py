"""What cannot be read: by cause, and when it is too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.readable import by_cause, most_lost, refuse_lost
from headstart.data.schema import BadFile, Manifest, Photo
from headstart.errors import DataError

ROOT = Path("/photos")


def manifest(skipped: int = 0, **classes: int) -> Manifest:
    photos = tuple(Photo(ROOT / label / f"{i}.jpg", label) for label, n in classes.items() for i in range(n))
    raw = tuple(
        BadFile(ROOT / "cat" / f"{i}.nef", "RAW photo (.nef): export it as JPEG", "cat") for i in range(skipped)
    )
    return Manifest(ROOT, "photos", "class folders", photos, raw)


def bad(label: str, count: int, reason: str = "empty file") -> list[BadFile]:
    return [BadFile(ROOT / label / f"{i}.jpg", reason) for i in range(count)]


def test_a_cause_is_told_once() -> None:
    many = bad("cat", 12, "HEIC photo: install pillow-heif, or convert it to JPEG")
    cut = [BadFile(ROOT / f"{i}.jpg", f"truncated after {i} of 99 bytes") for i in range(5)]
    assert by_cause([*cut, *many, *bad("dog", 2)], ROOT) == [
        "12 HEIC photos: install pillow-heif, or convert them to JPEG (cat/0.jpg, …)",
        "5 files: truncated after 0 of 99 bytes (0.jpg, …)",
        "dog/0.jpg: empty file",
        "dog/1.jpg: empty file",
    ]


@pytest.mark.parametrize(
    ("lost", "raw", "stops"), [(0, 0, False), (5, 0, False), (6, 0, True), (10, 0, True), (0, 10, False), (0, 11, True)]
)
def test_more_than_half_of_a_class_stops(lost: int, raw: int, stops: bool) -> None:
    found = most_lost(manifest(raw, cat=10, dog=10), bad("cat", lost))
    assert bool(found) == stops


def test_the_message_counts_classes_and_causes() -> None:
    with pytest.raises(DataError) as caught:
        refuse_lost(manifest(12, cat=2, dog=10, owl=2), [*bad("owl", 2), *bad("dog", 3)])
    assert caught.value.problem == ("Most photos of 2 classes cannot be read (12 of 14 of 'cat', 2 of 2 of 'owl'):")
    assert caught.value.lines == (
        "12 RAW photos (.nef): export them as JPEG (cat/0.nef, …)",
        "5 files: empty file (owl/0.jpg, …)",
    )
