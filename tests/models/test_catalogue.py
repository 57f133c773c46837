"""The list of known networks: its sizes are those of the networks."""

from __future__ import annotations

import pytest
import timm
import torch

from headstart.models.catalogue import KNOWN, STARTERS
from headstart.models.factory import create
from headstart.models.providers import backbones


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_those_of_the_network(name: str) -> None:
    if name in STARTERS:
        net: torch.nn.Module = create(name, pretrained=False)
    else:
        with torch.device("meta"):
            net = timm.create_model(name.partition(".")[0], num_classes=0)
    assert sum(p.numel() for p in net.parameters()) == KNOWN[name].parameters


def test_the_list_of_backbones_shows_them() -> None:
    (info,) = backbones("tf_efficientnet_lite2*")
    assert (info.license, info.image_size, info.imagenet) == ("apache-2.0", 260, 77.5)
    (info,) = (one for one in backbones("resnet50") if one.name == "resnet50")
    assert (info.parameters, info.mb, info.imagenet) == (23_508_032, 94.0, 76.1)


def test_a_short_list_counts_the_parameters_of_networks_that_are_not_in_the_catalogue() -> None:
    (found,) = [info for info in backbones("test_resnet.*") if info.name not in KNOWN][:1]
    net = timm.create_model("test_resnet", num_classes=0)
    assert found.parameters == sum(p.numel() for p in net.parameters())
    assert found.mb == pytest.approx(found.parameters * 4 / 1e6, abs=0.05)
    assert found.imagenet is None
