"""Features: a frozen trunk's outputs, one row per photo and view, computed once and cached by content.

The output of a frozen trunk depends on its weights, its cut, the preprocessing and the photo's bytes, and these are the
row's key in the cache. All batches have the same size (the last is padded), so that a row does not depend on the point
of an interruption.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from headstart.core.ahead import ahead
from headstart.core.array_store import RowStore
from headstart.core.events import OnProgress
from headstart.core.world import ALONE, World
from headstart.data.augment import View, render
from headstart.data.images import DecodedImages, reader_threads
from headstart.inference.device import BATCH, Machine
from headstart.inference.int8 import INT8
from headstart.inference.row_exchange import exchange_rows, own_share
from headstart.inference.runner import FrozenNetwork
from headstart.models.backbone import Backbone
from headstart.models.preprocessing import Preprocessing

SHARD = 2048
"""Rows per published shard of the cache, and so the most that an interruption can lose."""
FORMAT = 1
ALL_STAGES = "every stage"
"""The end of a trunk that computes the features with all stages joined."""
RENDERERS = 8
"""Threads that make batches for a GPU, at the most: more would wait for Python's lock."""
CALIBRATION = 128
"""Photos that int8 is calibrated on: whole batches, spread over those of train."""


T = TypeVar("T")


def some_for_calibration(pixels: DecodedImages) -> DecodedImages | None:
    """``CALIBRATION`` photos from all over these; None where there are too few for a batch."""
    number = min(CALIBRATION, len(pixels) // BATCH * BATCH)
    return pixels.take(np.linspace(0, len(pixels) - 1, number).astype(int).tolist()) if number else None


@dataclass(frozen=True)
class FeatureKey:
    """All that a trunk's output depends on, besides the photo and the view."""

    weights: str
    end: str
    preprocessing: Preprocessing
    precision: str
    device: str
    engine: str

    def digest(self, view: View, read: str) -> str:
        """The name of the store for one view of photos that were ``read`` so (``DecodedImages.key``)."""
        text = repr((FORMAT, read, *vars(self).values(), view))
        return "features-" + hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass
class FeatureExtractor:
    """One frozen backbone and how it is computed; features come from the cache if it has them.

    ``ready``: the network that was prepared last (folded, converted), by its end. Splits, views and ``joining`` share
    it, because preparing one takes seconds; ``stores``: those of features, which take as long to open for many photos.
    ``calibration``: photos that int8 takes the ranges of activations from; without them, and for outputs that a network
    is trained on, OpenVINO computes instead of it.
    """

    backbone: Backbone
    preprocessing: Preprocessing
    machine: Machine
    precision: str
    engine: str
    ready: dict[str, FrozenNetwork] = field(default_factory=dict, repr=False)
    stores: dict[str, RowStore] = field(default_factory=dict, repr=False)
    world: World = ALONE  # whose processes share a pass: then all of them ask for the same rows
    calibration: DecodedImages | None = field(default=None, repr=False)

    def pooled(self, pixels: DecodedImages, progress: OnProgress | None = None) -> np.ndarray:
        """The backbone's features of every photo, float32 [N, D]: from rows with those of every stage, which one pass
        computes and which serve backbones with joined stages too.
        """
        store = self.computed(pixels, progress)
        return self.backbone.own_columns(store.gather([str(d) for d in pixels.digests]))

    def computed(self, pixels: DecodedImages, progress: OnProgress | None = None) -> RowStore:
        """The store with the rows that ``pooled`` reads."""
        return self._rows(self.backbone.joining_all(), ALL_STAGES, pixels, View(), "float32", progress)

    def joining(self, stages: Sequence[str]) -> FeatureExtractor:
        """For the backbone with these stages joined; the prepared network is shared."""
        return replace(self, backbone=self.backbone.joining(stages))

    def outputs(
        self, trunk: nn.Module, boundary: str, pixels: DecodedImages, view: View, progress: OnProgress | None = None
    ) -> RowStore:
        """A store with the outputs of the layers before a boundary, as bfloat16, for one view of every photo."""
        return self._rows(trunk, f"before {boundary}", pixels, view, "uint16", progress)

    def uncached(self, pixels: DecodedImages) -> np.ndarray:
        """Like ``pooled``, for a backbone that is used once: the cache is neither read nor filled."""
        network, size, rows = self.prepared(self.backbone.joining_all(), ALL_STAGES), self.preprocessing.image_size, []
        batches = photo_batches(pixels, range(len(pixels)), size, View(), self.machine)
        for batch, outputs in forward_passes(network, batches):
            rows.append(outputs.float().numpy()[: len(batch)])
        return self.backbone.own_columns(np.concatenate(rows))

    def visiting(self, read: str) -> FeatureVisitor:
        """Computes what ``pooled`` will ask for while photos are ``read`` so (``DecodedImages.key``)."""
        trunk = self.backbone.joining_all()
        store = RowStore(self._key(ALL_STAGES).digest(View(), read), "float32")
        size = self.preprocessing.image_size
        return FeatureVisitor(store, lambda: self.prepared(trunk, ALL_STAGES), size, self.machine.batch)

    def prepared(self, module: nn.Module, end: str) -> FrozenNetwork:
        """The network that computes the outputs up to ``end``."""
        if end not in self.ready:
            self.ready.clear()  # two at a time would not fit in memory
            self.ready[end] = FrozenNetwork(
                module, self.preprocessing, self.machine, self.precision, self.engine, self._calibration(end)
            )
        return self.ready[end]

    def _calibrated(self, end: str) -> bool:
        return self.engine == INT8 and end == ALL_STAGES and self.calibration is not None

    def _calibration(self, end: str) -> np.ndarray | None:
        """Whole batches of photos, uint8 [K, S, S, 3]."""
        if self.calibration is None or not self._calibrated(end):
            return None
        pixels, size = self.calibration, self.preprocessing.image_size
        batches = photo_batches(pixels, range(len(pixels)), size, View(), self.machine)
        return np.concatenate([photos for _, photos in batches])

    def _rows(
        self, trunk: nn.Module, end: str, pixels: DecodedImages, view: View, dtype: str, progress: OnProgress | None
    ) -> RowStore:
        key = self._key(end)
        store = self._store(key.digest(view, pixels.key), dtype) if end == ALL_STAGES else None
        return compute_rows(lambda: self.prepared(trunk, end), key, pixels, view, dtype, progress, store, self.world)

    def _store(self, name: str, dtype: str) -> RowStore:
        """The store of a name, opened once."""
        if name in self.stores:
            self.stores[name].refresh()
        else:
            self.stores.clear()
            self.stores[name] = RowStore(name, dtype)
        return self.stores[name]

    def _key(self, end: str) -> FeatureKey:
        device, weights = self.machine.device.type, self.backbone.weights_digest + self.backbone.facts.fingerprint
        engine = self.engine if self.engine != INT8 else "openvino"
        if self._calibrated(end) and self.calibration is not None:
            seen = hashlib.blake2b("".join(map(str, self.calibration.digests)).encode(), digest_size=12)
            engine = f"{INT8} {seen.hexdigest()}"
        return FeatureKey(weights, end, self.preprocessing, self.precision, device, engine)


@dataclass
class FeatureVisitor:
    """Computes the features of photos while they are read (see ``data.images.Visitor``)."""

    store: RowStore
    network: Callable[[], FrozenNetwork]
    size: int
    batch: int

    def __contains__(self, digest: object) -> bool:
        return str(digest) in self.store

    def facts(self, digest: str) -> Any:
        return None

    @contextmanager
    def writing(self) -> Iterator[Callable[[str, np.ndarray, Any], None]]:
        photos, digests = np.zeros((self.batch, self.size, self.size, 3), np.uint8), list[str]()
        with self.store.writing() as writer:

            def compute() -> None:
                rows = as_rows(self.network()(torch.from_numpy(photos)), self.store.dtype)
                for digest, row in zip(digests, rows, strict=False):  # the last rows are padding
                    writer.add(digest, row)
                photos[:] = 0
                digests.clear()

            def add(digest: str, pixels: np.ndarray, facts: Any) -> None:
                photos[len(digests)] = render(pixels, self.size, View(), digest)
                digests.append(digest)
                if len(digests) == self.batch:
                    compute()

            yield add
            if digests:
                compute()


def compute_rows(
    trunk: Callable[[], FrozenNetwork],
    key: FeatureKey,
    pixels: DecodedImages,
    view: View,
    dtype: str,
    progress: OnProgress | None = None,
    store: RowStore | None = None,
    world: World = ALONE,
) -> RowStore:
    """The store of this trunk and view, with a row for every photo.

    Args:
        trunk: builds the trunk; called only if the cache lacks a row, so that a warm run never pays for folding.
        key: names the trunk in the cache.
        pixels: the photos.
        view: which view of each photo.
        dtype: of the rows, see ``as_rows``.
        progress: called with photos done, and all.
        store: the same, where it is open already.
        world: its processes each compute a part of the rows that none of them has. With one folder as their cache that
            is all; else they send each other what is missing, so that each has every row.
    """
    if store is None:
        store = RowStore(key.digest(view, pixels.key), dtype)
    missing = store.missing(pixels.digests)
    progress = progress or (lambda done, total: None)
    own = missing if world.size == 1 else own_share(missing, len(pixels), world)
    done = len(pixels) - len(own)
    progress(done, len(pixels))
    if own:
        ready = trunk()
        passed = forward_passes(ready, photo_batches(pixels, own, key.preprocessing.image_size, view, ready.machine))
        at_once = max(1, SHARD // ready.machine.batch)
        for _ in range(0, len(own), at_once * ready.machine.batch):
            with store.writing() as writer:
                for batch, outputs in islice(passed, at_once):
                    for i, row in zip(batch, as_rows(outputs, store.dtype), strict=False):  # the last are padding
                        writer.add(str(pixels.digests[i]), row)
                        done += 1
                    progress(done, len(pixels))
    if world.size > 1:
        exchange_rows(store, pixels.digests, world)
    return store


def as_rows(outputs: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    """Outputs as float32, or for uint16 the bits of their bfloat16 values (numpy has no bfloat16)."""
    if dtype != np.uint16:
        return outputs.float().numpy()
    return outputs.to(torch.bfloat16).contiguous().view(torch.int16).numpy().view(np.uint16)


def photo_batches(
    pixels: DecodedImages, indices: Sequence[int], size: int, view: View, machine: Machine
) -> Iterator[tuple[Sequence[int], np.ndarray]]:
    """Batches of exactly ``machine.batch`` photos, the next ones rendered while the network works on this one."""
    many = machine.batch

    def prepare(start: int) -> tuple[Sequence[int], np.ndarray]:
        batch = indices[start : start + many]
        photos = machine.empty(many, size, size, 3)
        for slot, i in enumerate(batch):
            photos[slot] = render(pixels.row(i), size, view, str(pixels.digests[i]))
        photos[len(batch) :] = 0
        return batch, photos

    threads = 1 if machine.device.type == "cpu" else min(RENDERERS, reader_threads())
    return ahead(prepare, range(0, len(indices), many), threads, threads + 1)


def forward_passes(network: FrozenNetwork, batches: Iterator[tuple[T, np.ndarray]]) -> Iterator[tuple[T, torch.Tensor]]:
    """The network's outputs of batches of photos, with what came beside each. A GPU gets the next batch before it has
    finished one, so that it never waits for work.
    """

    def one(batch: tuple[T, np.ndarray]) -> tuple[T, torch.Tensor]:
        return batch[0], network(torch.from_numpy(batch[1]))

    return map(one, batches) if network.machine.device.type == "cpu" else ahead(one, batches, 2, 3)
