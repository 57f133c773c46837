"""Features: a frozen trunk's outputs, one row per photo and view, computed once and cached by content.

A frozen trunk is a function: its output depends on its weights, its cut, the preprocessing and the photo's bytes, and
these name the row in the cache. Batches always have the same size (the last is padded), so that a row does not depend
on where an interruption fell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import nn

from headstart.core.array_store import RowStore
from headstart.core.events import OnProgress
from headstart.data.augment import View, render
from headstart.data.images import DecodedImages
from headstart.inference.device import Machine
from headstart.inference.runner import FrozenNetwork
from headstart.models.backbone import Backbone
from headstart.models.preprocessing import Preprocessing

BATCH = 32
"""Photos per forward pass of a frozen trunk: on CPUs the rate is flat from 16 on, and 32 of 224 px stay within the
cache hierarchy's reach.
"""
SHARD = 2048
"""Rows per published shard of the cache, and so the most that a kill can cost."""
FORMAT = 1


@dataclass(frozen=True)
class FeatureKey:
    """What decides a trunk's output, besides the photo."""

    weights: str
    end: str
    preprocessing: Preprocessing
    precision: str
    device: str
    engine: str

    def digest(self, view: View) -> str:
        """The name of the cache's store for one view."""
        text = repr((FORMAT, *(getattr(self, f.name) for f in fields(self)), view))
        return "features-" + hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass
class FeatureExtractor:
    """One frozen backbone and how it is computed: the features of photos, from the cache where it has them.

    ``ready``: the network that was prepared last (folded, converted). Splits and views share it, because preparing one
    takes seconds.
    """

    backbone: Backbone
    preprocessing: Preprocessing
    machine: Machine
    precision: str
    engine: str
    ready: tuple[str, FrozenNetwork] | None = field(default=None, repr=False)

    def pooled(self, pixels: DecodedImages, progress: OnProgress | None = None) -> np.ndarray:
        """The backbone's features of every photo, float32 [N, D]."""
        return extract(lambda: self.prepared(self.backbone, "end"), self._key("end"), pixels, progress=progress)

    def outputs(
        self, trunk: nn.Module, boundary: str, pixels: DecodedImages, view: View, progress: OnProgress | None = None
    ) -> RowStore:
        """A store with the outputs of the layers before a boundary, as bfloat16, for one view of every photo."""
        end = f"before {boundary}"
        return compute_rows(lambda: self.prepared(trunk, end), self._key(end), pixels, view, "uint16", progress)

    def uncached(self, pixels: DecodedImages) -> np.ndarray:
        """As ``pooled``, of a backbone that is used once: the cache is neither read nor filled."""
        network, size, rows = self.prepared(self.backbone, "end"), self.preprocessing.image_size, []
        for batch, photos in photo_batches(pixels, range(len(pixels)), size, View()):
            rows.append(network(torch.from_numpy(photos)).float().numpy()[: len(batch)])
        return np.concatenate(rows)

    def prepared(self, module: nn.Module, end: str) -> FrozenNetwork:
        """The network that computes the outputs up to ``end``."""
        if self.ready is None or self.ready[0] != end:
            self.ready = None  # two at a time would not fit in memory
            network = FrozenNetwork(module, self.preprocessing, self.machine, self.precision, self.engine)
            self.ready = (end, network)
        return self.ready[1]

    def _key(self, end: str) -> FeatureKey:
        device, weights = self.machine.device.type, self.backbone.weights_digest
        return FeatureKey(weights, end, self.preprocessing, self.precision, device, self.engine)


def extract(
    trunk: Callable[[], FrozenNetwork],
    key: FeatureKey,
    pixels: DecodedImages,
    view: View | None = None,
    progress: OnProgress | None = None,
) -> np.ndarray:
    """The pooled features of every photo of ``pixels`` as float32 [N, D].

    Args:
        trunk: builds the trunk; called only when the cache lacks a row, so that a warm run never pays for folding.
        key: names the trunk in the cache.
        pixels: the photos.
        view: which view of each photo; the plain centre by default.
        progress: called with photos done, and all.
    """
    store = compute_rows(trunk, key, pixels, view or View(), "float32", progress)
    return store.gather([str(d) for d in pixels.digests])


def compute_rows(
    trunk: Callable[[], FrozenNetwork],
    key: FeatureKey,
    pixels: DecodedImages,
    view: View,
    dtype: str,
    progress: OnProgress | None = None,
) -> RowStore:
    """Make sure that the store of this trunk and view holds a row for every photo; returns the store."""
    store = RowStore(key.digest(view), dtype)
    missing = store.missing(pixels.digests)
    if progress is not None:
        progress(len(pixels) - len(missing), len(pixels))
    if not missing:
        return store
    ready = trunk()
    for start in range(0, len(missing), SHARD):
        part = missing[start : start + SHARD]
        with store.writing() as writer:
            rows = _rows(ready, pixels, part, key.preprocessing.image_size, view, store.dtype)
            for done, (i, row) in enumerate(rows, start + 1):
                writer.add(str(pixels.digests[i]), row)
                if progress is not None:
                    progress(len(pixels) - len(missing) + done, len(pixels))
    return store


def _rows(
    trunk: FrozenNetwork, pixels: DecodedImages, indices: Sequence[int], size: int, view: View, dtype: np.dtype
) -> Iterator[tuple[int, np.ndarray]]:
    for batch, photos in photo_batches(pixels, indices, size, view):
        outputs = trunk(torch.from_numpy(photos))
        rows = as_rows(outputs, dtype)
        yield from zip(batch, rows[: len(batch)], strict=True)


def as_rows(outputs: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    """Outputs for a store of float32, or of uint16: then the 16 bits of their bfloat16 values (numpy has no
    bfloat16).
    """
    if dtype != np.uint16:
        return outputs.float().numpy()
    return outputs.to(torch.bfloat16).contiguous().view(torch.int16).numpy().view(np.uint16)


def photo_batches(
    pixels: DecodedImages, indices: Sequence[int], size: int, view: View
) -> Iterator[tuple[Sequence[int], np.ndarray]]:
    """Batches of exactly ``BATCH`` photos, the next one rendered while the network works on this one."""

    def prepare(start: int) -> tuple[Sequence[int], np.ndarray]:
        batch = indices[start : start + BATCH]
        photos = np.zeros((BATCH, size, size, 3), np.uint8)
        for slot, i in enumerate(batch):
            photos[slot] = render(pixels.row(i), size, view, str(pixels.digests[i]))
        return batch, photos

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(prepare, 0)
        for start in range(BATCH, len(indices) + BATCH, BATCH):
            ready = ahead.result()
            ahead = pool.submit(prepare, start)
            yield ready
