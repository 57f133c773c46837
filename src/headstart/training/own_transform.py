"""A caller's own augmentation: one picture in, one picture out, for each photo of each epoch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from headstart.core.text import brief
from headstart.core.world import ALONE, World
from headstart.data.images import DecodedImages, centre
from headstart.errors import OptionError
from headstart.training.batches import Batch, drawn, own_bounds

Transform = Callable[[Image.Image], Any]


@dataclass(frozen=True)
class TransformedSource:
    """Photos that the caller's ``transform`` augments, as ``PictureSource`` gives them: uint8 [B, S, S, 3].

    The generators of torch, NumPy and Python are seeded for each photo by (seed, epoch, its place), and put back after
    each batch. They are global: pictures are made one after the other, between the steps.
    """

    pixels: DecodedImages
    labels: np.ndarray
    size: int
    transform: Transform
    seed: int
    balanced: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, epoch: int, batch_size: int, start: int = 0, world: World = ALONE) -> Iterator[Batch]:
        order, _ = drawn(self.labels, self.seed, epoch, self.balanced)
        for first, last in own_bounds(len(self), batch_size, world)[start:]:
            photos = np.empty((last - first, self.size, self.size, 3), np.uint8)
            with _own_randomness():
                for slot, place in enumerate(range(first, last)):
                    _seed((self.seed * 1_000_003 + epoch) * 1_000_003 + place)
                    photos[slot] = transformed(self.transform, self.pixels.row(int(order[place])), self.size)
            yield torch.from_numpy(photos), torch.from_numpy(self.labels[order[first:last]])


def transformed(transform: Transform, row: np.ndarray, size: int) -> np.ndarray:
    """The caller's version of a photo (uint8 [h, w, 3], shorter side >= size), as uint8 [size, size, 3]: of a larger
    picture, the centre. Raises OptionError for what is no such picture.
    """
    made = transform(Image.fromarray(row))
    picture = _pixels(made)
    if min(picture.shape[:2]) < size:
        shape = "x".join(map(str, picture.shape[1::-1]))
        problem = f"`transform` makes a picture of {shape} px, and the network reads {size} px."
        raise OptionError(problem, "Let it crop to that size, or leave the size as it is.", option="transform")
    return centre(picture, size)


def _pixels(made: Any) -> np.ndarray:
    """A picture, an array [h, w, 3] or a tensor [3, h, w] of uint8, as an array. Raises OptionError."""
    if isinstance(made, Image.Image):
        return np.asarray(made.convert("RGB"))
    told = type(made).__name__
    if isinstance(made, torch.Tensor | np.ndarray):
        told, channels = f"{told} {list(made.shape)} of {made.dtype}", 0 if isinstance(made, torch.Tensor) else 2
        if made.dtype in (torch.uint8, np.uint8) and made.ndim == 3 and made.shape[channels] == 3:
            found = made.permute(1, 2, 0).cpu().numpy() if isinstance(made, torch.Tensor) else made
            return np.ascontiguousarray(found)
    raise OptionError(
        f"`transform` returns a {told}.",
        "It must return a PIL image, an array [h, w, 3] or a tensor [3, h, w] of uint8: no ToTensor and no Normalize,"
        " which headstart does itself.",
        option="transform",
    )


def check_transform(transform: Transform, row: np.ndarray, size: int) -> None:
    """Try it on one photo. Raises OptionError."""
    try:
        with _own_randomness():
            transformed(transform, row, size)
    except OptionError:
        raise
    except Exception as error:
        problem = f"`transform` fails on a photo of {row.shape[1]}x{row.shape[0]} px: {brief(error)}."
        raise OptionError(problem, "It is called with a PIL image (RGB).", option="transform") from error


def _seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.default_generator.manual_seed(number % 2**63)


@contextmanager
def _own_randomness() -> Iterator[None]:
    """The three global generators, put back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
