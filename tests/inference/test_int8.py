"""int8 features: near those of the network, by photos that are part of their key."""

from __future__ import annotations

import csv
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.core import extras
from headstart.data.images import read_photos
from headstart.errors import OptionError
from headstart.inference.backends import BACKENDS
from headstart.inference.device import BATCH, Machine
from headstart.inference.features import ALL_STAGES, FeatureExtractor, some_for_calibration
from headstart.inference.openvino import has_openvino
from headstart.inference.runner import FrozenNetwork
from headstart.models.backbone import Backbone

CPU = Machine(torch.device("cpu"), False, "a CPU")
needs_nncf = pytest.mark.skipif(
    not (find_spec("nncf") and has_openvino()), reason="NNCF is not installed (pip install 'headstart[int8]')"
)


@pytest.fixture
def extractor(photos: Path, moving_backbone: Backbone) -> Callable[[str, slice], FeatureExtractor]:
    def make(engine: str, calibrated_on: slice = slice(None)) -> FeatureExtractor:
        pixels = read(photos)
        some = some_for_calibration(pixels.take(list(range(len(pixels)))[calibrated_on]))
        return FeatureExtractor(
            moving_backbone, moving_backbone.preprocessing, CPU, "float32", engine, calibration=some
        )

    return make


def read(photos: Path) -> Any:
    return read_photos(sorted(photos.rglob("*.png")), 32)


@needs_nncf
def test_features_are_those_of_the_network_but_for_rounding(photos: Path, extractor: Any) -> None:
    pixels = read(photos)
    wanted, found = (extractor(engine).pooled(pixels) for engine in ("torch", "int8"))
    apart = np.linalg.norm(found[:, None] - wanted, axis=2) / np.linalg.norm(wanted, axis=1)
    distances = apart.diagonal()
    assert apart.argmin(1).tolist() == list(range(len(wanted)))  # nearer to its own than to those of any other photo
    assert distances.min() > 1e-4  # at 0 nothing was quantised
    assert distances.max() < 0.15


@needs_nncf
def test_features_by_other_photos_are_kept_apart(extractor: Any) -> None:
    """A store of features must not hold what two calibrations computed."""
    keys = [
        extractor(engine, part)._key(ALL_STAGES)
        for engine, part in (("int8", slice(32)), ("int8", slice(4, 36)), ("int8", slice(32)), ("openvino", slice(32)))
    ]
    assert keys[0] == keys[2]
    assert len(set(keys)) == 3


@needs_nncf
def test_without_photos_openvino_computes(moving_backbone: Backbone, extractor: Any) -> None:
    few = extractor("int8", slice(BATCH - 1))
    assert few.calibration is None
    assert few._key(ALL_STAGES).engine == "openvino"
    assert few.prepared(moving_backbone.joining_all(), ALL_STAGES).engine == "openvino"


@needs_nncf
def test_outputs_that_a_network_is_trained_on_are_not_quantised(extractor: Any) -> None:
    assert extractor("int8")._key("before layer4").engine == "openvino"


@needs_nncf
def test_a_run_of_int8_features_predicts_as_it_was_judged(photos: Path, weights: Path, tmp_path: Path) -> None:
    settings = {"engine": "int8", "precision": "float32"}
    run = hs.train(
        photos, out=tmp_path / "run", backbone="starter", weights=str(weights), strategy="probe", test=0.4, val=0.1,
        settings=settings, quiet=True,
    )  # fmt: skip
    assert run.plan.engine == "int8"
    with (run.path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        judged = [row for row in csv.DictReader(file) if row["split"] == "test"]
    found = list(hs.predict(run, [photos / row["path"] for row in judged]))
    assert len(found) > 10
    assert sum(one.label != row["predicted"] for one, row in zip(found, judged, strict=True)) <= 1
    for one, row in zip(found, judged, strict=True):
        assert one.confidence == pytest.approx(float(row["confidence"]), abs=0.15)


def test_without_nncf_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match="needs nncf") as raised:
        BACKENDS.get("int8").check(CPU)
    assert "headstart[int8]" in raised.value.hint


@pytest.mark.parametrize("photos", [None, np.zeros((32, 8, 8, 3), np.uint8)])
def test_where_it_cannot_run_it_is_called_by_its_own_name(moving_backbone: Backbone, photos: np.ndarray | None) -> None:
    machine = Machine(torch.device("cuda"), False, "a GPU")
    with pytest.raises(OptionError, match="`engine='int8'` is for CPUs, not for cuda"):
        FrozenNetwork(moving_backbone, moving_backbone.preprocessing, machine, "float32", "int8", photos)
