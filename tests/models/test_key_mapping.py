"""torchvision's key names: the converted weights compute what torchvision's network computes, bit for bit or to
rounding.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from headstart.errors import WeightsError
from headstart.models.checkpoints import fit_weights, read_state_dict
from headstart.models.factory import create

from .conftest import photos, shaken

Published = Callable[[dict[str, Tensor]], dict[str, Any]]


@pytest.mark.parametrize(
    ("theirs", "ours", "size"),
    [
        ("resnet18", "resnet18", 64),
        ("densenet121", "densenet121", 64),
        ("mobilenet_v2", "mobilenetv2_100", 64),
        ("mnasnet1_0", "mnasnet_100", 64),
        ("efficientnet_b0", "efficientnet_b0", 64),
        ("efficientnet_b2", "efficientnet_b2", 64),
        ("convnext_tiny", "convnext_tiny", 64),
        ("vit_b_32", "vit_base_patch32_224", 224),
        ("mobilenet_v3_small", "mobilenetv3_small_100:bn_eps=0.001", 64),
        ("efficientnet_v2_s", "efficientnetv2_s:bn_eps=0.001", 64),
        ("regnet_y_400mf", "regnety_004", 64),
        ("regnet_x_400mf", "regnetx_004_tv", 64),
        ("swin_t", "swin_tiny_patch4_window7_224", 224),
        pytest.param("swin_v2_t", "swinv2_tiny_window8_256", 256, marks=pytest.mark.slow),
        pytest.param("vgg11", "vgg11", 224, marks=pytest.mark.slow),
    ],
)
def test_torchvisions_weights_give_torchvisions_features(tmp_path: Path, theirs: str, ours: str, size: int) -> None:
    net = torchvision.models.get_model(theirs).eval()
    constants = {key: t.clone() for key, t in net.state_dict().items() if key.endswith("relative_coords_table")}
    shaken(net)
    if constants:
        net.load_state_dict(constants, strict=False)
    save_file(net.state_dict(), tmp_path / "w.safetensors")  # which sorts the keys: their order in a file means nothing
    backbone = create(ours, weights=tmp_path / "w.safetensors")
    last = [name for name, _ in net.named_children()][-1]
    if theirs.startswith(("convnext", "mobilenet_v3", "vgg")):  # what is before the last layer makes the features
        net.classifier[-1] = nn.Identity()
    else:
        setattr(net, last, nn.Identity())
    with torch.no_grad():
        expected = net(photos(size)).flatten(1)
        near = 2e-5 * max(1.0, float(expected.std()))
        torch.testing.assert_close(backbone(photos(size)), expected, rtol=1e-4, atol=near)
    assert expected.std() > 1e-3


def test_the_order_of_another_networks_keys_is_not_tried(tmp_path: Path) -> None:
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="do not fit mobilenetv2_100"):
        fit_weights(create("mobilenetv2_100", pretrained=False), read_state_dict(tmp_path / "w.pth"), "w.pth")


@pytest.mark.parametrize(
    ("theirs", "ours"), [("mobilenet_v3_small", "mobilenetv3_small_100"), ("vit_b_32", "test_vit")]
)
def test_a_network_that_differs_is_refused_with_what_to_do(tmp_path: Path, theirs: str, ours: str) -> None:
    torch.save(torchvision.models.get_model(theirs).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError) as raised:
        create(ours, weights=tmp_path / "w.pth")
    told = f"{raised.value.problem} {raised.value.hint}"
    assert ("mobilenetv3_small_100:bn_eps=0.001" in told) or ("torchvision's" in told)


def as_convnext_was_published(key: str) -> str:
    """timm's name in those of its authors."""
    key = re.sub(r"^stem\.(\d)", r"downsample_layers.0.\1", key)
    key = re.sub(r"^stages\.(\d)\.downsample", r"downsample_layers.\1", key)
    key = re.sub(r"^(stages\.\d)\.blocks\.", r"\1.", key)
    key = key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
    return re.sub(r"^head\.norm", "norm", key)


def as_vit_of_another_size(state: dict[str, Tensor]) -> dict[str, Tensor]:
    grid = state["pos_embed"][:, -100:].transpose(1, 2).reshape(1, -1, 10, 10)
    smaller = nn.functional.interpolate(grid, (7, 7), mode="bilinear").flatten(2).transpose(1, 2)
    return state | {"pos_embed": torch.cat([state["pos_embed"][:, :-100], smaller], 1)}


def as_dinov2_was_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"mask_token": torch.zeros(1, state["cls_token"].shape[-1])}


def as_mae_was_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, 64)}


def as_dinov3_was_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    names = ((r"^reg_token$", "storage_tokens"), (r"\.gamma_(\d)$", r".ls\1.gamma"))
    renamed = {}
    for key, tensor in state.items():
        for pattern, name in names:
            key = re.sub(pattern, name, key)
        renamed[key] = tensor
    return renamed | {"mask_token": torch.zeros(1, 384), "rope_embed.periods": torch.ones(16)}


