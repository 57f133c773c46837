"""Batches of photos or cached outputs for the epoch loop, each a function of (seed, epoch, number) alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch

from headstart.core.ahead import ahead
from headstart.core.array_store import RowStore
from headstart.core.world import ALONE, World
from headstart.data.augment import Augmentation, draw_epoch, training_picture
from headstart.data.images import DecodedImages
from headstart.training.balance import even_order

Batch = tuple[torch.Tensor, torch.Tensor]


class Source(Protocol):
    """Training data for the epoch loop."""

    def __len__(self) -> int: ...

    def batches(self, epoch: int, batch_size: int, start: int = 0, world: World = ALONE) -> Iterator[Batch]:
        """Batches ``start`` ... of one epoch as (input on the CPU, labels [B]); of each, the part of this process among
        those of ``world``.
        """


def batch_bounds(photos: int, batch_size: int) -> list[tuple[int, int]]:
    """Nearly equal batches of at most ``batch_size``, so that none holds one photo (which BatchNorm cannot take)."""
    count = max(1, -(-photos // batch_size))
    return list(pairwise(round(i * photos / count) for i in range(count + 1)))


def own_bounds(photos: int, batch_size: int, world: World) -> list[tuple[int, int]]:
    """Of each batch, the part of this process."""
    return [world.part(first, last) for first, last in batch_bounds(photos, batch_size)]


@dataclass(frozen=True)
class PictureSource:
    """Photos, each cropped, mirrored and coloured anew in every epoch; batches are uint8 [B, S, S, 3]. ``balanced``,
    here and below: each class comes equally often.
    """

    pixels: DecodedImages
    labels: np.ndarray
    size: int
    how: Augmentation
    seed: int
    workers: int = 2
    balanced: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, epoch: int, batch_size: int, start: int = 0, world: World = ALONE) -> Iterator[Batch]:
        order, draws = drawn(self.labels, self.seed, epoch, self.balanced)
        bounds = own_bounds(len(self), batch_size, world)

        def prepare(number: int) -> Batch:
            first, last = bounds[number]
            photos = np.empty((last - first, self.size, self.size, 3), np.uint8)
            for slot, place in enumerate(range(first, last)):
                photos[slot] = training_picture(self.pixels.row(int(order[place])), self.size, self.how, draws[place])
            return torch.from_numpy(photos), torch.from_numpy(self.labels[order[first:last]])

        return ahead(prepare, range(start, len(bounds)), self.workers, 2 * self.workers + 1)


@dataclass(frozen=True)
class MapSource:
    """Outputs of a frozen trunk, a view drawn anew for each photo in every epoch; batches are float32 [B, D, H, W]
    or [B, D].
    """

    stores: tuple[RowStore, ...]
    digests: tuple[str, ...]
    labels: np.ndarray
    seed: int
    balanced: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, epoch: int, batch_size: int, start: int = 0, world: World = ALONE) -> Iterator[Batch]:
        order, draws = drawn(self.labels, self.seed, epoch, self.balanced)
        for first, last in own_bounds(len(self), batch_size, world)[start:]:
            places = range(first, last)
            rows = [self.stores[int(draws[p, 0] * len(self.stores))].row(self.digests[order[p]]) for p in places]
            yield as_tensor(np.stack(rows)).float(), torch.from_numpy(self.labels[order[first:last]])


@dataclass(frozen=True)
class ArraySource:
    """Rows in memory (pooled features), drawn in a new order in every epoch; batches are float32 [B, D]."""

    rows: np.ndarray
    labels: np.ndarray
    seed: int
    balanced: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, epoch: int, batch_size: int, start: int = 0, world: World = ALONE) -> Iterator[Batch]:
        order, _ = drawn(self.labels, self.seed, epoch, self.balanced)
        for first, last in own_bounds(len(self), batch_size, world)[start:]:
            chosen = order[first:last]
            yield torch.from_numpy(self.rows[chosen]), torch.from_numpy(self.labels[chosen])


def drawn(labels: np.ndarray, seed: int, epoch: int, balanced: bool) -> tuple[np.ndarray, np.ndarray]:
    """The order of an epoch and eight uniform numbers for each of its places."""
    order, draws = draw_epoch(seed, epoch, len(labels))
    return (even_order(order, labels, seed, epoch) if balanced else order), draws


def as_tensor(rows: np.ndarray) -> torch.Tensor:
    """Cached rows as a tensor: uint16 holds the bits of bfloat16 maps (see ``features.as_rows``)."""
    if rows.dtype == np.uint16:
        return torch.from_numpy(rows.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(rows)
