"""Backbones of every kind of network: the original's features and keys, whole, cut and parted."""

from __future__ import annotations

import copy
import pickle

import pytest
import timm
import torch

from headstart.errors import OptionError
from headstart.models.factory import create
from headstart.models.sections import stem_and_sections, take_back

from .conftest import photos, shaken, small

# One per way that a network is put together: stages by name, one container, nested containers, NHWC inside, pooling
# before the last convolution, tokens, tokens with attention pooling, and known only as a whole.
CHAINS = ["test_resnet", "test_efficientnet", "test_byobnet", "test_convnext", "test_mambaout", "mobilenetv3_small_050"]
CHAINS += ["selecsls42b"]  # hands on a list between members
TRANSFORMERS = ["test_vit", "test_vit2"]
# By timm's own methods: a stem with position embeddings, rotary embeddings, sides of the grid, class attention, a norm
# between permutations, tokens without a pool module.
SECTIONS = ["test_vit_relpos", "xcit_nano_12_p16_224", "pvt_v2_b0", "levit_128s"]
LARGER = ["vit_small_patch16_rope_mixed_224", "mvitv2_tiny", "nest_tiny", "cait_xxs24_224", "crossvit_9_240"]
WHOLE = ["pit_xs_224"]


@pytest.mark.parametrize(
    "name",
    [*CHAINS, *TRANSFORMERS, *SECTIONS, *WHOLE, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER)],
)
def test_features_and_keys_are_those_of_timm(name: str) -> None:
    net = timm.create_model(name, num_classes=0).eval()
    shaken(net)
    backbone = create(name, pretrained=False)
    assert backbone.state_dict().keys() == net.state_dict().keys()
    backbone.load_state_dict(net.state_dict())
    x = photos(backbone.preprocessing.image_size if name in (*SECTIONS, *LARGER, *WHOLE) else 160)
    with torch.no_grad():
        assert torch.equal(backbone(x), net(x))
    assert backbone(x).shape == (2, backbone.dim)


@pytest.mark.parametrize("name", [*CHAINS, *TRANSFORMERS, *SECTIONS, "starter"])
def test_every_boundary_parts_the_network_exactly(name: str) -> None:
    backbone = small(name)
    x = photos(160 if name in TRANSFORMERS else backbone.facts.trial_size if name in SECTIONS else 64)
    with torch.no_grad():
        whole = backbone(x)
        for boundary in ("start", *backbone.stage_names(), *backbone.block_names, "end"):
            trunk, tail = backbone.split_at(boundary)
            assert torch.equal(tail(trunk(x)), whole), boundary


def test_a_division_that_fails_leaves_the_network_as_it_was() -> None:
    net = timm.create_model("mvitv2_tiny", num_classes=0).eval()
    x = photos(224, 1)
    with torch.no_grad():
        before = net(x)
        assert len(list(stem_and_sections(net, 96))) > 4
        with pytest.raises(ValueError, match="not enough values"):  # the stages hand on tokens alone
            net(x)
        take_back(net)
        assert torch.equal(net(x), before)


def test_what_is_before_a_boundary_inside_an_undivided_network_is_held() -> None:
    backbone = small("pit_xs_224")
    assert backbone.undivided
    trunk, tail = backbone.split_at("transformers.1")
    held = {id(p) for p in trunk.parameters()}
    early = {key for key, p in backbone.get_submodule("body").inner.named_parameters() if id(p) in held}  # type: ignore[union-attr]
    assert {key.split(".")[0] for key in early} == {"pos_embed", "cls_token", "patch_embed", "transformers"}
    assert not any(key.startswith(("transformers.1", "transformers.2")) for key in early)
    assert tail is backbone
    for resolve in (backbone.split_at, backbone.truncated):
        with pytest.raises(OptionError, match="pit_xs_224"):
            resolve("transformers.9")


def test_the_sides_of_a_boundary_share_parameters_and_keep_their_keys() -> None:
    backbone = small("test_resnet")
    trunk, tail = backbone.split_at("layer3")
    assert tail.get_parameter("layer3.0.conv1.weight") is backbone.get_parameter("layer3.0.conv1.weight")
    assert not any(key.startswith(("layer3", "layer4")) for key in trunk.state_dict())
    assert trunk.state_dict().keys() | tail.state_dict().keys() == backbone.state_dict().keys()


def test_the_ends_of_a_network_are_identities() -> None:
    backbone = small("test_resnet")
    assert backbone.split_at("start")[1] is backbone
    assert backbone.split_at("end")[0] is backbone
    assert not list(backbone.split_at("start")[0].parameters())
    assert not list(backbone.split_at("end")[1].parameters())


def test_a_tail_does_not_write_over_the_trunks_output() -> None:
    """timm's activations work in place; a cached feature that one of them opens the tail on would change with every
    epoch.
    """
    trunk, tail = small("test_resnet").split_at("act1")
    with torch.no_grad():
        cached = trunk(photos())
        before = cached.clone()
        tail(cached)
    assert before.min() < 0
    assert torch.equal(cached, before)


