"""What a network expects of its input; saved with the classifier."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from headstart.core.ranges import Ranges

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LARGEST_SIDE = 4096
"""Of an input size in px: a larger one is a typing error, or meant to fill the memory."""


@dataclass(frozen=True)
class Preprocessing:
    """From a photo to the network's input, the same in evaluation during training, predict, export and serve.

    The shorter side is resized to ``resize`` px (antialiased), the central ``image_size`` x ``image_size`` px are kept,
    values in [0, 1] are normalised by ``mean`` and ``std`` per RGB channel. ``ranges``: which values of deep photos
    (more than 8 bits per channel) are black and white; None for models of ordinary photos.
    """

    image_size: int = 224
    resize: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"
    ranges: Ranges | None = None

    def at(self, image_size: int, resize: int | None = None, ranges: Ranges | None = None) -> Preprocessing:
        """The same preprocessing at another input size (px), of photos with these ``ranges``; ``resize`` defaults to
        ``image_size``, which keeps the whole shorter side.
        """
        return replace(self, image_size=image_size, resize=resize or image_size, ranges=ranges)

    def to_json(self) -> dict[str, Any]:
        """As in model.json, where ``ranges`` is missing if it is None."""
        told = asdict(replace(self, ranges=None))
        del told["ranges"]
        ranges = {name: list(pair) for name, pair in (self.ranges or Ranges())._asdict().items() if pair}
        return {**told, "ranges": ranges} if ranges else told

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Preprocessing:
        """From what ``to_json`` made; other keys are ignored."""
        values = {f.name: told[f.name] for f in fields(cls) if f.name != "ranges"}
        found = told.get("ranges") or {}
        pairs = {name: tuple(found[name]) for name in Ranges._fields if found.get(name)}
        return cls(**values, ranges=Ranges(**pairs) if pairs else None)
