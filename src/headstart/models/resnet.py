"""ResNets. In: a name of torchvision's, or blocks and widths. Out: the network without a classifier, from photos
[N, 3, H, W] to features [N, D].

He et al., "Deep Residual Learning for Image Recognition" (2016), in the form of torchvision and timm: their key names,
random weights and outputs, in every bit (the tests compare). timm has these networks too, but importing it imports each
of its 1,700 models, torchvision and torch's compiler: two seconds before a photo is named, and these are the networks
that most people use.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from headstart.models.preprocessing import Preprocessing

STEM = 64
"""Channels of the first convolution."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the way around them: [N, inputs, H, W] to [N, width, H / stride, W / stride]."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        around = x
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += around if self.downsample is None else self.downsample(around)
        out: Tensor = self.act2(x)
        return out

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, and the way around them; the outputs are four times as wide as the middle,
    which carries the stride.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width, width * self.expansion, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.act3 = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        around = x
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.act2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += around if self.downsample is None else self.downsample(around)
        out: Tensor = self.act3(x)
        return out

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3


Kind = type[BasicBlock] | type[Bottleneck]
_TORCHVISIONS: dict[str, tuple[Kind, tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


def build_resnet(name: str) -> ResNet:
    """torchvision's ``resnet18`` ... ``resnet152``, randomly initialised."""
    return ResNet(*_TORCHVISIONS[name])


def resnet_preprocessing() -> Preprocessing:
    """What torchvision's weights were trained for: the central 224 px of a shorter side of 256 px."""
    return Preprocessing(image_size=224, resize=256)


class ResNet(nn.Module):
    """Stem, one stage per entry of ``blocks`` (its number of blocks) and ``widths``, global mean; each stage but the
    first halves height and width.
    """

    def __init__(self, block: Kind, blocks: tuple[int, ...], widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        outputs = [STEM, *(width * block.expansion for width in widths)]
        for i, ((inputs, _), width, count) in enumerate(zip(pairwise(outputs), widths, blocks, strict=True)):
            self.add_module(f"layer{i + 1}", _stage(block, inputs, width, count, stride=1 if i == 0 else 2))
        self.global_pool = GlobalMean()
        self.dim = outputs[-1]
        self.init_weights()

    def forward(self, x: Tensor) -> Tensor:
        for member in self.children():
            x = member(x)
        return x

    def init_weights(self) -> None:
        """He et al., "Delving Deep into Rectifiers" (2015), by the outputs; each block begins as its way around alone
        (Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.last_norm.weight)


class GlobalMean(nn.Module):
    """[N, C, H, W] to [N, C]. Without a condition, unlike ``chain.GlobalPool``, so that the network can be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def _stage(block: Kind, inputs: int, width: int, count: int, stride: int) -> nn.Sequential:
    outputs = width * block.expansion
    # Made before the block that it belongs to: this is the order in which timm draws random weights.
    around = _projection(inputs, outputs, stride) if stride != 1 or inputs != outputs else None
    first = block(inputs, width, stride, around)
    return nn.Sequential(first, *(block(outputs, width) for _ in range(count - 1)))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
