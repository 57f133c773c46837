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
from headstart.models.options import Whole
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
    assert [(info.name, info.at_hand) for info in backbones("starter")] == [("starter", True), ("starter_large", True)]
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
    for wrong in (
        "",
        "pad_type",
        "pad type=1",
        "a=",
        "drop_rate=1",
        "drop_rate=nan",
        "fix_stem=1",
        "fix_stem=True" * 2,
    ):
        with pytest.raises(OptionError, match=r"takes no option(?s:.)*pad_type=same\|valid; global_pool="):
            resolve(f"mobilenetv2_100:{wrong}")
    with pytest.raises(OptionError, match="takes no options"):
        resolve("resnet18:pad_type=same")


class Toys:
    """A provider from outside: the starter's network under another name, with weights of its own."""

    options = {"size": Whole(1, 8)}  # noqa: RUF012

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
    with pytest.raises(OptionError, match="It takes: size=1 to 8"):
        create("toy/one:size=9")
    starter = create("starter")
    assert torch.equal(made.get_parameter("conv1.weight"), starter.get_parameter("conv1.weight") + 1)
    with pytest.raises(OptionError, match="Did you mean 'toy/one'"):
        create("toy/onne")


@pytest.mark.parametrize(
    "name",
    [
        *("hf-hub:someone/evil", "hf_hub:someone/evil", "local-dir:/tmp/evil", "local-dir:.", "hf:someone/evil"),
        *("timm/resnet18.a1_in1k", "someone/evil", "/etc/passwd", "../evil", "resnet18.a1_in1k@main", "resnet18/."),
        *("https://evil.example/w.pth", "file:///etc/passwd", "resnet18.hf-hub:someone/evil", "x" * 1_000_000),
    ],
)
def test_a_name_is_never_an_address_or_a_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's ``create_model`` would fetch or open some of these."""
    import timm

    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("timm was asked"))
    with pytest.raises(OptionError) as told:
        create(name, pretrained=False)
    assert len(str(told.value)) < 1000


def test_the_options_of_timm_shape_a_network_and_do_nothing_else() -> None:
    """A list, so that an option of a new timm is refused until somebody has looked at it."""
    assert sorted(PROVIDERS.get("timm").options) == sorted(
        "pad_type global_pool output_stride fix_stem drop_rate drop_path_rate proj_drop_rate attn_drop_rate"
        " pos_drop_rate patch_drop_rate img_size dynamic_img_size dynamic_img_pad bn_eps".split()
    )


@pytest.mark.parametrize(
    "text",
    [
        *("checkpoint_path=/etc/passwd", "pretrained_cfg={'url':'http://x/w.pth'}", "pretrained_cfg_overlay={}"),
        *("pretrained=True", "file=/etc/passwd", "hf_hub_id=a/b", "cache_dir=/tmp", "num_classes=1000000000"),
        *("in_chans=1000000000", "scriptable=True", "exportable=True", "no_jit=True", "features_only=True"),
        *("out_indices=(0,)", "url=http://x/w.pth", "source=local-dir", "custom_load=True", "state_dict={}"),
        *("img_size=1000000000", f"img_size={'9' * 200}", "img_size=(224, 224)", "img_size=-1", "img_size=2e2"),
        *("embed_dim=1000000", "depth=100000", "device=cuda", "dtype=float16", "norm_layer=x", "__class__=1"),
        *("output_stride=1", "drop_rate=-0.1", "global_pool=", "pad_type=[[[[", "pad_type=same,pad_type=same"),
    ],
)
def test_every_other_option_is_refused_with_the_list(text: str) -> None:
    with pytest.raises(OptionError, match=r"takes no option(?s:.)*It takes: pad_type=same"):
        resolve(f"vit_tiny_patch16_224:{text}")


def test_a_network_from_a_file_is_weighed_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match=r"takes 26\.9 GB, far more than the weights beside it"):
        create("vit_7b_patch16_dinov3", pretrained=False, at_most=1 << 30)
    assert create("test_vit", pretrained=False, at_most=1 << 30).dim == 64
