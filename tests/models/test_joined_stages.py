"""Backbones with joined stages: which, and what their features are."""

from __future__ import annotations

import copy

import pytest
import torch

from headstart.errors import OptionError
from headstart.models.backbone import Backbone
from headstart.models.stages import joinable

from .conftest import photos, small

JOINED = {
    "test_resnet": ("layer1", "layer2", "layer3"),  # the mean of layer4 is what the features are
    "test_convnext": ("stages.0", "stages.1", "stages.2", "stages.3"),
    "starter": None,
    "test_efficientnet": None,
    "test_vit": None,
    "test_vit_relpos": None,
    "pit_xs_224": (),  # known only as a whole
}


def by_hand(backbone: Backbone, x: torch.Tensor) -> torch.Tensor:
    """The same by hooks on timm's modules."""
    means: dict[str, torch.Tensor] = {}

    def keep(stage: str):  # type: ignore[no-untyped-def]
        def hook(module: object, inputs: object, outputs: torch.Tensor) -> None:
            if outputs.ndim == 3:
                means[stage] = outputs[:, backbone.facts.prefix_tokens :].mean(1)
            else:
                last = outputs.shape[1] == outputs.shape[2] != outputs.shape[3]
                means[stage] = outputs.mean((1, 2) if last else (2, 3))

        return hook

    stages = tuple(backbone.joinable_taps)
    hooks = [backbone.get_submodule(stage).register_forward_hook(keep(stage)) for stage in stages]
    with torch.no_grad():
        plain = backbone(x)
    for hook in hooks:
        hook.remove()
    return torch.cat([*(means[stage] for stage in stages), plain], 1)


@pytest.mark.parametrize("name", JOINED)
def test_the_features_are_the_means_of_the_stages_before_the_networks_own(name: str) -> None:
    backbone = small(name)
    x = photos(224 if name.startswith("pit") else 160 if "vit" in name else 64)
    every = backbone.joining_all()
    with torch.no_grad():
        found = every(x)
        assert found.shape == (len(x), every.dim)
        # In a chain a stage is a Sequential of its blocks, whose hook sees its outputs.
        assert torch.allclose(found, by_hand(backbone, x), atol=1e-6)
        assert torch.equal(every.last(found), backbone(x))
    if (wanted := JOINED[name]) is not None:
        assert every.joined == wanted


def test_joined_stages_share_parameters_and_keys_with_the_network() -> None:
    backbone = small("test_resnet")
    every = backbone.joining_all()
    assert every.state_dict().keys() == backbone.state_dict().keys()
    assert every.has_weights_of(backbone)
    assert not copy.deepcopy(every).has_weights_of(backbone)
    assert every.weights_digest == backbone.weights_digest
    assert every.joining(()).joined == ()
    assert every.preprocessing == backbone.preprocessing


@pytest.mark.parametrize("stages", [(), ("layer2",), ("layer1", "layer3"), ("layer1", "layer2", "layer3")])
def test_features_of_all_stages_hold_those_of_some(stages: tuple[str, ...]) -> None:
    backbone = small("test_resnet")
    some, x = backbone.joining(stages), photos(64)
    with torch.no_grad():
        assert some.own_columns(backbone.joining_all()(x).numpy()) == pytest.approx(some(x).numpy())


def test_stages_are_joined_in_the_networks_order() -> None:
    backbone = small("test_resnet")
    assert backbone.joining(("layer3", "layer1")).joined == ("layer1", "layer3")


def test_a_cut_network_joins_what_it_kept() -> None:
    cut = small("test_resnet").truncated("layer3")
    assert cut.joining_all().joined == ("layer1", "layer2")


def test_a_stage_that_cannot_be_joined_is_named() -> None:
    with pytest.raises(OptionError, match=r"no stage 'layer9' to join"):
        small("test_resnet").joining(("layer9",))


def test_no_boundary_is_within_joined_stages() -> None:
    with pytest.raises(ValueError, match="both sides"):
        small("test_resnet").joining_all().split_at("layer2")


def test_of_many_blocks_the_quarters_are_joined() -> None:
    names = ("patch_embed", *(f"blocks.{i}" for i in range(12)), "norm", "pool")
    assert joinable(names) == ("blocks.2", "blocks.5", "blocks.8")
