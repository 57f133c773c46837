"""ResNets without a classifier, from photos [N, 3, H, W] to features [N, D], and torchvision's weights for them.

He et al., "Deep Residual Learning for Image Recognition" (2016), in the form of torchvision and timm: their key names,
random weights and outputs, in every bit (the tests compare). timm has these networks too, but importing it imports each
of its 1,700 models, torchvision and torch's compiler, which takes two seconds, and these are the most used networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from torch import Tensor, nn

from headstart.models.backbone import Backbone, Facts
from headstart.models.blocks import TRIAL_SIZES, member_blocks
from headstart.models.checkpoints import fit_weights, read_state_dict
from headstart.models.key_mapping import RESNETS
from headstart.models.options import Values
from headstart.models.preprocessing import Preprocessing
from headstart.models.pretrained import from_url, place
from headstart.models.providers import BackboneInfo, Entry


class Block(nn.Module):
    """Convolutions, each with BatchNorm and ReLU, and a shortcut around them, added before the last ReLU."""

    def __init__(self, convs: tuple[nn.Conv2d, ...], downsample: nn.Module | None) -> None:
        super().__init__()
        self.depth = len(convs)
        for i, conv in enumerate(convs, 1):
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(conv.out_channels))
            self.add_module(f"act{i}", nn.ReLU(inplace=True))
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        for i in range(1, self.depth + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            if i == self.depth:
                x += shortcut if self.downsample is None else self.downsample(shortcut)
            x = getattr(self, f"act{i}")(x)
        return x


class BasicBlock(Block):
    """Two 3x3 convolutions: [N, inputs, H, W] to [N, width, H / stride, W / stride]."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__((_conv(inputs, width, 3, stride), _conv(width, width, 3)), downsample)


class Bottleneck(Block):
    """A 3x3 convolution, which has the stride, between two of 1x1; the outputs are four times as wide as the middle."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        convs = (_conv(inputs, width, 1), _conv(width, width, 3, stride), _conv(width, width * self.expansion, 1))
        super().__init__(convs, downsample)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


Kind = type[BasicBlock] | type[Bottleneck]


class ResNet(nn.Module):
    """Stem, one stage per entry of ``blocks`` (its number of blocks) and ``widths``, global mean; each stage but the
    first halves height and width.
    """

    def __init__(self, block: Kind, blocks: tuple[int, ...], widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        super().__init__()
        stem = 64
        self.conv1 = _conv(3, stem, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(stem)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        outputs = [stem, *(width * block.expansion for width in widths)]
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
        """He et al., "Delving Deep into Rectifiers" (2015), by the outputs; each block starts as its shortcut alone
        (Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, Block):
                nn.init.zeros_(getattr(module, f"bn{module.depth}").weight)


class GlobalMean(nn.Module):
    """[N, C, H, W] to [N, C]. Without a condition, unlike ``chain.GlobalPool``, so that the network can be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def _stage(block: Kind, inputs: int, width: int, count: int, stride: int) -> nn.Sequential:
    outputs = width * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:  # made before its block: this is the order in which timm draws random weights
        downsample = nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
    first = block(inputs, width, stride, downsample)
    return nn.Sequential(first, *(block(outputs, width) for _ in range(count - 1)))


TORCHVISION = "https://download.pytorch.org/models/"
# These names mean torchvision's ImageNet-1k (V1) weights, which most papers and courses call "a pretrained ResNet".
# timm's name for the same weights has the tag; its untagged names mean other recipes, and would change with timm.
TORCHVISION_RESNETS = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet152": "resnet152-394f9c45.pth",
}
_TAG = "tv_in1k"
_WEIGHTS = "torchvision ImageNet-1k"


class TorchvisionResNets:
    """The provider of torchvision's ResNets."""

    options: Mapping[str, Values] = {}

    def resolve(self, name: str) -> Entry | None:
        base, _, tag = name.partition(".")
        if base not in TORCHVISION_RESNETS or tag not in ("", _TAG):
            return None
        return Entry(name, f"{base}.{_TAG}", "torchvision", _WEIGHTS)

    def names(self) -> Iterable[str]:
        return TORCHVISION_RESNETS

    def describe(self, name: str) -> BackboneInfo:
        return BackboneInfo(name, 224, _WEIGHTS, "resnet", "bsd-3-clause")

    def at_hand(self, entry: Entry) -> bool:
        return place(TORCHVISION_RESNETS[entry.base]).is_file()

    def fetch(self, entry: Entry) -> Path:
        return from_url(TORCHVISION + TORCHVISION_RESNETS[entry.base])

    def build(self, entry: Entry, weights: Path | None) -> Backbone:
        blocks, bottleneck = RESNETS[entry.base]
        net = ResNet(Bottleneck if bottleneck else BasicBlock, blocks)
        # Trained on the central 224 px of a shorter side of 256 px.
        return as_backbone(net, entry, Preprocessing(image_size=224, resize=256), weights)


def as_backbone(net: ResNet, entry: Entry, preprocessing: Preprocessing, weights: Path | None) -> Backbone:
    """A ResNet as a backbone, with the weights of a file if one is given. Raises WeightsError."""
    trial_size = min(TRIAL_SIZES[0], preprocessing.image_size)
    facts = Facts(entry.name, entry.architecture, preprocessing, net.dim, trial_size=trial_size, classifier=("fc",))
    backbone = Backbone(tuple(member_blocks(net)), facts)
    if weights is not None:
        fit_weights(backbone, read_state_dict(weights), origin=str(weights))
    return backbone
