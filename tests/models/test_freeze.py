"""Frozen means frozen: weights, and BatchNorm statistics, by every bit."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import nn

from headstart.models.freeze import freeze, thaw

from .conftest import photos, small


def is_frozen(module: nn.Module) -> bool:
    """Whether nothing in it can change: no gradients, and eval mode whatever is asked of it or of a part."""
    modes = [each.train().training for each in module.modules()]
    return not any(modes) and not any(p.requires_grad for p in module.parameters())


def test_a_frozen_trunk_does_not_move_by_one_bit_in_training() -> None:
    backbone = small("test_resnet")
    trunk, tail = backbone.split_at("layer3")
    freeze(trunk)
    model = nn.Sequential(trunk, tail, nn.Linear(backbone.dim, 2))
    before = copy.deepcopy(backbone.state_dict())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    model.train()
    backbone.train()  # the other way to reach the same blocks
    for _ in range(2):
        optimiser.zero_grad()
        model(photos()).square().sum().backward()
        optimiser.step()
    moved = {key for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])}
    assert not moved & trunk.state_dict().keys()
    assert {"layer3.0.conv1.weight", "layer3.0.bn1.running_mean"} <= moved


def test_without_freezing_the_statistics_would_move() -> None:
    """What the test above would miss if train mode left BatchNorm alone."""
    backbone = small("test_resnet").train()
    before = backbone.get_buffer("bn1.running_mean").clone()
    with torch.no_grad():
        backbone(photos())
    assert not torch.equal(backbone.get_buffer("bn1.running_mean"), before)


def test_frozen_stays_frozen_through_copies_and_pickles() -> None:
    model = nn.Sequential(freeze(small("test_resnet")), nn.Linear(1, 1))
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        again.train()
        assert is_frozen(again[0])
        assert again[1].training
        assert again[0].train() is again[0]
        thaw(again[0]).train()
        assert again[0].training
        assert is_frozen(model[0])


def test_thawing_gives_gradients_and_modes_back() -> None:
    backbone = freeze(small("test_resnet"))
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not is_frozen(thaw(backbone))
    assert all(p.requires_grad for p in backbone.parameters())
    assert all(m.training for m in backbone.train().modules())


def test_a_gradient_from_before_is_forgotten() -> None:
    layer = nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    before = layer.weight.clone()
    freeze(layer)
    optimiser.step()
    assert torch.equal(layer.weight, before)


def test_other_modules_of_the_same_class_are_untouched() -> None:
    freeze(nn.BatchNorm2d(2))
    assert nn.BatchNorm2d(2).train().training
