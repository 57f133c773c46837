"""Parts of a caller's own, as small as can be: networks, a transform, a strategy."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import nn

from headstart.training.strategies.base import Boundary, FitContext, FitResult, Strategy
from headstart.training.strategies.finetune import fine_tune


def stage(width: int, to: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, to, 3, 2, 1, bias=False), nn.BatchNorm2d(to), nn.ReLU())


class Net(nn.Module):
    """Two stages, to maps [N, 16, 8, 8] of photos of 32 px; always with the same weights."""

    image_size = 32
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            self.low, self.high = stage(3, 8), stage(8, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.high(self.low(x))


class Squashed(Net):
    """The same weights, and another function of them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.high(torch.tanh(self.low(x)))


def jittered(picture: Image.Image) -> Image.Image:
    """Mirrored and darkened at random."""
    turned = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if torch.rand(()) < 0.5 else picture
    share = 0.6 + 0.4 * float(torch.rand(()))
    return turned.point([int(value * share) for value in range(256)] * 3)


class NormsOnly(Strategy):
    """Trains scales and shifts of normalisation."""

    summary = "training of the scales and shifts of normalisation alone"
    boundary = Boundary("none", "start", "normalisation is everywhere")
    trains_backbone = True

    def takes(self, plan: Any) -> frozenset[str]:
        return frozenset({"callbacks"})

    def fit(self, context: FitContext) -> FitResult:
        return fine_tune(context, trainable=lambda name, parameter: parameter.ndim == 1)