def as_swin_was_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Downsampling ends a stage, and tables that follow from the shapes are saved."""

    def named(key: str) -> str:
        return re.sub(r"^layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key)

    saved = {
        "layers.0.blocks.1.attn_mask": torch.zeros(4),
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(4),
    }
    return {"model": {named(key): t for key, t in state.items()} | saved | {"head.weight": torch.zeros(1000, 768)}}


def as_clip_was_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network of pictures, beside one of texts."""
    names = (
        (r"^cls_token$", "class_embedding"), (r"^pos_embed$", "positional_embedding"), (r"^patch_embed\.proj", "conv1"),
        (r"^norm_pre", "ln_pre"), (r"^norm\.", "ln_post."), (r"^blocks\.", "transformer.resblocks."),
        (r"\.norm(\d)\.", r".ln_\1."), (r"attn\.qkv\.", "attn.in_proj_"), (r"attn\.proj", "attn.out_proj"),
        (r"mlp\.fc1", "mlp.c_fc"), (r"mlp\.fc2", "mlp.c_proj"),
    )  # fmt: skip
    renamed = {}
    for key, tensor in state.items():
        short = {"cls_token": tensor[0, 0] if key == "cls_token" else tensor, "pos_embed": tensor[0]}.get(key, tensor)
        for pattern, name in names:
            key = re.sub(pattern, name, key)
        renamed[f"visual.{key}"] = short
    return renamed | {"transformer.resblocks.0.ln_1.weight": torch.ones(8), "logit_scale": torch.ones(())}


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vit_xsmall_patch16_clip_224", as_clip_was_published),
        pytest.param("vit_small_patch16_dinov3", as_dinov3_was_published, marks=pytest.mark.slow),
        pytest.param("swin_tiny_patch4_window7_224", as_swin_was_published, marks=pytest.mark.slow),
        ("convnext_atto", lambda state: {as_convnext_was_published(key): t for key, t in state.items()}),
        ("test_vit", as_mae_was_published),
        ("test_vit", lambda state: {"teacher": {f"backbone.{key}": t for key, t in state.items()}, "student": {}}),
        ("test_vit", lambda state: {f"timm_model.{key}": t for key, t in state.items()}),
        (
            "test_vit",
            lambda state: {f"visual.trunk.{k}": t for k, t in state.items()} | {"logit_scale": torch.ones(())},
        ),
        (
            "test_vit",
            lambda state: {f"net.timm_model.{key}": t for key, t in state.items()} | {"fc.weight": torch.ones(2)},
        ),
        pytest.param("vit_small_patch14_dinov2", as_dinov2_was_published, marks=pytest.mark.slow),
    ],
)
def test_files_of_whoever_trained_it_first(tmp_path: Path, name: str, published: Published) -> None:
    net = create(name, pretrained=False)
    shaken(net)
    torch.save(published(dict(net.state_dict())), tmp_path / "w.pth")
    loaded = create(name, weights=tmp_path / "w.pth").state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in net.state_dict().items())


def test_position_embeddings_of_another_size_are_resampled(tmp_path: Path) -> None:
    net = create("test_vit", pretrained=False)
    shaken(net)
    torch.save(as_vit_of_another_size(dict(net.state_dict())), tmp_path / "w.pth")
    loaded = create("test_vit", weights=tmp_path / "w.pth").state_dict()
    assert loaded["pos_embed"].shape == net.state_dict()["pos_embed"].shape
    near = nn.functional.cosine_similarity(loaded["pos_embed"].flatten(), net.state_dict()["pos_embed"].flatten(), 0)
    assert 0.2 < near < 1
    others = loaded.keys() - {"pos_embed"}
    assert all(torch.equal(loaded[key], net.state_dict()[key]) for key in others)


def test_patches_of_another_size_are_another_network(tmp_path: Path) -> None:
    state = dict(create("test_vit", pretrained=False).state_dict())
    state["patch_embed.proj.weight"] = nn.functional.interpolate(state["patch_embed.proj.weight"], scale_factor=2)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"patch_embed.proj.weight \(64x3x32x32 where 64x3x16x16 is needed"):
        create("test_vit", weights=tmp_path / "w.pth")


def test_what_timm_leaves_out_of_a_file_is_missed_even_where_logging_is_off(tmp_path: Path) -> None:
    state = {as_convnext_was_published(k): t for k, t in create("convnext_atto", pretrained=False).state_dict().items()}
    state.pop("stages.3.1.dwconv.weight")
    torch.save(state, tmp_path / "w.pth")
    logging.disable(logging.CRITICAL)
    try:
        with pytest.raises(WeightsError, match="do not fit convnext_atto"):
            create("convnext_atto", weights=tmp_path / "w.pth")
    finally:
        logging.disable(logging.NOTSET)


def test_a_network_of_transformers_is_named(tmp_path: Path) -> None:
    keys = [
        "embeddings.cls_token",
        "encoder.layer.0.attention.attention.query.weight",
        "encoder.layer.0.output.dense.bias",
    ]
    torch.save({f"vit.{key}": torch.ones(2) for key in keys}, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as raised:
        create("test_vit", weights=tmp_path / "w.pth")
    assert "transformers'" in raised.value.hint
