"""Maps of where the network looked, beside those of the package grad-cam."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.errors import OptionError
from headstart.inference.classifier import Classifier
from headstart.inference.saliency import Explainer, has_maps
from headstart.models.backbone import Backbone
from headstart.models.factory import create
from headstart.models.heads import build_head
from headstart.models.maps import maps_boundary
from headstart.models.network import Network
from headstart.reporting.images import overlay, png


def classifier(name: str, head: str = "linear", size: int = 64, seed: int = 0, classes: int = 4) -> Classifier:
    torch.manual_seed(seed)
    backbone = create(name, pretrained=False)
    network = Network(backbone, build_head(head, backbone.dim, classes, (0.5, 0.5) if head != "linear" else ()))
    return Classifier(network.eval(), backbone.preprocessing.at(size), tuple("abcd"[:classes]), head)


def drawn(count: int, size: int) -> np.ndarray:
    """Photos of noise with one bright patch each."""
    rng = np.random.default_rng(1)
    photos = rng.integers(90, 150, (count, size, size, 3), dtype=np.uint8)
    for photo in photos:
        top, left = rng.integers(0, size // 2, 2)
        photo[top : top + size // 3, left : left + size // 3] = rng.integers(0, 256, 3)
    return photos


@pytest.mark.parametrize(
    ("name", "head", "size"),
    [
        ("resnet18", "linear", 96),
        ("resnet18", "mlp:16", 96),
        ("mobilenetv2_100", "linear", 96),
        ("starter", "linear", 32),
    ],
)
def test_they_are_grad_cams(name: str, head: str, size: int) -> None:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    made = classifier(name, head, size)
    photos, wanted = drawn(3, size), [2, 0, 1]
    explainer = Explainer(made)
    found = explainer.maps(photos, wanted)
    backbone = made.network.backbone
    layer = backbone.get_submodule(backbone.block_names[-2])
    theirs = GradCAM(made.network, [layer])(
        explainer.normalise(torch.from_numpy(photos)), [ClassifierOutputTarget(c) for c in wanted]
    )
    assert found.shape == (3, size, size)
    assert np.abs(found - theirs).max() < 1e-3


def test_tokens_of_a_transformer_have_places() -> None:
    made = classifier("deit_tiny_patch16_224", size=224)
    found = Explainer(made).maps(drawn(1, 224).repeat(4, 0), [0, 1, 2, 3])
    assert found.shape == (4, 224, 224)
    assert found.max() == pytest.approx(1)  # random weights may speak against a class everywhere, not against all four
    assert found.std((1, 2)).max() > 0.05


def test_random_weights_give_another_map() -> None:
    """The sanity check of Adebayo et al. (2018): a map that does not depend on the weights says nothing of them."""
    photos = drawn(4, 64)
    first, again, other = (Explainer(classifier("resnet18", seed=s)).maps(photos, [0] * 4) for s in (0, 0, 1))
    assert np.array_equal(first, again)
    with np.errstate(invalid="ignore"):  # a map of nothing has no spread
        alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, other, strict=True)]
    assert np.mean(np.nan_to_num(alike)) < 0.8


def test_a_map_is_for_the_class_that_was_asked_for() -> None:
    made = classifier("resnet18")
    photos = drawn(2, 64)
    explainer = Explainer(made)
    answers = made.logits(photos).argmax(1)
    assert np.allclose(explainer.maps(photos), explainer.maps(photos, answers.tolist()))
    others = [(int(a) + 1) % 4 for a in answers]
    assert not np.allclose(explainer.maps(photos), explainer.maps(photos, others))


def test_nothing_is_left_behind_in_the_network() -> None:
    made = classifier("resnet18")
    before = {k: v.clone() for k, v in made.network.state_dict().items()}
    Explainer(made).maps(drawn(2, 64))
    assert all(torch.equal(v, before[k]) for k, v in made.network.state_dict().items())
    assert all(p.grad is None for p in made.network.parameters())


def test_a_run_finds_its_shapes(probe_run: Path, photos: Path) -> None:
    loaded = Classifier.load(probe_run, "cpu")
    assert has_maps(loaded)
    maps = Explainer(loaded).maps(drawn(2, loaded.preprocessing.image_size))
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    assert maps.max() <= 1


@pytest.mark.parametrize(
    "name",
    [
        *("test_convnext", "mobilenetv3_small_050", "test_vit_relpos", "pvt_v2_b0", "repvit_m0_9", "levit_128s"),
        *("xcit_nano_12_p16_224", "hrnet_w18_small", "test_mambaout"),
    ],
)
def test_networks_that_end_in_other_ways_have_maps(name: str) -> None:
    made = classifier(name, size=create(name, pretrained=False).facts.trial_size)
    with torch.no_grad():  # fresh weights that are zero hand on the same at every position
        for parameter in made.network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    found = Explainer(made).maps(drawn(1, made.preprocessing.image_size).repeat(4, 0), [0, 1, 2, 3])
    assert found.max() == pytest.approx(1)
    assert found.std((1, 2)).max() > 0.02


def test_maps_are_taken_where_the_features_read_them() -> None:
    """A class token reads the other tokens in its last block; a mean reads them after it."""
    boundaries = {
        name: maps_boundary(create(name, pretrained=False), 96)
        for name in ("vit_tiny_patch16_224", "vit_tiny_patch16_224:global_pool=avg", "mobilenetv3_small_050")
    }
    assert list(boundaries.values()) == ["blocks.11", "pool", "pool"]


def test_a_network_without_maps_is_told() -> None:
    made = classifier("resnet18")
    backbone = made.network.backbone
    made.network.backbone = Backbone([("whole", backbone)], replace(backbone.facts, name="half"))
    assert not has_maps(made)
    with pytest.raises(OptionError, match="half"):
        Explainer(made)


def test_the_overlay_is_the_photo_where_the_map_is_low() -> None:
    photo = np.full((8, 8, 3), 128, np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[:, 4:] = 1
    over = overlay(photo, heat)
    assert (over[:, :4] == 128).all()
    assert (over[:, 4:] != 128).any()
    assert png(over)[:4] == b"\x89PNG"
