"""What files and counts tell: one test per finding, and none where all is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.workflows.check.check import check
from headstart.workflows.check.result import CheckResult

Make = Callable[..., Path]


def found_in(folder: Path, **options: object) -> dict[str, tuple[str, str]]:
    found = check(folder, quick=True, quiet=True, out=folder.parent / "page.html", overwrite=True, **options)
    return {finding.kind: (finding.severity, finding.sentence) for finding in found.findings}


def test_nothing_is_wrong_with_good_photos(scenes: Make) -> None:
    folder = scenes(per_class=20)
    assert found_in(folder) == {}


def test_files_that_cannot_be_read_are_named_with_reasons(scenes: Make) -> None:
    folder = scenes(per_class=20)
    (folder / "cat" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "dog" / "empty.png").write_bytes(b"")
    found = checked(folder)
    assert [(f.kind, f.severity, {path for path, _ in f.files}) for f in found.findings] == [
        ("unreadable", "warning", {"cat/cut.jpg", "dog/empty.png"})
    ]
    assert found.fit


def checked(folder: Path) -> CheckResult:
    return check(folder, quick=True, quiet=True, out=folder.parent / "page.html", overwrite=True)


def test_a_class_that_cannot_be_read_is_an_error(scenes: Make) -> None:
    folder = scenes(per_class=20)
    (folder / "emu").mkdir()
    (folder / "emu" / "a.jpg").write_bytes(b"nothing")
    severity, sentence = found_in(folder)["unreadable"]
    assert severity == "error"
    assert sentence == "Most photos of 1 class cannot be read (1 of 1 of 'emu'): emu/a.jpg: not an image (text inside)"


@pytest.mark.parametrize(
    ("per_class", "severity", "words"),
    [(2, "error", "too few photos for train, val and test"), (12, "warning", "fewer than 20 photos")],
)
def test_few_photos(scenes: Make, per_class: int, severity: str, words: str) -> None:
    told = found_in(scenes(per_class=per_class))["few"]
    assert told[0] == severity
    assert words in told[1]


@pytest.mark.parametrize(("dogs", "severity"), [(70, "note"), (210, "warning")])
def test_uneven_classes(scenes: Make, scene: Callable[[int], Image.Image], dogs: int, severity: str) -> None:
    folder = scenes(per_class=20)
    for i in range(20, dogs):
        scene(1000 + i).resize((40, 30)).save(folder / "dog" / f"more-{i}.png")
    assert found_in(folder)["uneven"] == (severity, f"class imbalance: {dogs} photos of 'dog', 20 of 'cat'")


def test_one_class_is_an_error(scenes: Make) -> None:
    told = found_in(scenes(per_class=20, classes=("cat",)))["classes"]
    assert told[0] == "error"
    assert "one class only" in told[1]


def test_a_class_that_test_lacks_is_a_warning_and_one_that_train_lacks_an_error(scenes: Make) -> None:
    folder = scenes(splits=("train", "test"), per_class=20, classes=("cat", "dog", "emu"))
    for photo in (folder / "test" / "emu").iterdir():
        photo.unlink()
    assert found_in(folder)["missing"] == ("warning", "test holds no photo of 'emu'")
    for photo in (folder / "train" / "dog").iterdir():
        photo.unlink()
    told = found_in(folder)["classes"]
    assert told[0] == "error"
    assert "'dog' is only in test" in told[1]


def test_tiny_long_and_blank_photos(scenes: Make, scene: Callable[[int], Image.Image]) -> None:
    folder = scenes(per_class=20)
    scene(900).resize((24, 18)).save(folder / "cat" / "tiny.png")
    scene(901).resize((900, 100)).save(folder / "cat" / "long.png")
    Image.new("RGB", (160, 120), (90, 90, 90)).save(folder / "dog" / "blank.png")
    found = found_in(folder)
    assert {kind: found[kind][0] for kind in ("tiny", "shape", "blank")} == {
        "tiny": "warning", "shape": "note", "blank": "warning",
    }  # fmt: skip


def test_a_file_type_that_tells_the_class_is_a_warning(scenes: Make) -> None:
    folder = scenes(per_class=20)
    for photo in sorted((folder / "dog").iterdir()):
        Image.open(photo).save(photo.with_suffix(".jpg"))
        photo.unlink()
    found = found_in(folder)
    assert found["giveaway"][1].startswith("spurious correlation: the file type ")
    assert "'dog'" in found["giveaway"][1] or "'cat'" in found["giveaway"][1]


def test_a_size_that_tells_the_largest_class_is_a_warning(scenes: Make, scene: Callable[[int], Image.Image]) -> None:
    folder = scenes(per_class=20)
    for i, photo in enumerate(sorted((folder / "dog").iterdir())):
        scene(500 + i).resize((100 + i, 90 + 2 * i)).save(photo)
    assert "160 x 120 px nearly always means 'cat'" in found_in(folder)["giveaway"][1]


def test_groups_in_several_splits_are_an_error(scenes: Make, tmp_path: Path) -> None:
    folder = scenes(splits=("train", "test"), per_class=20)
    rows = ["path,label,split,group"]
    for photo in sorted(folder.glob("*/*/*")):
        rows.append(f"{photo},{photo.parent.name},{photo.parts[-3]},g{photo.stem[-1]}")
    (tmp_path / "photos.csv").write_text("\n".join(rows))
    severity, sentence = found_in(tmp_path / "photos.csv")["groups"]
    assert severity == "error"
    assert sentence == "10 groups have photos in several splits: g0, g1, g2 and 7 more"


def test_what_was_converted_is_told(scenes: Make) -> None:
    folder = scenes(per_class=20)
    for label in ("cat", "dog"):
        photo = folder / label / f"{label}-3.png"
        Image.open(photo).convert("L").save(photo)
    assert found_in(folder)["converted"] == ("note", "converted while reading: 2 grayscale")


def test_too_few_of_a_value_tell_nothing() -> None:
    from headstart.workflows.check.files import telling

    labels = np.repeat([0, 1], 40)
    assert telling([str(i) for i in range(80)], labels)[0] == 0
    assert telling(["a", "b"] * 40, labels)[0] == 0
    assert telling(["a"] * 40 + [str(i) for i in range(40)], labels) == (0.5, "a", 0)
    assert telling(["a"] * 40 + ["b"] * 10, np.repeat([0, 1], [45, 5]))[0] == 0
