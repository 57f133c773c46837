"""Creating backbones: preprocessing from the weights, the starter, sources, describing."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from headstart.errors import OptionError, WeightsError
from headstart.models import starter
from headstart.models.blocks import take_apart
from headstart.models.factory import create
from headstart.models.heads import build_head
from headstart.models.summary import describe, stage_rows

from .conftest import photos, small


def test_preprocessing_comes_from_the_weights() -> None:
    spec = create("resnet18", pretrained=False).preprocessing
    assert (spec.image_size, spec.resize, spec.interpolation) == (224, 256, "bilinear")
    assert spec.mean == (0.485, 0.456, 0.406)
    assert create("test_vit", pretrained=False).preprocessing.mean == (0.5, 0.5, 0.5)


def test_random_weights_follow_the_seed_and_are_called_random() -> None:
    torch.manual_seed(1)
    first = create("starter", pretrained=False)
    torch.manual_seed(1)
    assert create("starter", pretrained=False).weights_digest == first.weights_digest
    assert create("starter", pretrained=False).weights_digest != first.weights_digest
    assert (first.source, first.pretrained, first.training) == ("random weights", False, False)


def test_a_file_gives_its_weights_and_its_name(tmp_path: Path) -> None:
    made = small("starter")
    save_file({**made.state_dict(), "fc.weight": torch.ones(100, 256)}, tmp_path / "mine.safetensors")
    backbone = create("starter", weights=tmp_path / "mine.safetensors")
    assert backbone.weights_digest == made.weights_digest
    assert (backbone.source, backbone.pretrained) == ("file mine.safetensors", True)
    short = create("starter", weights=tmp_path / "mine.safetensors", cut="layer2")
    assert (short.dim, short.cut, short.source) == (64, "layer2.0", "file mine.safetensors")


@pytest.mark.parametrize(
    ("name", "millions", "stem", "side"),
    [("starter", 1.3, ("conv1", "bn1", "act1", "maxpool"), 16), ("starter_large", 2.8, ("conv1", "bn1", "act1"), 32)],
)
def test_starters_are_small_and_made_for_32_px(name: str, millions: float, stem: tuple[str, ...], side: int) -> None:
    backbone = create(name, pretrained=False)
    assert backbone(photos(32)).shape == (2, 256)
    assert sum(p.numel() for p in backbone.parameters()) < millions * 1e6
    assert backbone.stage_names() == (*stem, "layer1", "layer2", "layer3", "layer4", "pool")
    assert backbone.split_at("layer1")[0](photos(32)).shape == (2, 32, side, side)


def test_a_starter_without_its_weights_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(starter, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(WeightsError, match="starter's weights are not in this installation"):
        create("starter")


def test_networks_that_cannot_be_backbones_are_refused() -> None:
    with pytest.raises(OptionError, match="does not make one feature vector"):
        take_apart(torch.nn.Conv2d(3, 4, 3), "maps", 64)
    with pytest.raises(OptionError, match="does not run on a photo of its own size, 64 px"):
        take_apart(torch.nn.Conv2d(1, 4, 3), "gray", 64)


def test_the_description_counts_what_is_frozen() -> None:
    backbone = small("test_resnet")
    head = build_head("mlp:8", backbone.dim, 3)
    rows = {row.name: row for row in stage_rows(backbone, head, "layer3")}
    assert (rows["layer2"].state, rows["layer3"].state, rows["head"].state) == ("frozen", "trained", "trained")
    assert rows["conv1"].shape == (backbone.split_at("bn1")[0](photos(160)).shape[1:])
    assert rows["head"].shape == (3,)
    assert sum(row.parameters for row in rows.values()) == sum(
        p.numel() for m in (backbone, head) for p in m.parameters()
    )
    text = describe(backbone, head, "layer3")
    trained = sum(p.numel() for m in (backbone.split_at("layer3")[1], head) for p in m.parameters())
    for words in (f"{trained:,} of them trained", "BatchNorm2d", "Linear(in_features=8"):
        assert words in text


def test_joined_stages_are_told() -> None:
    backbone = small("resnet18").joining(("layer1", "layer3"))
    rows = {row.name: row.state for row in stage_rows(backbone, build_head("linear", backbone.dim, 2), "end")}
    assert (rows["layer1"], rows["layer2"], rows["layer3"]) == ("frozen, joined", "frozen", "frozen, joined")


def test_a_boundary_inside_a_stage_is_told() -> None:
    backbone = small("resnet18")
    rows = {row.name: row.state for row in stage_rows(backbone, build_head("linear", 512, 2), "layer3.1")}
    assert (rows["layer2"], rows["layer3"], rows["layer4"], rows["pool"]) == (
        "frozen",
        "trained from layer3.1",
        "trained",
        "",
    )


def test_timm_is_given_the_options_of_the_name() -> None:
    torch.manual_seed(0)
    ours = create("mobilenetv2_100:pad_type=same", pretrained=False)
    torch.manual_seed(0)
    theirs = timm.create_model("mobilenetv2_100", num_classes=0, pad_type="same").eval()
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(ours(x), theirs(x))
    torch.manual_seed(0)
    assert not torch.allclose(create("mobilenetv2_100", pretrained=False)(x), ours(x), atol=1e-4)
    assert ours.name == "mobilenetv2_100:pad_type=same"
    with pytest.raises(OptionError, match="paddings"):
        create("mobilenetv2_100:paddings=same", pretrained=False)
