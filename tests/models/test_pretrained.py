"""Published weights, fetched from a server on this machine: the right bytes, damaged bytes, no network."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from helpers.hubs import Hub
from safetensors.torch import save

from headstart.errors import OptionError, WeightsError
from headstart.models.factory import create
from headstart.models.providers import PROVIDERS, resolve
from headstart.models.resnet import TORCHVISION, TORCHVISION_RESNETS

from .conftest import shaken


def at_hand(name: str) -> bool:
    entry = resolve(name)
    return PROVIDERS.get(entry.provider).at_hand(entry)


def pickled(net: torch.nn.Module) -> bytes:
    content = io.BytesIO()
    torch.save(net.state_dict(), content)
    return content.getvalue()


def named_by_digest(monkeypatch: pytest.MonkeyPatch, content: bytes) -> str:
    """Points torchvision's resnet18 to a file that carries the digest of this content: the real one is 45 MB."""
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setitem(TORCHVISION_RESNETS, "resnet18", name)
    return name


def test_the_addresses_are_those_that_torchvision_fetches_from() -> None:
    from torchvision.models import get_model_weights

    for name, file in TORCHVISION_RESNETS.items():
        assert get_model_weights(name)["IMAGENET1K_V1"].url == TORCHVISION + file


def test_a_torchvision_file_is_fetched_once_and_kept(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    net = shaken(timm.create_model("resnet18"))
    content = pickled(net)
    name = named_by_digest(monkeypatch, content)
    hub.anywhere[name] = content
    assert not at_hand("resnet18")
    backbone = create("resnet18")
    assert at_hand("resnet18")
    assert (backbone.source, backbone.pretrained) == ("torchvision ImageNet-1k", True)
    assert torch.equal(backbone.get_parameter("conv1.weight"), net.conv1.weight)
    assert (tmp_path / "own-cache" / "weights" / name).is_file()
    asked = len(hub.asked)
    create("resnet18")
    assert len(hub.asked) == asked


def test_bytes_that_are_not_the_named_ones_are_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = pickled(timm.create_model("test_resnet"))
    name = named_by_digest(monkeypatch, content)
    hub.anywhere[name] = content[:-1] + b"x"
    with pytest.raises(WeightsError, match="the weights could not be fetched"):
        create("resnet18")
    assert not (tmp_path / "own-cache" / "weights" / name).exists()


def test_weights_from_the_hub_go_through_timm_and_are_kept(hub: Hub) -> None:
    net = shaken(timm.create_model("test_vit"))
    hub.anywhere["model.safetensors"] = save(net.state_dict())
    assert not at_hand("test_vit")
    backbone = create("test_vit")
    assert at_hand("test_vit")
    assert (backbone.source, backbone.pretrained) == (f"timm {resolve('test_vit').architecture}", True)
    assert torch.equal(backbone.state_dict()["pos_embed"], net.pos_embed)
    hub.close()
    assert create("test_vit").weights_digest == backbone.weights_digest


def test_a_repository_without_safetensors(hub: Hub) -> None:
    net = shaken(timm.create_model("test_resnet"))
    hub.anywhere["pytorch_model.bin"] = pickled(net)
    assert torch.equal(create("test_resnet").get_parameter("conv1.0.weight"), net.conv1[0].weight)


def test_a_file_that_is_not_the_announced_one_is_deleted(hub: Hub, tmp_path: Path) -> None:
    hub.anywhere["model.safetensors"] = save(timm.create_model("test_vit").state_dict())
    hub.announced = "0" * 64
    with pytest.raises(WeightsError, match="is damaged"):
        create("test_vit")
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.is_file() and path.stat().st_size > 1000]
    hub.announced = None
    assert create("test_vit").pretrained


def test_no_network_says_what_to_do_instead(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.core.download.BACKOFF_S", 0.0)
    hub.close()
    for name in ("resnet18", "test_vit"):
        with pytest.raises(WeightsError, match=r"could not be fetched(?s:.)*`weights=FILE`(?s:.)*starter"):
            create(name)


def test_an_empty_repository(hub: Hub) -> None:
    with pytest.raises(WeightsError, match="holds none of"):
        create("test_vit")


def test_looking_for_weights_on_this_machine_asks_nobody(hub: Hub) -> None:
    found = [at_hand(name) for name in ("starter", "resnet50", "test_vit", "test_vit_relpos")]
    assert found == [True, False, False, False]
    assert not hub.asked


def test_a_network_that_nobody_trained(hub: Hub) -> None:
    with pytest.raises(OptionError, match="no pretrained weights are published"):
        PROVIDERS.get("timm").fetch(resolve("test_vit_relpos"))
    assert not hub.asked


def test_a_file_that_was_changed_in_the_cache_is_deleted(hub: Hub, tmp_path: Path) -> None:
    hub.anywhere["model.safetensors"] = save(timm.create_model("test_vit").state_dict())
    create("test_vit")
    (blob,) = (path for path in (tmp_path / "hub").rglob("blobs/*") if path.is_file())
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(WeightsError, match=r"is damaged(?s:.)*it was deleted(?s:.)*Run the same command again"):
        create("test_vit")
    assert create("test_vit").pretrained


def test_weights_from_the_hub_that_are_not_finite(hub: Hub) -> None:
    state = timm.create_model("test_vit").state_dict()
    state["norm.bias"][3] = float("nan")
    hub.anywhere["model.safetensors"] = save(state)
    with pytest.raises(WeightsError, match="not finite"):
        create("test_vit")


@pytest.mark.parametrize(
    ("kept", "words"),
    [(lambda key: False, "patch_embed.proj.weight"), (lambda key: "blocks.3" not in key, "4 missing: blocks.3.")],
)
def test_weights_from_the_hub_of_which_not_all_fit_are_not_taken_as_random_ones(
    hub: Hub, kept: Callable[[str], bool], words: str
) -> None:
    state = timm.create_model("test_vit").state_dict()
    hub.anywhere["model.safetensors"] = save({key if kept(key) else f"other.{key}": t for key, t in state.items()})
    with pytest.raises(WeightsError, match=words) as caught:
        create("test_vit")
    assert "does not fit" in str(caught.value)


def test_a_new_norm_of_another_pooling_is_not_missed(hub: Hub) -> None:
    hub.anywhere["model.safetensors"] = save(timm.create_model("test_vit").state_dict())
    assert create("test_vit:global_pool=avg").pretrained


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00.", b"PK\x03\x04" + b"x" * 100, b"<html>", b"x" * 5000])
def test_a_pickle_of_the_hub_that_is_none(hub: Hub, content: bytes) -> None:
    hub.anywhere["pytorch_model.bin"] = content
    with pytest.raises(WeightsError):
        create("test_resnet")
