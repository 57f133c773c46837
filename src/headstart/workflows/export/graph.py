"""The whole classifier as one graph, from uint8 RGB photos of any size [N, H, W, 3] to probabilities [N, C] (of any
number of labels: each label's own).

Resizing and cropping are two matrix products, one per axis: row i of a matrix holds the weights of the pixels that make
output pixel i. Every runtime multiplies matrices in the same way, whereas their resize operators differ in how they
antialias; and only what the crop keeps is computed. The weights are Pillow's (a triangle or Keys' cubic, widened by the
scale where a photo shrinks), so the graph's input is that of ``decode`` and ``centre``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.errors import OptionError
from headstart.evaluation.objective import MULTICLASS, Objective
from headstart.evaluation.uncertainty import Uncertainty
from headstart.inference.runner import fold
from headstart.models.network import Network
from headstart.models.preprocessing import Preprocessing


class WholeClassifier(nn.Module):
    """Preprocessing, network, softmax or sigmoid. ``images`` uint8 [N, H, W, 3] -> ``probabilities`` float32 [N, C].

    ``certainty``: what ``WithDistance`` is made from.

    Raises:
        OptionError: an interpolation whose weights are not known here.
    """

    def __init__(
        self,
        network: Network,
        preprocessing: Preprocessing,
        objective: Objective = MULTICLASS,
        certainty: Uncertainty | None = None,
    ) -> None:
        super().__init__()
        self.activate = objective.activate
        if preprocessing.interpolation not in ("bilinear", "bicubic"):
            problem = f"A model whose photos are resized by {preprocessing.interpolation} cannot be exported."
            raise OptionError(problem, "Known: bilinear, bicubic.")
        self.preprocessing, self.certainty = preprocessing, certainty
        self.backbone = fold(network.backbone)
        self.head = network.head.eval()
        self.register_buffer("mean", 255 * torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    def forward(self, images: Tensor) -> Tensor:
        return self.probabilities(self.backbone(self.prepare(images)))

    def probabilities(self, features: Tensor) -> Tensor:
        """[N, C] from the backbone's features."""
        return self.activate(self.head(features))

    def prepare(self, images: Tensor) -> Tensor:
        """Photos as the network takes them: float32 [N, 3, S, S], resized, cropped and normalised."""
        height, width = (torch.scalar_tensor(images.shape[axis], dtype=torch.int64) for axis in (1, 2))
        return self.prepare_corner(images, height, width)

    def prepare_corner(self, images: Tensor, height: Tensor, width: Tensor) -> Tensor:
        """As ``prepare``, of photos of this size in the upper left corner of ``images``."""
        short = torch.minimum(height, width)
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        # As Pillow does: along the rows first (unless a photo is very tall), and whole numbers in between.
        x = _whole(x @ self._weights(width, short, images.shape[2]).T)
        x = _whole(self._weights(height, short, images.shape[1]) @ x)
        return (x - self.mean) / self.std

    def _weights(self, side: Tensor, short: Tensor, pixels: int) -> Tensor:
        """[S, pixels]: how much of each source pixel goes into each pixel of the crop, along one axis."""
        resize, size = self.preprocessing.resize, self.preprocessing.image_size
        # As in ``decode._resized``: of a panorama the centre two squares are kept.
        whole = torch.div(resize * side, short, rounding_mode="floor")
        kept = torch.clamp(whole, max=2 * resize)
        span = torch.where(whole > 2 * resize, 2 * short, side)
        scale = span.to(torch.float32) / kept.to(torch.float32)
        first = torch.div(kept - size, 2, rounding_mode="floor").to(torch.float32)
        start = (side - span).to(torch.float32) / 2
        centres = start + (torch.arange(size, dtype=torch.float32) + first + 0.5) * scale
        places = torch.arange(pixels, dtype=torch.float32) + 0.5
        far = ((places[None, :] - centres[:, None]) / scale.clamp(min=1.0)).abs()
        if self.preprocessing.interpolation == "bilinear":
            weights = (1 - far).clamp(min=0.0)
        else:  # Keys 1981 with a = -1/2
            near = (1.5 * far - 2.5) * far * far + 1
            tail = ((-0.5 * far + 2.5) * far - 4) * far + 2
            weights = torch.where(far < 1, near, torch.where(far < 2, tail, torch.zeros_like(far)))
        weights = weights * (places < side.to(torch.float32)).to(torch.float32)
        return weights / weights.sum(1, keepdim=True)


class OnCanvas(nn.Module):
    """The graph for runtimes that want inputs of one shape: ``images`` uint8 [1, M, M, 3] holds the photo in its upper
    left corner, ``size`` int32 [1, 2] is the photo's height and width.
    """

    def __init__(self, classifier: WholeClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor, size: Tensor) -> Tensor:
        height, width = size[0, 0].to(torch.int64), size[0, 1].to(torch.int64)
        prepared = self.classifier.prepare_corner(images, height, width)
        return self.classifier.probabilities(self.classifier.backbone(prepared))


class WithDistance(nn.Module):
    """The graph with a second output: ``distance`` float32 [N] to the training photos, above 1 for an unknown photo."""

    def __init__(self, classifier: WholeClassifier, means: Tensor, usual: float) -> None:
        super().__init__()
        self.classifier, self.usual = classifier, usual
        self.register_buffer("means", means, persistent=False)

    means: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.classifier.backbone(self.classifier.prepare(images))
        last = nn.functional.normalize(features[:, -self.means.shape[1] :])
        # No matrix product: the tools that quantize to int8 would take it for a layer.
        cosine = (last[:, None] * self.means).sum(2)
        return self.classifier.probabilities(features), (1 - cosine.amax(1)) / self.usual


def _whole(x: Tensor) -> Tensor:
    """Round, halves upwards as in Pillow: where a photo shrinks by 5/4, they are common."""
    return (x + (0.5 + 1e-4)).floor().clamp(0, 255)
