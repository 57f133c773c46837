"""Engines: the network's own answers, whatever computes them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.errors import OptionError
from headstart.inference import backends, openvino
from headstart.inference.classifier import Classifier
from headstart.inference.device import Machine
from headstart.inference.openvino import has_openvino
from headstart.inference.runner import FrozenNetwork, Normalise, fold
from headstart.models.backbone import Backbone
from headstart.models.preprocessing import Preprocessing

CPU = Machine(torch.device("cpu"), False, "a CPU")
needs_openvino = pytest.mark.skipif(not has_openvino(), reason="OpenVINO is not installed")


def photos_of(count: int, size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def forward_of(
    module: nn.Module, backbone: Backbone, how: str = "openvino", precision: str = "float32"
) -> FrozenNetwork:
    return FrozenNetwork(module, backbone.preprocessing, CPU, precision, how)


def wanted(module: nn.Module, backbone: Backbone, photos: torch.Tensor) -> torch.Tensor:
    x = photos.permute(0, 3, 1, 2).double() / 255
    used = backbone.preprocessing
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (used.mean, used.std))
    with torch.no_grad():
        return fold_free(module)((x - mean) / std)


def fold_free(module: nn.Module) -> nn.Module:
    """An independent float64 copy, neither folded nor converted."""
    import copy

    return copy.deepcopy(module).double().eval()


def test_folding_changes_nothing_but_rounding(moving_backbone: Backbone) -> None:
    folded = fold(moving_backbone)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(folded(x), moving_backbone(x), atol=1e-4, rtol=1e-4)
    assert any(isinstance(m, nn.BatchNorm2d) for m in moving_backbone.modules())  # the original is as it was


def test_a_network_that_cannot_be_traced_stays_as_it_is() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.sum() > 0 else x * 3

    assert fold(Branching())(torch.ones(1)).item() == 2.0
    assert fold(Branching())(-torch.ones(1)).item() == -3.0


def test_normalise_gives_zero_for_the_mean() -> None:
    normalise = Normalise(Preprocessing(mean=(0.0, 0.2, 1.0), std=(1.0, 0.5, 2.0)))
    photo = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(1, 2, 2, 3)
    assert normalise(photo).abs().max() < 1e-6
    white = normalise(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8))
    assert white[0, :, 0, 0].tolist() == pytest.approx([1.0, 1.6, 0.0])
    maps = torch.ones(1, 3, 2, 2)
    assert normalise(maps) is maps


@pytest.mark.parametrize("how", ["torch", pytest.param("openvino", marks=needs_openvino)])
@pytest.mark.parametrize("count", [1, 32, 5])
def test_outputs_are_those_of_the_network_in_float64(moving_backbone: Backbone, how: str, count: int) -> None:
    photos = photos_of(count)
    forward = forward_of(moving_backbone, moving_backbone, how)
    found, expected = forward(photos).double(), wanted(moving_backbone, moving_backbone, photos)
    assert forward.engine == how
    assert found.shape == (count, moving_backbone.dim)
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-3)
    assert found.dtype == torch.float64  # of a float32 output: nothing was rounded further
    assert expected.std() > 1e-3


AFTER_SEVERAL = """
import signal, torch
from torch import nn
from headstart.models.preprocessing import Preprocessing
from headstart.inference.device import Machine
from headstart.inference.runner import FrozenNetwork

