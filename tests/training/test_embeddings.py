"""Photos before training, as a backbone sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.core.events import Events
from headstart.training.config import TrainOptions
from headstart.training.embeddings import embed_dataset
from headstart.training.preparation import prepare
from headstart.workflows.train.assess import make_context


@pytest.fixture
def options(class_folder: Callable[..., Path]) -> TrainOptions:
    folder = class_folder(classes=("cat", "dog", "emu"), per_class=8)
    (folder / "cat" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    return TrainOptions(str(folder), backbone="starter", strategy="probe", val=0.25, test=0.25)


def test_features_are_those_that_a_probe_trains_on(options: TrainOptions, tmp_path: Path) -> None:
    seen = embed_dataset(options, Events())
    prepared = prepare(options, Events())
    where = {seen.photo(i).path: i for i in range(len(seen))}
    task = make_context(prepared, tmp_path, Events())
    for split in ("train", "val", "test"):
        rows = [where[sample.path] for sample in prepared.dataset.split(split)]
        assert np.array_equal(seen.features[rows], task.features(split))
        assert np.array_equal(seen.labels[rows], prepared.labels[split])
    assert seen.classes == prepared.dataset.classes


def test_a_photo_that_cannot_be_read_is_left_out_and_named(options: TrainOptions) -> None:
    seen = embed_dataset(options, Events())
    assert len(seen) == 24 == len(seen.features) == len(seen.pixels)
    assert [bad.path.name for bad in seen.photos.bad] == ["cut.jpg"]
    assert all(seen.photo(i).label == seen.classes[label] for i, label in enumerate(seen.labels))


def test_nothing_is_computed_twice(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embed_dataset(options, Events())
    monkeypatch.setattr(
        "headstart.inference.features.FrozenNetwork", lambda *_: pytest.fail("the features are in the cache")
    )
    assert np.array_equal(embed_dataset(options, Events()).features, first.features)
