"""Photos that vanish or change while they are used, where the cache does not hold their pixels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import headstart as hs
from headstart.core.events import EpochEnd, Progress
from headstart.data.images import ChangedPhoto, full_size, read_photos
from headstart.errors import DataError

NAMED = "dog_003.png"


@pytest.fixture
def data(class_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE_GB", "0.000001")  # too small for any pixel: photos are read in every epoch
    return class_folder(splits=("train", "val", "test"))


def vanish(photo: Path) -> None:
    photo.unlink()


def other_size(photo: Path) -> None:
    from PIL import Image

    with Image.open(photo) as image:
        image.resize((31, 90)).save(photo)


def other_content(photo: Path) -> None:
    shutil.copy(photo.with_name("dog_001.png"), photo)


def truncate(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:100])


def become_a_folder(photo: Path) -> None:
    photo.unlink()
    photo.mkdir()


CHANGES = {
    vanish: "was read before, and now cannot be read: No such file",
    other_size: "has changed since it was read",
    other_content: "has changed since it was read",
    truncate: "has changed since it was read",
    become_a_folder: "was read before, and now cannot be read",
}


@pytest.fixture
def finetune(data: Path, weights: Path, tmp_path: Path) -> Callable[..., Any]:
    """``finetune(name, listener=None)``: four epochs into ``tmp_path/name``."""

    def go(name: str, listener: Any = None) -> Any:
        return hs.train(
            data, out=tmp_path / name, backbone="starter", weights=str(weights), strategy="finetune", epochs=4,
            settings={"precision": "float32", "engine": "torch"}, quiet=True, allow_leakage=True, listener=listener,
        )  # fmt: skip

    return go


def after_two_epochs(change: Callable[[], None]) -> Callable[[object], None]:
    return lambda event: change() if isinstance(event, EpochEnd) and event.row.epoch == 2 else None


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_training_names_the_photo_and_goes_on_when_it_is_back(
    finetune: Callable[..., Any], data: Path, tmp_path: Path, split: str
) -> None:
    photo, seen = data / split / "dog" / NAMED, list[int]()
    before, whole = photo.read_bytes(), finetune("whole")
    with pytest.raises(ChangedPhoto) as caught:
        finetune("run", after_two_epochs(photo.unlink))
    assert str(photo) in caught.value.problem
    assert f"hs.resume({str(tmp_path / 'run')!r})" in caught.value.hint
    assert (tmp_path / "run" / "state" / "finetune" / "last.safetensors").exists()
    photo.write_bytes(before)

    def listen(event: object) -> None:
        if isinstance(event, EpochEnd):
            seen.append(event.row.epoch)

    hs.resume(tmp_path / "run", quiet=True, listener=listen)
    assert seen[0] == 3  # not from the beginning
    mine, theirs = (load_file(run / "model.safetensors") for run in (tmp_path / "run", whole.path))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_training_stops_at_every_kind_of_change(
    finetune: Callable[..., Any], data: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    photo = data / "train" / "dog" / NAMED
    with pytest.raises(ChangedPhoto, match=CHANGES[change]) as caught:
        finetune("run", after_two_epochs(lambda: change(photo)))
    assert str(photo) in caught.value.problem


def test_a_photo_that_goes_after_training_costs_no_result(
    class_folder: Callable[..., Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is only shown on the page then, in grey."""
    monkeypatch.setenv("HEADSTART_CACHE_GB", "0.000001")
    data = class_folder(per_class=10)

    def listen(event: object) -> None:
        if isinstance(event, Progress) and event.task == "features of test" and event.done == event.total:
            shutil.rmtree(data / "dog", ignore_errors=True)

    run = hs.train(
        data, out=tmp_path / "run", backbone="starter", weights=str(weights), strategy="probe", quiet=True,
        listener=listen, settings={"precision": "float32"},
    )  # fmt: skip
    assert (run.path / "report.html").exists()
    assert not (data / "dog").exists()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_row_that_is_read_again_is_what_was_read_or_an_error(data: Path, change: Callable[[Path], None]) -> None:
    paths = sorted((data / "train").rglob("*.png"))
    pixels = read_photos(paths, 24)
    assert pixels.store is None
    kept, at = pixels.row(3).copy(), next(i for i, path in enumerate(paths) if path.name == NAMED)
    change(paths[at])
    assert (pixels.row(3) == kept).all()
    with pytest.raises(ChangedPhoto, match=NAMED):
        pixels.row(at)
    assert pixels.picture(at).shape == (24, 24, 3)
    assert (pixels.picture(3) == kept).all()


def test_a_photo_that_cannot_be_decoded_in_full_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.jpg: empty file"):
        full_size(tmp_path / "empty.jpg")
    with pytest.raises(DataError, match=r"gone\.jpg: cannot be read"):
        full_size(tmp_path / "gone.jpg")
