"""The whole classifier as one graph. In: uint8 RGB photos of any size [N, H, W, 3]. Out: probabilities [N, C].

Resizing and cropping are two matrix products, one per axis: row i of a matrix holds the weights of the pixels that make
output pixel i. Every runtime multiplies matrices in the same way, whereas their resize operators differ in how they
antialias; and only what the crop keeps is computed. The weights are Pillow's (a triangle or Keys' cubic, widened by the
scale where a photo shrinks), so the graph sees what ``decode`` and ``centre`` show the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.errors import OptionError
from headstart.inference.runner import fold
from headstart.models.network import Network
from headstart.models.preprocessing import Preprocessing

FILTERS = ("bilinear", "bicubic")


class WholeClassifier(nn.Module):
    """Preprocessing, network and softmax. ``images`` uint8 [N, H, W, 3] -> ``probabilities`` float32 [N, C].

    Raises:
        OptionError: an interpolation whose weights are not known here.
    """

    def __init__(self, network: Network, preprocessing: Preprocessing) -> None:
        super().__init__()
        if preprocessing.interpolation not in FILTERS:
            raise OptionError(
                f"A model whose photos are resized by {preprocessing.interpolation} cannot be exported.",
                f"Known: {', '.join(FILTERS)}.",
            )
        self.preprocessing = preprocessing
        self.backbone = fold(network.backbone)
        self.head = network.head.eval()
        self.register_buffer("mean", 255 * torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(self.prepare(images)))
        return logits.softmax(1)

    def prepare(self, images: Tensor) -> Tensor:
        """Photos as the network takes them: float32 [N, 3, S, S], resized, cropped and normalised."""
        height, width = (torch.scalar_tensor(images.shape[axis], dtype=torch.int64) for axis in (1, 2))
        short = torch.minimum(height, width)
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        # As Pillow does: along the rows first (unless a photo is very tall), and whole numbers in between.
        x = _whole(x @ self._weights(width, short, images.shape[2]).T)
        x = _whole(self._weights(height, short, images.shape[1]) @ x)
        return (x - self.mean) / self.std

    def _weights(self, side: Tensor, short: Tensor, pixels: int) -> Tensor:
        """[S, pixels]: how much of each source pixel goes into each pixel of the crop, along one axis."""
        resize, size = self.preprocessing.resize, self.preprocessing.image_size
        # The same numbers as ``decode._resized`` has; of a panorama the centre two squares are kept.
        whole = torch.div(resize * side, short, rounding_mode="floor")
        kept = torch.clamp(whole, max=2 * resize)
        span = torch.where(whole > 2 * resize, 2 * short, side)
        scale = span.to(torch.float32) / kept.to(torch.float32)
        first = torch.div(kept - size, 2, rounding_mode="floor").to(torch.float32)
        start = (side - span).to(torch.float32) / 2
        centres = start + (torch.arange(size, dtype=torch.float32) + first + 0.5) * scale
        places = torch.arange(pixels, dtype=torch.float32) + 0.5
        far = (places[None, :] - centres[:, None]) / scale.clamp(min=1.0)
        weights = self._filter(far.abs())
        return weights / weights.sum(1, keepdim=True)

    def _filter(self, far: Tensor) -> Tensor:
        """The filter's height at a distance (Keys 1981 with a = -1/2 for bicubic)."""
        if self.preprocessing.interpolation == "bilinear":
            return (1 - far).clamp(min=0.0)
        near = (1.5 * far - 2.5) * far * far + 1
        tail = ((-0.5 * far + 2.5) * far - 4) * far + 2
        return torch.where(far < 1, near, torch.where(far < 2, tail, torch.zeros_like(far)))


def _whole(x: Tensor) -> Tensor:
    """To the nearest whole number, halves upwards as in Pillow: where a photo shrinks by 5/4, they are common."""
    return (x + (0.5 + 1e-4)).floor().clamp(0, 255)
