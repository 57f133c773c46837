"""headstart's own ResNets against timm's, of which they must be copies in every bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from timm.models import resnet as theirs
from torch import nn

from headstart.inference.runner import fold
from headstart.models.catalogue import STARTERS
from headstart.models.factory import create
from headstart.models.resnet import TORCHVISION_RESNETS
from headstart.models.starter import CHANNELS, POOLED

from .conftest import photos, shaken


def timms_resnet(name: str) -> nn.Module:
    return timm.create_model(f"{name}.tv_in1k", num_classes=0)


def timms_starter(name: str) -> nn.Module:
    """A starter from timm's parts: what its weights were trained as."""
    net = theirs.ResNet(theirs.BasicBlock, list(STARTERS[name]), channels=CHANNELS, num_classes=0)
    if name != POOLED:
        net.maxpool = nn.Identity()
    net.conv1 = nn.Conv2d(3, CHANNELS[0], kernel_size=3, padding=1, bias=False)
    net.bn1 = nn.BatchNorm2d(CHANNELS[0])
    net.layer1 = nn.Sequential(theirs.BasicBlock(CHANNELS[0], CHANNELS[0]))
    net.init_weights()
    return net


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(3)
    return make()


BUILDERS = [*((name, timms_starter) for name in STARTERS), ("resnet18", timms_resnet), ("resnet50", timms_resnet)]


@pytest.mark.parametrize(("name", "build"), BUILDERS)
def test_keys_random_weights_features_and_gradients_are_timms(name: str, build: Callable[[str], nn.Module]) -> None:
    other, ours = seeded(lambda: build(name)), seeded(lambda: create(name, pretrained=False))
    drawn = other.state_dict()
    assert list(ours.state_dict()) == list(drawn)
    assert all(torch.equal(tensor, drawn[key]) for key, tensor in ours.state_dict().items())
    shaken(ours)
    other.load_state_dict(ours.state_dict())
    for mode in (False, True):
        features = [net.train(mode)(photos()) for net in (ours, other)]
        assert torch.equal(*features)
    for made in features:
        made.square().sum().backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(ours.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", TORCHVISION_RESNETS)
def test_each_depth_has_timms_shapes_and_preprocessing(name: str) -> None:
    with torch.device("meta"):  # names and shapes only
        other, ours = timms_resnet(name), create(name, pretrained=False)
    shapes = {key: tensor.shape for key, tensor in other.state_dict().items()}
    assert {key: tensor.shape for key, tensor in ours.state_dict().items()} == shapes
    cfg = timm.models.get_pretrained_cfg(f"{name}.tv_in1k")
    expected = ours.preprocessing
    assert (3, expected.image_size, expected.image_size) == cfg.input_size
    assert expected.resize == round(expected.image_size / cfg.crop_pct)
    assert (expected.mean, expected.std, expected.interpolation) == (cfg.mean, cfg.std, cfg.interpolation)
    assert (ours.dim, ours.facts.classifier) == (other.num_features, (cfg.classifier,))


def test_it_can_be_traced_so_that_batch_norms_fold_away() -> None:
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fold(create("starter", pretrained=False)).modules())
