"""torchvision's key names: the converted weights compute what torchvision's network computes, bit for bit or to
rounding.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from headstart.errors import WeightsError
from headstart.models.checkpoints import fit_weights, read_state_dict
from headstart.models.factory import create

from .conftest import photos, shaken


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
    ],
)
def test_torchvisions_weights_give_torchvisions_features(tmp_path: Path, theirs: str, ours: str, size: int) -> None:
    net = shaken(torchvision.models.get_model(theirs).eval())
    save_file(net.state_dict(), tmp_path / "w.safetensors")  # which sorts the keys: their order in a file means nothing
    backbone = create(ours, weights=tmp_path / "w.safetensors")
    last = [name for name, _ in net.named_children()][-1]
    if theirs.startswith("convnext"):
        net.classifier[2] = nn.Identity()  # its LayerNorm belongs to the features
    else:
        setattr(net, last, nn.Identity())
    with torch.no_grad():
        expected = net(photos(size)).flatten(1)
        torch.testing.assert_close(backbone(photos(size)), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 1e-3


def test_the_order_of_another_networks_keys_is_not_tried(tmp_path: Path) -> None:
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="do not fit mobilenetv2_100"):
        fit_weights(create("mobilenetv2_100", pretrained=False), read_state_dict(tmp_path / "w.pth"), "w.pth")
