"""Small networks for the backbone tests. In: nothing. Out: backbones with random weights; one torch thread."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from headstart.models.backbone import Backbone
from headstart.models.factory import create

torch.set_num_threads(1)


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every tensor random and none trivial: fresh networks' zeros and ones would hide a wrong order or a lost layer."""
    made = torch.Generator().manual_seed(seed)
    for key, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if key.endswith("running_var") or (tensor.ndim == 1 and key.endswith("weight")):
            tensor.copy_(0.8 + 0.4 * torch.rand(tensor.shape, generator=made))
        else:
            tensor.copy_(torch.randn(tensor.shape, generator=made) * (0.05 if tensor.ndim > 1 else 0.1))
    return module


def small(name: str, seed: int = 0) -> Backbone:
    backbone = create(name, pretrained=False)
    shaken(backbone, seed)
    return backbone


def photos(size: int = 64, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="session")
def weights_folder(assets: Path) -> Path:
    """The folder of real weights; tests that take it are marked ``assets``."""
    return assets / "weights"
