"""What a backbone's name means."""

from __future__ import annotations

import pytest

from headstart.errors import OptionError
from headstart.models.factory import create
from headstart.models.listing import backbones
from headstart.models.names import TORCHVISION_RESNETS, resolve


def test_the_short_names_are_torchvisions() -> None:
    for name in TORCHVISION_RESNETS:
        assert resolve(name).architecture == f"{name}.tv_in1k"
        assert resolve(name).home == resolve(f"{name}.tv_in1k").home == "torchvision"
    assert resolve("resnet50.a1_in1k").home == "timm"
    assert resolve("starter").home == "starter"


def test_a_name_without_a_tag_says_which_weights_it_got() -> None:
    assert resolve("vit_tiny_patch16_224").architecture.startswith("vit_tiny_patch16_224.")


def test_unknown_names_and_tags_get_the_nearest() -> None:
    with pytest.raises(OptionError, match="Did you mean 'resnet18"):
        create("resnet81")
    with pytest.raises(OptionError, match="Did you mean 'a1_in1k'"):
        create("resnet50.a1_in2k")
    with pytest.raises(OptionError, match="headstart backbones PATTERN"):
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