cpu, small = Machine(torch.device("cpu"), False, "a CPU"), Preprocessing(8, 8)
forwards = [FrozenNetwork(nn.Conv2d(3, 2, 3), small, cpu, "float32", "openvino") for _ in range(3)]
assert all(f.engine == "openvino" for f in forwards)
while forwards:
    del forwards[0]
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
signal.raise_signal(signal.SIGINT)
print("seen", seen)
"""


@needs_openvino
def test_ctrl_c_is_still_heard_when_networks_come_and_go() -> None:
    ended = subprocess.run([sys.executable, "-c", AFTER_SEVERAL], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "seen [1]\n"), ended.stderr


@needs_openvino
def test_maps_of_a_trunk_come_in_the_networks_order(moving_backbone: Backbone) -> None:
    trunk, _ = moving_backbone.split_at("layer4")
    photos = photos_of(3)
    found = forward_of(trunk, moving_backbone)(photos)
    assert found.ndim == 4
    assert torch.allclose(found.double(), wanted(trunk, moving_backbone, photos), atol=1e-4, rtol=1e-3)


@needs_openvino
def test_answers_stay_when_others_are_asked_for(moving_backbone: Backbone) -> None:
    forward = forward_of(moving_backbone, moving_backbone)
    first = forward(photos_of(4))
    before = first.clone()
    assert not torch.equal(forward(photos_of(4, seed=1)), before)
    assert torch.equal(first, before)


@needs_openvino
def test_converting_reports_to_nobody(moving_backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = pytest.importorskip("openvino_telemetry.main")

    def report(*_: Any, **__: Any) -> None:
        raise AssertionError("a report was sent")

    for name in ("init", "start_session", "send_event"):
        monkeypatch.setattr(telemetry.Telemetry, name, report)
    assert forward_of(moving_backbone, moving_backbone).engine == "openvino"


@needs_openvino
def test_importing_it_reports_to_nobody_and_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    code = (
        "import sys; from headstart.inference.openvino import openvino_core; openvino_core();"
        "assert 'openvino_telemetry' not in sys.modules; import openvino_telemetry"
    )
    home = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=home)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


@needs_openvino
def test_a_network_that_cannot_be_converted_is_left_to_pytorch(
    moving_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(openvino, "to_graph", fails)
    forward, photos = forward_of(moving_backbone, moving_backbone), photos_of(2)
    assert (forward.asked, forward.engine) == ("openvino", "torch")
    assert torch.allclose(
        forward(photos).double(), wanted(moving_backbone, moving_backbone, photos), atol=1e-4, rtol=1e-3
    )


@needs_openvino
@pytest.mark.parametrize("answer", [0.0, float("nan")])
def test_a_conversion_that_answers_otherwise_is_not_used_and_said(
    moving_backbone: Backbone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: float
) -> None:
    monkeypatch.setattr(
        openvino.OpenVino, "__call__", lambda self, photos: torch.full((len(photos), moving_backbone.dim), answer)
    )
    with caplog.at_level(logging.WARNING, "headstart"):
        assert forward_of(moving_backbone, moving_backbone).engine == "torch"
    assert "PyTorch is used" in caplog.text


def test_openvino_that_is_not_there_is_refused(moving_backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "has_openvino", lambda: False)
    with pytest.raises(OptionError, match="not installed"):
        forward_of(moving_backbone, moving_backbone)


def test_openvino_on_another_device_is_refused(moving_backbone: Backbone) -> None:
    machine = Machine(torch.device("cuda", 0), True, "a GPU")
    with pytest.raises(OptionError, match="for CPUs"):
        FrozenNetwork(moving_backbone, moving_backbone.preprocessing, machine, "bf16", "openvino")


@needs_openvino
def test_a_classifier_converts_for_many_photos_only(
    probe_run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(photos.rglob("*.png"))[:40]
    classifier = Classifier.load(probe_run, "cpu")
    few = [p.probabilities for p in classifier.predict(files)]
    assert classifier._forward is not None
    assert classifier._forward.engine == "torch"
    monkeypatch.setattr(backends, "CONVERSION_PAYS", 1.0)
    many = [p.probabilities for p in classifier.predict(files)]
    assert classifier._forward.engine == "openvino"
    assert np.allclose(few, many, atol=1e-3)
    monkeypatch.undo()
    list(classifier.predict(files[:1]))
    assert classifier._forward.engine == "openvino"  # made already: it is not thrown away for a single photo


@needs_openvino
def test_a_run_with_either_engine_gives_the_same_answers(train: Any, photos: Path, tmp_path: Path) -> None:
    predicted = {}
    for how in ("torch", "openvino"):
        done = train(photos, "--strategy", "probe", "--set", f"engine={how}", "--out", tmp_path / how)
        assert done.code == 0, done.stderr
        rows = (tmp_path / how / "predictions.csv").read_text().splitlines()
        predicted[how] = [row.rsplit(",", 1)[0] for row in rows]
    assert predicted["torch"] == predicted["openvino"]


class Doubling:
    """An engine from outside: the module itself, with outputs that are ``factor`` as large."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def check(self, machine: Machine) -> None:
        if machine.device.type != "cpu":
            raise OptionError("a toy runs on CPUs")

    def compile(self, module: nn.Module, preprocessing: Preprocessing, machine: Machine, precision: str) -> Any:
        return lambda photos: self.factor * module(Normalise(preprocessing)(photos))


@pytest.mark.parametrize(("factor", "chosen"), [(1.0, "toy"), (2.0, "torch")])
def test_an_engine_from_outside_is_used_where_it_computes_what_pytorch_does(
    moving_backbone: Backbone, factor: float, chosen: str
) -> None:
    backends.BACKENDS.register("toy", Doubling(factor))
    try:
        forward, photos = forward_of(moving_backbone, moving_backbone, "toy"), photos_of(2)
    finally:
        backends.BACKENDS.unregister("toy")
    assert (forward.asked, forward.engine) == ("toy", chosen)
    with torch.inference_mode():
        found = forward(photos).double()
    assert torch.allclose(found, wanted(moving_backbone, moving_backbone, photos), atol=1e-4, rtol=1e-3)


def test_an_engine_that_nobody_has_is_named(moving_backbone: Backbone) -> None:
    with pytest.raises(OptionError, match="no engine 'tensort'") as caught:
        forward_of(moving_backbone, moving_backbone, "tensort")
    assert caught.value.option == "engine"
