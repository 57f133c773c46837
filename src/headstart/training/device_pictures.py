"""Photos that stay on a GPU during a training, and are cropped, mirrored and coloured there: what ``PictureSource``
makes of them with Pillow, from the same random numbers, to within the rounding of a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from headstart.core.ahead import ahead
from headstart.core.world import ALONE, World
from headstart.data.augment import Augmentation, crop_box
from headstart.data.images import DecodedImages, reader_threads
from headstart.inference.device import Machine
from headstart.training.batches import Batch, drawn, own_bounds

SHARE = 0.3
"""Of the device's free memory: the network, its gradients and its activations need the rest."""
CHUNK = 512
"""Photos that are copied to the device at a time."""


@dataclass(frozen=True)
class DevicePictures:
    """As ``PictureSource``; batches are uint8 [B, S, S, 3] on the device.

    ``pixels``: uint8 [P, 3], the rows of all photos behind each other; ``first`` [N] where each begins there, ``shape``
    [N, 2] its height and width in px.
    """

    pixels: torch.Tensor
    first: np.ndarray
    shape: np.ndarray
    labels: np.ndarray
    size: int
    how: Augmentation
    seed: int
    balanced: bool = False

    @classmethod
    def of(
        cls, photos: DecodedImages, labels: np.ndarray, size: int, how: Augmentation, seed: int, balanced: bool,
        device: torch.device,
    ) -> DevicePictures:  # fmt: skip
        """Copy the photos to a device. Raises ChangedPhoto."""

        def chunk(start: int) -> tuple[np.ndarray, list[tuple[int, ...]]]:
            rows = [photos.row(i) for i in range(len(photos))[start : start + CHUNK]]
            return np.concatenate([row.reshape(-1, 3) for row in rows]), [row.shape[:2] for row in rows]

        parts, shapes, threads = list[torch.Tensor](), list[tuple[int, ...]](), reader_threads()
        for pixels, some in ahead(chunk, range(0, len(photos), CHUNK), threads, threads):
            parts.append(torch.from_numpy(pixels).to(device))
            shapes += some
        shape = np.array(shapes, dtype=np.int64)
        first = np.cumsum(shape.prod(1)) - shape.prod(1)
        return cls(torch.cat(parts), first, shape, labels, size, how, seed, balanced)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, epoch: int, batch_size: int, start: int = 0, world: World = ALONE) -> Iterator[Batch]:
        order, draws = drawn(self.labels, self.seed, epoch, self.balanced)

        def on_device(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(self.pixels.device)

        boxes = on_device(self._boxes(order, draws).astype(np.float32))
        shape, begin = on_device(self.shape[order]), on_device(self.first[order])
        mirrored = on_device((draws[:, 4] < 0.5) & self.how.mirror)
        colour, labels = on_device(draws[:, 5:8].astype(np.float32)), on_device(self.labels[order])
        for first, last in own_bounds(len(self), batch_size, world)[start:]:
            one = slice(first, last)
            height, width = (int(n) for n in self.shape[order[one]].max(0, initial=1))
            rows = self._rows(begin[one], shape[one, 1], height, width)
            across = weights(boxes[one][:, [0, 2]], shape[one, 1], self.size, width, mirrored[one])
            down = weights(boxes[one][:, [1, 3]], shape[one, 0], self.size, height)
            photos = resampled(rows, across, down)
            if self.how.colour:
                photos = recoloured(photos, self.how.colour, colour[one])
            yield photos.to(torch.uint8), labels[one]

    def _boxes(self, order: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """The crop of each place of an epoch, [N, 4] (left, top, right, bottom) in px."""
        height, width = self.shape[order].T
        if self.how.smallest < 1.0:
            return crop_box(width, height, self.how.smallest, draws[:, :4])
        left, top = (width - self.size) // 2, (height - self.size) // 2  # as ``centre`` does
        return np.stack([left, top, left + self.size, top + self.size], axis=1).astype(float)

    def _rows(self, begin: torch.Tensor, widths: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """The photos that begin there, uint8 [B, height, width, 3], smaller ones filled up with any pixels."""
        y, x = (torch.arange(n, device=begin.device) for n in (height, width))
        places = begin[:, None, None] + y[:, None] * widths[:, None, None] + x
        return self.pixels[places.clamp_(max=len(self.pixels) - 1)]


def fits(photos: DecodedImages, machine: Machine) -> bool:
    """Whether the photos are kept, and the memory of a GPU holds them beside a training."""
    if machine.device.type != "cuda" or photos.store is None or not len(photos):
        return False
    free, _ = torch.cuda.mem_get_info(machine.device)
    sides = np.array(photos.sizes, dtype=float)
    pixels = photos.resize**2 * np.minimum(2, sides.max(1) / sides.min(1)).sum()  # rows are at most twice as long
    return bool(3 * pixels < SHARE * free)


def weights(
    spans: torch.Tensor, lengths: torch.Tensor, size: int, longest: int, mirrored: torch.Tensor | None = None
) -> torch.Tensor:
    """What each pixel counts for in each pixel of the result, float32 [B, size, longest]: a triangle around the place
    that is asked for, widened where the result is smaller, cut off at the photo's edge (Pillow's BILINEAR).

    Args:
        spans: the part of each photo that is resized, [B, 2] px.
        lengths: of the photos along that axis, [B] px.
        size: of the result, px.
        longest: pixels along the axis in the batch.
        mirrored: which results are reversed, [B].
    """
    scale = (spans[:, 1:] - spans[:, :1]) / size
    slots = torch.arange(size, device=spans.device)
    if mirrored is not None:
        slots = torch.where(mirrored[:, None], size - 1 - slots, slots)
    centres = (spans[:, :1] + (slots + 0.5) * scale)[:, :, None]
    places = torch.arange(longest, device=spans.device)
    found = (1 - (places + 0.5 - centres).abs() / scale.clamp_min(1)[:, :, None]).clamp_min(0)
    found = found * (places < lengths[:, None, None])
    return found / found.sum(2, keepdim=True)


def resampled(rows: torch.Tensor, across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Photos [B, H, W, 3] resized by the weights of both axes, rounded: float32 [B, S, S, 3]."""
    # Half precision holds all values of a pixel, and a weight to 0.05 %; products are added up in float32.
    kind = torch.float16 if rows.is_cuda else torch.float32
    photos, height, width, _ = rows.shape
    size, across, down = across.shape[1], across.to(kind), down.to(kind)
    lines = torch.bmm(down, rows.to(kind).view(photos, height, width * 3)).view(photos, size, width, 3)
    columns = lines.transpose(1, 2).reshape(photos, width, size * 3)
    found = torch.bmm(across, columns).view(photos, size, size, 3).transpose(1, 2)
    return found.float().add_(0.5).floor_().clamp_(0, 255)


def recoloured(photos: torch.Tensor, strength: float, u: torch.Tensor) -> torch.Tensor:
    """As ``augment.recolour``, for photos [B, S, S, 3] and their random numbers [B, 3]."""
    brightness, contrast, saturation = (1 + strength * (2 * u - 1))[:, :, None, None, None].unbind(1)
    x = photos * brightness
    grey = x @ torch.tensor([0.299, 0.587, 0.114], device=x.device)
    x = grey[..., None] + (x - grey[..., None]) * saturation
    mean = grey.mean((1, 2))[:, None, None, None]
    return (mean + (x - mean) * contrast).clamp(0, 255)
