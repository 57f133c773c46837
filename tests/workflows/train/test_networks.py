"""Networks of several families, with random weights, through whole trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import headstart as hs


def random_weights(name: str, folder: Path) -> Path:
    torch.manual_seed(0)
    file = folder / f"{name}.safetensors"
    save_file({key: t.clone() for key, t in timm.create_model(name, num_classes=0).state_dict().items()}, file)
    return file


def trained(photos: Path, folder: Path, name: str, **options: Any) -> Any:
    weights = random_weights(name, folder)
    settings = {"epochs": 1, "views": 1} if options["strategy"] == "partial" else {}
    return hs.train(photos, backbone=name, weights=weights, out=folder / "run", settings=settings, **options)


@pytest.mark.parametrize(("name", "stage"), [("test_vit", "blocks.5"), ("test_efficientnet", "blocks.4")])
def test_partial_trains_the_last_stage_whatever_it_is_called(
    photos: Path, tmp_path: Path, name: str, stage: str
) -> None:
    run = trained(photos, tmp_path, name, strategy="partial")
    assert run.plan.boundary == stage
    assert "last stage" in run.plan.reasons["boundary"]
    state = run.classifier.network.backbone.state_dict()
    before = load_file(tmp_path / f"{name}.safetensors")
    learned = {key for key, t in state.items() if key in before and not key.endswith(("running_mean", "running_var"))}
    changed = {key for key in learned if not torch.equal(state[key], before[key])}
    first = min(i for i, key in enumerate(state) if key.startswith(stage))
    assert changed
    assert changed <= set(list(state)[first:]), "a stage before the last was trained"


@pytest.mark.slow
def test_partial_on_an_undivided_network_trains_its_last_part(photos: Path, tmp_path: Path) -> None:
    run = trained(photos, tmp_path, "pit_xs_224", strategy="partial")
    assert run.plan.boundary == "transformers.2"
    state = run.classifier.network.backbone.state_dict()
    before = load_file(tmp_path / "pit_xs_224.safetensors")
    changed = {key for key, tensor in before.items() if not torch.equal(state[key], tensor)}
    assert changed
    assert all(key.startswith(("transformers.2", "norm")) for key in changed), "a part before the last was trained"


@pytest.mark.slow
def test_a_network_whose_layers_share_memory_is_trained_saved_and_opened(photos: Path, tmp_path: Path) -> None:
    run = trained(photos, tmp_path, "coat_tiny", strategy="probe")
    state = run.classifier.network.state_dict()
    again = hs.open_run(run.path).classifier.network.state_dict()
    assert all(torch.equal(again[key], tensor) for key, tensor in state.items())
