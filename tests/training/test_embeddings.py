"""Photos before training, as a backbone sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.options import TrainOptions
from headstart.prepare import prepare
from headstart.run import make_task
from headstart.survey import survey
from headstart.training.strategies import pooled_features
from headstart.voice import Voice


@pytest.fixture
def options(class_folder: Callable[..., Path]) -> TrainOptions:
    folder = class_folder(classes=("cat", "dog", "emu"), per_class=8)
    (folder / "cat" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    return TrainOptions(str(folder), backbone="starter", strategy="probe", val=0.25, test=0.25)


def test_features_are_those_that_a_probe_trains_on(options: TrainOptions, tmp_path: Path) -> None:
    seen = survey(options, Voice(quiet=True))
    prepared = prepare(options, Voice(quiet=True))
    where = {seen.photo(i).path: i for i in range(len(seen))}
    task = make_task(prepared, tmp_path, Voice(quiet=True))
    for split in ("train", "val", "test"):
        rows = [where[sample.path] for sample in prepared.image_set.split(split)]
        assert np.array_equal(seen.features[rows], pooled_features(task, split))
        assert np.array_equal(seen.labels[rows], prepared.labels[split])
    assert seen.classes == prepared.image_set.classes


def test_a_photo_that_cannot_be_read_is_left_out_and_named(options: TrainOptions) -> None:
    seen = survey(options, Voice(quiet=True))
    assert len(seen) == 24 == len(seen.features) == len(seen.pixels)
    assert [bad.path.name for bad in seen.photos.bad] == ["cut.jpg"]
    assert all(seen.photo(i).label == seen.classes[label] for i, label in enumerate(seen.labels))


def test_nothing_is_computed_twice(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    first = survey(options, Voice(quiet=True))
    monkeypatch.setattr("headstart.survey.Forward", lambda *_: pytest.fail("the features are in the cache"))
    assert np.array_equal(survey(options, Voice(quiet=True)).features, first.features)
