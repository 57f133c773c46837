"""What a backbone's name means, whoever provides it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from headstart.errors import OptionError
from headstart.models.backbone import Backbone
from headstart.models.factory import create
from headstart.models.providers import PROVIDERS, BackboneInfo, Entry, backbones, resolve
from headstart.models.resnet import TORCHVISION_RESNETS


def test_the_short_names_are_torchvisions() -> None:
    for name in TORCHVISION_RESNETS:
        assert resolve(name).architecture == f"{name}.tv_in1k"
        assert resolve(name).provider == resolve(f"{name}.tv_in1k").provider == "torchvision"
    assert resolve("resnet50.a1_in1k").provider == "timm"
    assert resolve("starter").provider == "starter"


def test_a_name_without_a_tag_says_which_weights_it_got() -> None:
    assert resolve("vit_tiny_patch16_224").architecture.startswith("vit_tiny_patch16_224.")


def test_unknown_names_and_tags_get_the_nearest() -> None:
    with pytest.raises(OptionError, match="Did you mean 'resnet18"):
        create("resnet81")
    with pytest.raises(OptionError, match="Did you mean 'a1_in1k'"):
        create("resnet50.a1_in2k")
    with pytest.raises(OptionError, match=r"hs.backbones\(PATTERN\)"):
        create("")


def test_the_catalogue_finds_by_part_and_by_wildcard() -> None:
    assert [info.name for info in backbones("starter")] == ["starter"]
    by_part = [info.name for info in backbones("resnet18")]
    assert by_part[0] == "resnet18"
    assert "resnet18.a1_in1k" in by_part
    assert all(info.name.startswith("resnet5") for info in backbones("resnet5*"))
    assert len(backbones()) > 1000


def test_the_catalogue_tells_size_family_and_weights() -> None:
    (info,) = (i for i in backbones("resnet50") if i.name == "resnet50")
    assert (info.image_size, info.weights, info.family) == (224, "torchvision ImageNet-1k", "resnet")
    assert all(info.image_size >= 32 and info.family for info in backbones())


def test_a_pattern_without_a_match() -> None:
    with pytest.raises(OptionError, match="Did you mean 'starter'"):
        backbones("startre")


def test_options_follow_a_colon() -> None:
    entry = resolve("mobilenetv2_100:pad_type=same,drop_rate=0.1,fix_stem=True")
    assert entry.options == (("pad_type", "same"), ("drop_rate", 0.1), ("fix_stem", True))
    assert entry.architecture == resolve("mobilenetv2_100").architecture
    assert entry.name.endswith("fix_stem=True")
    for wrong in ("mobilenetv2_100:", "mobilenetv2_100:pad_type", "mobilenetv2_100:pad type=1", "mobilenetv2_100:a="):
        with pytest.raises(OptionError, match="is not an option"):
            resolve(wrong)
    with pytest.raises(OptionError, match="takes no options"):
        resolve("resnet18:pad_type=same")


class Toys:
    """A provider from outside: the starter's network under another name, with weights of its own."""

    takes_options = True

    def __init__(self, folder: Path) -> None:
        self.file = folder / "toy.safetensors"

    def resolve(self, name: str) -> Entry | None:
        return Entry(name, name, "toys", "a toy") if name == "toy/one" else None

    def names(self) -> list[str]:
        return ["toy/one"]

    def describe(self, name: str) -> BackboneInfo:
        return BackboneInfo(name, 32, "a toy", "toys")

    def at_hand(self, entry: Entry) -> bool:
        return self.file.exists()

    def fetch(self, entry: Entry) -> Path:
        state = create("starter").state_dict()
        save_file({key: t + 1 if t.is_floating_point() else t for key, t in state.items()}, self.file)
        return self.file

    def build(self, entry: Entry, weights: Path | None) -> Backbone:
        backbone = create("starter", pretrained=weights is None, weights=weights)
        backbone.asked = dict(entry.options)  # type: ignore[assignment]
        return backbone


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[None]:
    PROVIDERS.register("toys", Toys(tmp_path))
    yield
    PROVIDERS.unregister("toys")


def test_a_provider_from_outside_is_asked_like_the_others(toys: None) -> None:
    assert [info.weights for info in backbones("toy/*")] == ["a toy"]
    made = create("toy/one:size=3")
    assert (made.source, made.pretrained, made.asked) == ("a toy", True, {"size": 3})
    starter = create("starter")
    assert torch.equal(made.get_parameter("conv1.weight"), starter.get_parameter("conv1.weight") + 1)
    with pytest.raises(OptionError, match="Did you mean 'toy/one'"):
        create("toy/onne")
