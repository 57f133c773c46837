"""The list of known networks: its sizes are those of the networks."""

from __future__ import annotations

import pytest
import timm
import torch

from headstart.models.catalogue import KNOWN
from headstart.models.factory import create
from headstart.models.providers import backbones


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_those_of_the_network(name: str) -> None:
    if name == "starter":
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
