"""A module of the caller's as a backbone: what it computes, where it is divided, what cannot be one."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.own import Net, Squashed, stage
from torch import nn

from headstart.errors import OptionError
from headstart.models.own_network import own_backbone
from headstart.models.preprocessing import IMAGENET_MEAN, Preprocessing


class Of(nn.Module):
    """Members that a function puts together."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], Any], **members: Any) -> None:
        super().__init__()
        for name, member in members.items():
            setattr(self, name, member)
        self.how = forward

    def forward(self, x: torch.Tensor) -> Any:
        return self.how(self, x)


def test_maps_are_pooled_and_the_members_are_its_stages() -> None:
    net = Net().train()
    net.low.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    backbone = own_backbone(net)
    x = torch.randn(3, 3, 32, 32)
    assert torch.allclose(backbone(x), net.eval()(x).mean((2, 3)), atol=1e-6)
    assert backbone.stage_names() == ("low", "high", "pool")
    assert (backbone.dim, backbone.name, backbone.facts.module) == (16, "own-Net", "helpers.own.Net")
    assert backbone.preprocessing == Preprocessing(32, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert backbone.state_dict().keys() == net.state_dict().keys()
    trunk, tail = backbone.split_at("high")
    assert torch.equal(tail(trunk(x)), backbone(x))
    with torch.no_grad():  # a copy: training does not change the caller's
        next(backbone.parameters()).zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [p.requires_grad for p in net.low.parameters()] == [False] * 3


def test_features_that_a_function_flattens_keep_the_stages() -> None:
    net = Of(lambda m, x: torch.flatten(m.pool(m.a(x)), 1), a=stage(3, 8), pool=nn.AdaptiveAvgPool2d(1))
    backbone = own_backbone(net, 32)
    assert backbone.block_names[-1] == "pool"
    assert len(backbone.block_names) > 1
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(backbone(x), net.eval()(x))


def in_training(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.b(m.a(x) * (0.5 if m.training else 1.0))


WHOLE = {
    "a dropout by a function": Of(lambda m, x: m.b(F.dropout(m.a(x), 0.5, m.training)), a=stage(3, 8), b=stage(8, 8)),
    "a scale that is one": Of(
        lambda m, x: m.b(m.a(x) * m.s), a=stage(3, 8), b=stage(8, 8), s=nn.Parameter(torch.ones(1))
    ),
    "another way in training": Of(in_training, a=stage(3, 8), b=stage(8, 8)),
    "members in another order": Of(lambda m, x: m.a(m.b(x)), a=stage(8, 8), b=stage(3, 8)),
    "a name that a backbone has": Of(lambda m, x: m.facts(m.a(x)), a=stage(3, 8), facts=stage(8, 8)),
}  # fmt: skip


@pytest.mark.parametrize("net", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("training", [False, True])
def test_what_the_members_alone_would_lose_keeps_it_whole(net: nn.Module, training: bool) -> None:
    backbone = own_backbone(net, 32)
    assert backbone.block_names == ("body", "pool")
    assert backbone.state_dict().keys() == net.state_dict().keys()
    x = torch.randn(4, 3, 32, 32)
    made = []
    for one in (backbone, net):
        torch.manual_seed(1)
        made.append(one.train(training)(x))
    assert torch.allclose(made[0], made[1].mean((2, 3)), atol=1e-6)


def test_what_timm_says_of_its_modules_is_heard() -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model("resnet10t", num_classes=0)
    backbone = own_backbone(net)
    assert backbone.preprocessing.image_size == net.pretrained_cfg["input_size"][-1]
    assert backbone.last_stage == "layer4"
    net = Of(lambda m, x: m.a(x), a=stage(3, 8))
    net.register_buffer("mean", torch.zeros(1, 3, 1, 1))  # by which it normalises: nothing about its input
    assert own_backbone(net).preprocessing == Preprocessing()
    assert own_backbone(net, 64).preprocessing == Preprocessing(64, 64, mean=IMAGENET_MEAN)


def test_the_cache_tells_apart_what_only_the_code_does() -> None:
    one, other = own_backbone(Net()), own_backbone(Squashed())
    assert one.weights_digest == other.weights_digest
    assert one.facts.fingerprint != other.facts.fingerprint
    assert one.facts.fingerprint == own_backbone(Net()).facts.fingerprint


REFUSED = {
    "a tuple": (lambda m, x: (x,), "returns a tuple"),
    "an object": (lambda m, x: SimpleNamespace(pooler_output=x), "returns a SimpleNamespace"),
    "tokens": (lambda m, x: x.flatten(2), r"makes \[1, 3, 1024\]"),
    "one number": (lambda m, x: x.mean(), r"makes \[\]"),
    "whole numbers": (lambda m, x: x.mean((2, 3)).long(), "int64"),
    "no number": (lambda m, x: x.mean((2, 3)) / 0, "not finite"),
    "one channel": (lambda m, x: m.a(x), r"fails on an image \[1, 3, 32, 32\].*`image_size=N`"),
}


@pytest.mark.parametrize(("how", "words"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_features_is_refused(how: Any, words: str) -> None:
    with pytest.raises(OptionError, match=f"(?s)`backbone`: .*{words}") as found:
        own_backbone(Of(how, a=nn.Conv2d(1, 3, 3)), 32)
    assert found.value.option == "backbone"


def test_what_cannot_be_copied_is_refused() -> None:
    net = Of(lambda m, x: x.mean((2, 3)))
    net.weight = torch.ones(3, requires_grad=True) * 2
    with pytest.raises(OptionError, match="cannot be copied"):
        own_backbone(net)
