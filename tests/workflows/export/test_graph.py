"""The classifier as one graph: its preprocessing is that of ``decode`` and ``centre``, for every size of photo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.data.decode import decode
from headstart.data.images import centre
from headstart.errors import OptionError
from headstart.models.backbone import Backbone
from headstart.models.heads import build_head
from headstart.models.network import Network
from headstart.workflows.export.graph import WholeClassifier

SIZES = [(60, 80), (80, 60), (41, 41), (32, 32), (7, 5), (33, 32), (500, 333), (32, 180), (300, 40), (1000, 20)]


def smooth(height: int, width: int) -> np.ndarray:
    """A photo with structure at all scales that are there."""
    rng = np.random.default_rng(height * 1000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (max(2, height // 6), max(2, width // 6), 3), dtype=np.uint8))
    fine = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(fine + rng.integers(-20, 21, fine.shape), 0, 255).astype(np.uint8)


def graph_of(backbone: Backbone, image_size: int, resize: int, interpolation: str) -> WholeClassifier:
    """One whose prepared pixels are whole values of 0 to 255."""
    expected = replace(
        backbone.preprocessing.at(image_size, resize), interpolation=interpolation, mean=(0, 0, 0), std=(1 / 255,) * 3
    )
    return WholeClassifier(Network(backbone, build_head("linear", backbone.dim, 3, ())), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("image_size", "resize"), [(32, 32), (32, 37), (48, 48)])
def test_photos_are_resized_and_cropped_as_in_training(
    moving_backbone: Backbone, tmp_path, size: tuple[int, int], interpolation: str, image_size: int, resize: int
) -> None:
    photo = smooth(*size)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    wanted = centre(decode(tmp_path / "photo.png", resize, interpolation).pixels, image_size).astype(float)
    graph = graph_of(moving_backbone, image_size, resize, interpolation)
    found = graph.prepare(torch.from_numpy(photo)[None])[0].permute(1, 2, 0).numpy()
    assert found.shape == wanted.shape
    # Pillow rounds its weights to 22 bits, and takes the axes of very tall photos in the other order.
    tall = size[0] > 2 * size[1]
    assert np.abs(found - wanted).max() <= (4 if tall else 2)
    assert np.abs(found - wanted).mean() < (0.35 if tall else 0.12)


def test_a_batch_is_prepared_photo_by_photo(moving_backbone: Backbone) -> None:
    photos = torch.from_numpy(np.stack([smooth(50, 70), smooth(50, 70)[::-1], smooth(50, 70)[:, ::-1]]))
    graph = graph_of(moving_backbone, 32, 32, "bilinear")
    alone = torch.cat([graph.prepare(photo[None]) for photo in photos])
    assert torch.equal(graph.prepare(photos), alone)


def test_probabilities_are_the_networks(moving_backbone: Backbone) -> None:
    graph = graph_of(moving_backbone, 32, 32, "bilinear")
    photos = torch.from_numpy(smooth(32, 32)[None])
    wanted = graph.head(moving_backbone(graph.prepare(photos))).softmax(1)
    assert torch.allclose(graph(photos), wanted, atol=1e-5)


def test_a_filter_that_is_not_known_is_refused(moving_backbone: Backbone) -> None:
    with pytest.raises(OptionError, match="lanczos"):
        graph_of(moving_backbone, 32, 32, "lanczos")
