"""A trunk's outputs: those of the network, once per photo, found again by what they were computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.core.array_store import RowStore
from headstart.core.events import OnProgress
from headstart.data.augment import View, render
from headstart.data.images import DecodedImages, centre, read_photos
from headstart.inference.device import Machine
from headstart.inference.features import FeatureKey, as_rows, compute_rows
from headstart.inference.runner import FrozenNetwork, Normalise
from headstart.models.backbone import Backbone
from headstart.training.batches import as_tensor

CPU = Machine(torch.device("cpu"), False, "a CPU")


@pytest.fixture
def pixels(photos: Path) -> DecodedImages:
    return read_photos(sorted(photos.rglob("*.png"))[:35], 32)


@pytest.fixture
def backbone(moving_backbone: Backbone) -> Backbone:
    return moving_backbone


def key_of(backbone: Backbone, **changes: object) -> FeatureKey:
    key = FeatureKey(backbone.weights_digest, "end", backbone.preprocessing, "float32", "cpu", "torch")
    return replace(key, **changes)  # type: ignore[arg-type]


def trunk_of(backbone: Backbone) -> Callable[[], FrozenNetwork]:
    return lambda: FrozenNetwork(backbone, backbone.preprocessing, CPU, "float32")


def never() -> FrozenNetwork:
    raise AssertionError("the trunk was built")


def extract(
    trunk: Callable[[], FrozenNetwork],
    key: FeatureKey,
    pixels: DecodedImages,
    view: View = View(),  # noqa: B008 - frozen
    progress: OnProgress | None = None,
) -> np.ndarray:
    store = compute_rows(trunk, key, pixels, view, "float32", progress)
    return store.gather([str(d) for d in pixels.digests])


def plain_features(backbone: Backbone, pixels: DecodedImages) -> np.ndarray:
    photos = np.stack([centre(pixels.row(i), 32) for i in range(len(pixels))])
    x = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (backbone.preprocessing.mean, backbone.preprocessing.std))
    with torch.no_grad():
        return backbone((x - mean) / std).numpy()


def test_features_are_the_networks_own(backbone: Backbone, pixels: DecodedImages) -> None:
    found = extract(trunk_of(backbone), key_of(backbone), pixels)
    assert found.shape == (35, backbone.dim)
    assert found.dtype == np.float32
    assert np.allclose(found, plain_features(backbone, pixels), atol=1e-4, rtol=1e-3)
    assert found.std(0).max() > 1e-3  # photos differ in them


def test_a_second_time_nothing_is_computed(backbone: Backbone, pixels: DecodedImages) -> None:
    first = extract(trunk_of(backbone), key_of(backbone), pixels)
    order = list(range(len(pixels)))[::-1]
    assert np.array_equal(extract(never, key_of(backbone), pixels.take(order)), first[::-1])


@pytest.mark.parametrize("what", ["weights", "end", "preprocessing", "precision", "device", "engine", "view", "read"])
def test_whatever_decides_the_output_decides_the_key(backbone: Backbone, what: str) -> None:
    key, view = key_of(backbone), View()
    other = {
        "weights": {"weights": "0" * 32},
        "end": {"end": "before layer4"},
        "precision": {"precision": "bf16"},
        "device": {"device": "cuda"},
        "engine": {"engine": "openvino"},
        "preprocessing": {"preprocessing": replace(backbone.preprocessing, mean=(0.5, 0.5, 0.5))},
        "view": {},
        "read": {},
    }[what]
    changed = replace(key, **other).digest(View(1) if what == "view" else view, "other" if what == "read" else "read")
    assert changed != key.digest(view, "read")


def test_a_row_does_not_depend_on_its_neighbours_or_on_an_interruption(
    backbone: Backbone, pixels: DecodedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = extract(trunk_of(backbone), key_of(backbone), pixels)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "other"))
    again = read_photos(pixels.photos, 32)
    first = extract(trunk_of(backbone), key_of(backbone), again.take([7, 33]))
    rest = extract(trunk_of(backbone), key_of(backbone), again)
    assert np.array_equal(first, whole[[7, 33]])
    assert np.array_equal(rest, whole)


def test_copies_are_computed_once(backbone: Backbone, pixels: DecodedImages) -> None:
    seen: list[int] = []

    def counting() -> FrozenNetwork:
        ready = trunk_of(backbone)()
        inner = ready.run.module.forward
        ready.run.module.forward = lambda x: (seen.append(len(x)), inner(x))[1]
        return ready

    found = extract(counting, key_of(backbone), pixels.take([0, 1, 0] * 30))
    assert len(seen) == 1
    assert np.array_equal(found[0], found[2])


def test_progress_counts_to_the_end(backbone: Backbone, pixels: DecodedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.inference.device.BATCH", 2)
    seen: list[tuple[int, int]] = []
    extract(trunk_of(backbone), key_of(backbone), pixels.take([0, 1, 2]), progress=lambda *done: seen.append(done))
    assert seen == [(0, 3), (2, 3), (3, 3)]


def test_maps_are_kept_as_bfloat16_and_come_back(backbone: Backbone, pixels: DecodedImages) -> None:
    trunk, tail = backbone.split_at("layer4")
    store = compute_rows(
        lambda: FrozenNetwork(trunk, backbone.preprocessing, CPU, "float32"),
        key_of(backbone, end="before layer4"),
        pixels,
        View(),
        "uint16",
    )
    maps = as_tensor(store.gather([str(d) for d in pixels.digests]))
    assert maps.dtype == torch.bfloat16
    with torch.no_grad():
        found = tail(maps.float()).numpy()
    expected = plain_features(backbone, pixels)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_pooled_outputs_in_a_store_of_maps_come_back_too(backbone: Backbone, pixels: DecodedImages) -> None:
    store = compute_rows(trunk_of(backbone), key_of(backbone, end="after all"), pixels, View(), "uint16")
    found = as_tensor(store.gather([str(d) for d in pixels.digests])).float().numpy()
    expected = plain_features(backbone, pixels)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_views_are_rendered_before_the_trunk_reads_them(backbone: Backbone, pixels: DecodedImages) -> None:
    view = View(1)
    found = extract(trunk_of(backbone), key_of(backbone), pixels.take([0]), view)
    mirrored = render(pixels.row(0), 32, view, str(pixels.digests[0]))
    x = Normalise(backbone.preprocessing)(torch.from_numpy(mirrored.copy())[None])
    with torch.no_grad():
        assert np.allclose(backbone(x).numpy(), found, atol=1e-4, rtol=1e-3)
    assert not np.array_equal(found, extract(trunk_of(backbone), key_of(backbone), pixels.take([0])))


def test_rows_of_pooled_bf16_outputs_are_float32() -> None:
    rows = as_rows(torch.ones(2, 3, dtype=torch.bfloat16), np.dtype("float32"))
    assert rows.dtype == np.float32


@pytest.mark.parametrize(
    ("shard", "lengths"), [(4, [4, 4, 3]), (5, [4, 4, 3]), (8, [8, 3]), (1, [2] * 5 + [1]), (99, [11])]
)
def test_batches_are_written_in_shards(
    backbone: Backbone, pixels: DecodedImages, monkeypatch: pytest.MonkeyPatch, shard: int, lengths: list[int]
) -> None:
    monkeypatch.setattr("headstart.inference.device.BATCH", 2)
    monkeypatch.setattr("headstart.inference.features.SHARD", shard)
    written: list[int] = []
    publish = RowStore._add

    def watched(self: RowStore, found: Any, replacing: bool) -> None:
        if replacing:
            written.append(len(found.index.digests))
        publish(self, found, replacing)

    monkeypatch.setattr(RowStore, "_add", watched)
    found = extract(trunk_of(backbone), key_of(backbone, end=f"in shards of {shard}"), pixels.take(range(11)))
    assert written == lengths
    assert len(found) == 11