@pytest.mark.parametrize(
    ("name", "cut", "last"), [("test_resnet", "layer2", "layer2"), ("test_efficientnet", "blocks.1", "blocks.1")]
)
def test_a_cut_is_the_mean_over_the_places_of_that_stage(name: str, cut: str, last: str) -> None:
    backbone = small(name)
    short = backbone.truncated(cut)
    trunk, _ = backbone.split_at(backbone.stage_names()[backbone.stage_names().index(last) + 1])
    x = photos()
    with torch.no_grad():
        expected = trunk(x).mean((2, 3))
        assert torch.equal(short(x), expected)
    assert short.dim == expected.shape[1]
    assert str(short.cut).startswith(cut)
    assert short.stage_names()[-2:] == (last, "pool")


def test_a_cut_where_channels_come_last_pools_places_not_channels() -> None:
    short = small("test_mambaout").truncated("stages.1")
    with torch.no_grad():
        inside = short.split_at("pool")[0](photos())
        assert torch.equal(short(photos()), inside.mean((1, 2)))
    assert inside.shape[-1] == short.dim


def test_a_cut_transformer_pools_its_patches_without_the_class_token() -> None:
    backbone = small("test_vit")
    short = backbone.truncated("blocks.2")
    with torch.no_grad():
        tokens = short.split_at("pool")[0](photos(160))
        assert torch.equal(short(photos(160)), tokens[:, 1:].mean(1))
    assert tokens.shape[1] == 101


def test_a_cut_can_be_cut_again_and_parted() -> None:
    short = small("resnet18").truncated("layer3").truncated("layer2.0")
    assert (short.cut, short.dim) == ("layer2.0", 128)
    trunk, tail = short.split_at("layer2")
    with torch.no_grad():
        assert torch.equal(tail(trunk(photos())), short(photos()))
    with pytest.raises(OptionError, match="layer3"):
        short.split_at("layer3")


def test_a_transformer_takes_other_sizes_and_says_which_it_does_not() -> None:
    backbone = small("test_vit")
    backbone.check_image_size(96)
    with pytest.raises(OptionError, match="does not run at 100 px"):
        backbone.check_image_size(100)


def test_making_a_backbone_moves_no_statistics_and_no_random_numbers() -> None:
    torch.manual_seed(3)
    plain = timm.create_model("test_resnet", num_classes=0).state_dict()
    torch.manual_seed(3)
    made = create("test_resnet", pretrained=False, cut="layer2").state_dict()
    assert all(torch.equal(made[key], plain[key]) for key in made)


def test_the_digest_follows_every_tensor_and_survives_a_copy() -> None:
    backbone = small("test_resnet")
    digest = backbone.weights_digest
    assert copy.deepcopy(backbone).weights_digest == digest
    assert backbone.to(memory_format=torch.channels_last).weights_digest == digest
    backbone.get_buffer("layer1.0.bn1.running_var")[0] += 1e-3
    assert backbone.weights_digest != digest


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_vit_relpos"])
def test_a_backbone_can_be_copied_and_pickled(name: str) -> None:
    backbone = small(name)
    again = pickle.loads(pickle.dumps(copy.deepcopy(backbone)))
    with torch.no_grad():
        assert torch.equal(again(photos(160)), backbone(photos(160)))
    assert again.state_dict().keys() == backbone.state_dict().keys()


@pytest.mark.parametrize("name", ["test_vit", "test_vit_relpos"])
def test_keys_without_a_level_of_their_own_load_at_any_depth(name: str) -> None:
    saved = torch.nn.ModuleDict({"inner": small(name, seed=1)}).state_dict()
    loaded = torch.nn.ModuleDict({"inner": small(name, seed=2)})
    loaded.load_state_dict(saved)
    assert loaded["inner"].weights_digest == small(name, seed=1).weights_digest
    with pytest.raises(RuntimeError, match="Missing key"):
        loaded.load_state_dict(
            {key: value for key, value in saved.items() if "pos_embed" not in key and "rel" not in key}
        )


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("starter", "layer4"), ("test_vit", "blocks.5"), ("test_convnext", "stages.3"), ("test_byobnet", "stages.3"),
        ("densenet121", "features.denseblock4"), ("mobilenetv3_small_050", "blocks.5"),
        ("pit_xs_224", "transformers.2"), ("dla34", "level5"),
    ],
)  # fmt: skip
def test_the_last_stage_is_the_last_that_holds_more_than_a_norm(name: str, stage: str) -> None:
    assert create(name, pretrained=False).last_stage == stage


def test_the_last_stage_of_a_cut_network_is_before_the_cut() -> None:
    assert create("starter", pretrained=False, cut="layer2.0").last_stage == "layer2"


@pytest.mark.parametrize(
    ("name", "wanted", "fitting"),
    [
        ("starter", 64, 64), ("test_vit", 64, 64), ("eva02_tiny_patch14_224", 128, 126), ("coat_tiny", 160, 224),
        ("test_maxvit", 96, 160),
    ],
)  # fmt: skip
def test_the_input_size_is_rounded_to_what_the_network_takes(name: str, wanted: int, fitting: int) -> None:
    backbone = create(name, pretrained=False)
    assert backbone.fitting_size(wanted) == fitting
    backbone.check_image_size(fitting)
    if wanted != fitting:
        with pytest.raises(OptionError):
            backbone.check_image_size(wanted)
