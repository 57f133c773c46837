"""A probe of joined stages is a run like any other: saved, read, explained, exported, fine-tuned, resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.errors import RunError
from headstart.workflows.train.result import Run


def trained(photos: Path, weights: Path, out: Path, **more: Any) -> Run:
    asked: dict[str, Any] = {"strategy": "probe", "stages": "all", "precision": "float32", "device": "cpu", **more}
    return hs.train(photos, out=out, backbone="starter", weights=weights, quiet=True, **asked)


@pytest.fixture(scope="module")
def run(photos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(photos, weights, tmp_path_factory.mktemp("joined") / "run")


def test_the_model_says_which_stages_it_reads(run: Run) -> None:
    architecture = json.loads((run.path / "model.json").read_text())["architecture"]
    assert len(architecture["joined"]) > 1
    backbone = run.classifier.network.backbone
    assert architecture["dim"] == backbone.dim > backbone.facts.dim
    assert run.plan.stages == "all"


def test_a_reader_predicts_as_the_training_did(run: Run, photos: Path) -> None:
    again = hs.open_run(run.path)
    assert again.classifier.network.backbone.joined == run.classifier.network.backbone.joined
    mine, yours = (list(hs.predict(one, photos)) for one in (run.path, run))
    assert [one.label for one in mine] == [one.label for one in yours]
    certainty, backbone = again.classifier.certainty, again.classifier.network.backbone
    assert certainty is not None
    assert certainty.means.shape[1] == backbone.facts.dim
    assert [one.probabilities for one in mine] == [one.probabilities for one in yours]


@pytest.mark.slow
def test_it_is_exported_with_its_stages(run: Run, photos: Path, tmp_path: Path) -> None:
    import onnxruntime
    from PIL import Image

    made = hs.export(run, out=tmp_path / "model.onnx", quiet=True)
    session = onnxruntime.InferenceSession(str(made.path))
    wanted = list(hs.predict(run, photos))[:6]
    for one in wanted:
        pixels = np.asarray(Image.open(one.path).convert("RGB"))[None]
        (found,) = session.run(["probabilities"], {"images": pixels})
        assert found[0] == pytest.approx(one.probabilities, abs=0.02)


def test_its_maps_add_up_over_the_stages(run: Run, photos: Path, tmp_path: Path) -> None:
    found = hs.explain(run.path, sorted(photos.rglob("*.png"))[:2], out=tmp_path / "explained", quiet=True)
    for one in found.photos:
        assert one.heat.max() == pytest.approx(1)
        assert one.neighbours


def test_fine_tuning_starts_from_its_head(photos: Path, weights: Path, tmp_path: Path) -> None:
    tuned = trained(photos, weights, tmp_path / "tuned", strategy="lp-ft", epochs=1)
    assert tuned.plan.stages == "all"
    assert tuned.classifier.network.backbone.joined
    inner = trained(photos, weights, tmp_path / "inner", strategy="lp-ft", boundary="layer3", epochs=1)
    assert (inner.plan.stages, inner.classifier.network.backbone.joined) == ("last", ())
    onwards = trained(photos, weights, tmp_path / "next", stages="last")
    assert onwards.classifier.network.backbone.joined == ()


def test_a_run_goes_on_from_a_backbone_with_joined_stages(run: Run, photos: Path, tmp_path: Path) -> None:
    after = hs.train(photos, out=tmp_path / "after", from_run=run.path, strategy="probe", stages="last", quiet=True)
    assert after.classifier.network.backbone.joined == ()


def test_stages_that_are_not_the_networks_are_named(run: Run, tmp_path: Path) -> None:
    (folder := tmp_path / "copy").mkdir()
    for file in run.path.glob("*.safetensors"):
        (folder / file.name).write_bytes(file.read_bytes())
    described = json.loads((run.path / "model.json").read_text())
    described["architecture"]["joined"] = ["layer1", "attic"]
    (folder / "model.json").write_text(json.dumps(described))
    with pytest.raises(RunError, match=r"no stage 'attic' to join"):
        hs.open_run(folder)


def test_the_plan_says_what_was_chosen_and_why(photos: Path, weights: Path, tmp_path: Path) -> None:
    found = trained(photos, weights, tmp_path / "run", stages="auto")
    assert found.plan.stages in ("last", "all")
    assert "log loss" in found.plan.reasons["stages"]
    assert bool(found.classifier.network.backbone.joined) == (found.plan.stages == "all")
