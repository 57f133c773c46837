"""The starter backbones: small ResNets for 32 px images whose weights ship with headstart.

BasicBlocks of He et al., "Deep Residual Learning for Image Recognition" (2016), in stages of 32, 64, 128 and 256
channels; both have 256 features. The stem is the 3x3 convolution of their CIFAR networks: their ImageNet stem (7x7,
stride 2, pooling) reduces 32 x 32 to 8 x 8 before the first block. ``starter`` has one block per stage and pools after
the stem, which makes it four times as fast; ``starter_large`` has seven blocks, and its first one sees all pixels.
Trained by scripts/make_starter.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import WeightsError
from headstart.models.catalogue import STARTERS
from headstart.models.options import Values
from headstart.models.preprocessing import Preprocessing
from headstart.models.providers import BackboneInfo, Entry

if TYPE_CHECKING:
    from headstart.models.backbone import Backbone

NAME = "starter"
WEIGHTS = "headstart's starter (CIFAR-100)"
POOLED = "starter"
IMAGE_SIZE = 32
CHANNELS = (32, 64, 128, 256)
# Per channel, of CIFAR-100's training images, on which it is trained.
MEAN = (0.5071, 0.4866, 0.4409)
STD = (0.2673, 0.2564, 0.2762)


class Starter:
    """The provider of these networks."""

    options: Mapping[str, Values] = {}

    def resolve(self, name: str) -> Entry | None:
        return Entry(name, name, NAME, WEIGHTS) if name in STARTERS else None

    def names(self) -> tuple[str, ...]:
        return tuple(STARTERS)

    def describe(self, name: str) -> BackboneInfo:
        return BackboneInfo(name, IMAGE_SIZE, WEIGHTS, "resnet", "MIT")

    def at_hand(self, entry: Entry) -> bool:
        return True

    def fetch(self, entry: Entry) -> Path:
        return starter_weights(entry.name)

    def build(self, entry: Entry, weights: Path | None) -> Backbone:
        from torch import nn

        from headstart.models.resnet import BasicBlock, ResNet, as_backbone

        net = ResNet(BasicBlock, STARTERS[entry.name], CHANNELS)
        stem = CHANNELS[0]  # a ResNet's own stem is 64 wide whatever the stages are
        net.conv1 = nn.Conv2d(3, stem, kernel_size=3, padding=1, bias=False)
        net.bn1 = nn.BatchNorm2d(stem)
        net.layer1 = nn.Sequential(BasicBlock(stem, stem))
        if entry.name != POOLED:
            del net.maxpool
        net.init_weights()
        return as_backbone(net, entry, Preprocessing(IMAGE_SIZE, IMAGE_SIZE, MEAN, STD), weights)


def starter_weights(name: str) -> Path:
    """The shipped weights file. Raises WeightsError if the installation lacks it."""
    path = Path(__file__).with_name(f"{name}.safetensors")
    if not path.is_file():
        raise WeightsError(
            f"{name}'s weights are not in this installation ({path})",
            "Install headstart again, or name another backbone, such as `backbone='resnet18'`.",
        )
    return path
