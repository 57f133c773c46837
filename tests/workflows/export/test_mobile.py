"""LiteRT and ExecuTorch files answer as the classifier does, with their own runtimes; each test needs its converter."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.core import extras
from headstart.errors import OptionError
from headstart.models.backbone import Backbone
from headstart.models.heads import build_head
from headstart.models.network import Network
from headstart.workflows.export.formats import EXPORTERS, INPUT
from headstart.workflows.export.graph import OnCanvas, WholeClassifier
from headstart.workflows.export.mobile import _of_one, canvas_side, shrunk

FORMATS = {"litert": "litert_torch", "executorch": "executorch"}


@pytest.fixture
def run(probe_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(probe_run, tmp_path / "copied"))


@pytest.mark.parametrize("size", [(32, 32), (40, 60), (128, 128), (128, 20), (5, 7)])
def test_a_photo_in_the_corner_of_a_canvas_is_prepared_as_alone(
    moving_backbone: Backbone, size: tuple[int, int]
) -> None:
    how = moving_backbone.preprocessing.at(32, 37)
    graph = WholeClassifier(Network(moving_backbone, build_head("linear", moving_backbone.dim, 3, ())), how).eval()
    rng = np.random.default_rng(0)
    photo = torch.from_numpy(rng.integers(0, 256, (1, *size, 3), dtype=np.uint8))
    side = canvas_side(how)
    canvas = torch.from_numpy(rng.integers(0, 256, (1, side, side, 3), dtype=np.uint8))  # the rest may hold anything
    canvas[:, : size[0], : size[1]] = photo
    with torch.no_grad():
        found = OnCanvas(graph)(canvas, torch.tensor([size], dtype=torch.int32))
        assert torch.allclose(found, graph(photo), atol=1e-5)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((100, 80), (100, 80)), ((128, 128), (128, 128)), ((256, 120), (128, 60)), ((1000, 3), (125, 1)),
    ],
)  # fmt: skip
def test_a_large_photo_becomes_means_of_squares(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = shrunk(photo, 128)
    assert found.shape == (*wanted, 3)
    assert found.dtype == np.uint8
    if size == (256, 120):
        assert np.abs(found - photo.reshape(128, 2, 60, 2, 3).mean((1, 3))).max() <= 0.5
    if size == wanted:
        assert (found == photo).all()


@pytest.mark.parametrize("size", [(3000, 3994), (999, 500), (3675, 3000), (131, 130), (1000, 2001)])
def test_a_large_photo_is_resized_to_as_many_pixels_as_before(size: tuple[int, int]) -> None:
    """Or the crop moves by half a pixel: 3994 x 3000 is 213 x 160, but 998 x 750 would be 212 x 160."""
    resize, side = 160, 640
    rows, columns = shrunk(np.zeros((*size, 3), np.uint8), side).shape[:2]
    assert max(rows, columns) <= side
    assert resize * max(rows, columns) // min(rows, columns) == resize * max(size) // min(size)
    assert columns / rows == pytest.approx(size[1] / size[0], rel=0.01)


def test_the_facts_of_a_file_for_one_photo_keep_what_the_caller_has_to_do() -> None:
    facts = {"input": f"{INPUT}; of I;16 v, scaled", "output": "p: [photos, classes]; labels.thresholds", "name": "n"}
    told = _of_one(facts, "images: [1, 8, 8, 3]")
    output = "p: [1, classes]; labels.thresholds"
    assert told == {"input": "images: [1, 8, 8, 3]; of I;16 v, scaled", "output": output, "name": "n"}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_the_file_answers_as_the_classifier_does(run: Path, form: str) -> None:
    pytest.importorskip(FORMATS[form], reason=f"the extra {form} is not installed")
    made = hs.export(run, format=form, quiet=True)
    assert made.path == run / f"model{EXPORTERS.get(form).suffix}"
    assert made.parity.same == made.parity.photos == 12
    assert made.parity.largest < 0.02
    runner = EXPORTERS.get(form).open(made.path)
    photos = np.random.default_rng(0).integers(0, 256, (2, 500, 700, 3), dtype=np.uint8)  # larger than it takes
    assert np.allclose(runner(photos).sum(1), 1, atol=1e-4)
    said = facts_of(form, made.path)
    assert said["classes"] == ["cat", "dog", "owl"]
    assert {"preprocessing", "provenance", "input", "output"} <= said.keys()


def facts_of(form: str, path: Path) -> dict[str, Any]:
    if form == "litert":
        with zipfile.ZipFile(path) as archive:
            assert archive.read("labels.txt").decode() == "cat\ndog\nowl"
            return dict(json.loads(archive.read("headstart.json")))
    from executorch.runtime import Runtime

    return dict(json.loads(Runtime.get().load_program(path).load_method("headstart").execute([])[0]))


@pytest.mark.parametrize("form", FORMATS)
def test_a_missing_extra_is_one_clear_error(
    run: Path, form: str, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Any], refused: Callable[..., None]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == FORMATS[form] else find_spec(name))
    refused(cli("export", run, "--format", form), f"--format {form}", "not installed", f"headstart[{form}]")
    assert not (run / f"model{EXPORTERS.get(form).suffix}").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_int8_is_not_offered(run: Path, form: str) -> None:
    with pytest.raises(OptionError, match="`int8`"):
        hs.export(run, format=form, int8=True)
