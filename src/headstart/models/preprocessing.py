"""What a network expects of its input; saved with the classifier."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LARGEST_SIDE = 4096
"""Of an input size in px: a larger one is a typing error, or meant to fill the memory."""


@dataclass(frozen=True)
class Preprocessing:
    """From a photo to the network's input, the same in evaluation during training, predict, export and serve.

    The shorter side is resized to ``resize`` px (antialiased), the central ``image_size`` x ``image_size`` px are kept,
    values in [0, 1] are normalised by ``mean`` and ``std`` per RGB channel.
    """

    image_size: int = 224
    resize: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"

    def at(self, image_size: int, resize: int | None = None) -> Preprocessing:
        """The same preprocessing at another input size (px); ``resize`` defaults to ``image_size``, which keeps
        the whole shorter side.
        """
        return replace(self, image_size=image_size, resize=resize or image_size)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
