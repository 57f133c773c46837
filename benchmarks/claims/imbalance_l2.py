"""Which strength of L2 is the usual one where the classes of a probe are weighted?

    python benchmarks/claims/imbalance_l2.py ASSETS [--seeds 6]

ASSETS as CONTRIBUTING.md describes it. For several counts of training photos (of the large class, of the others),
prints the mean balanced accuracy on even test photos of the unweighted probe, and of weighted ones whose choice on val
prefers each of these strengths.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from headstart.core.events import Events
from headstart.data.loading import find_photos
from headstart.training import linear_probe
from headstart.training.config import TrainOptions
from headstart.training.embeddings import embed_images
from headstart.training.preparation import read_for

SETS = ("data/animals", "data/dogs-vs-cats/train", "data/trashnet")
PATTERNS = ((200, 20, 20), (100, 5, 5), (300, 100, 100), (800, 80, 80), (800, 20, 20), (60, 20, 20))
STRENGTHS = (0.2, 0.632, 2.0, 6.32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--seeds", type=int, default=6)
    asked = parser.parse_args()
    for name in SETS:
        x, y = features(asked.assets, name)
        for pattern in PATTERNS:
            found = [figures(x, y, seed, pattern) for seed in range(asked.seeds)]
            means = {way: round(float(np.mean([one[way] for one in found])), 3) for way in found[0]}
            print(f"{name:26}{pattern!s:16}", *(f"{way} {mean:.3f}" for way, mean in means.items()), flush=True)


def features(assets: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    weights = str(assets / "weights/resnet18.fp16.safetensors")
    options, events = TrainOptions(str(assets / name), strategy="probe", weights=weights), Events()
    manifest = find_photos(options.data, events)
    photos, backbone, machine = read_for(options, manifest, events)
    x = embed_images(photos, backbone, machine, options, events).features
    labels = [p.label for p, d in zip(manifest.photos, photos.pixels.digests, strict=True) if d is not None]
    return x, np.unique(labels, return_inverse=True)[1]


def figures(x: np.ndarray, y: np.ndarray, seed: int, pattern: tuple[int, ...]) -> dict[str, float]:
    rng, classes = np.random.default_rng(seed), int(y.max()) + 1
    train, val, test = [], [], []
    for c in range(classes):
        photos = rng.permutation(np.flatnonzero(y == c)).tolist()
        kept = min(100, len(photos) - 40)
        own = photos[kept:][: pattern[(c + seed) % min(len(pattern), classes)]]
        test += photos[:kept]
        val += own[: round(0.15 * len(own))]
        train += own[round(0.15 * len(own)) :]
    parts = (x[train], y[train]), (x[val], y[val])
    found = {"none": score(linear_probe.fit_probe(*parts, classes), x[test], y[test])}
    for strength in STRENGTHS:
        with patch.object(linear_probe, "USUAL_L2_BALANCED", strength):
            found[f"{strength:g}:"] = score(linear_probe.fit_probe(*parts, classes, balanced=True), x[test], y[test])
    return found


def score(probe: linear_probe.Probe, x: np.ndarray, y: np.ndarray) -> float:
    predicted = (torch.from_numpy(x) @ probe.weight.T + probe.bias).argmax(1).numpy()
    return float(np.mean([(predicted[y == c] == c).mean() for c in np.unique(y)]))


if __name__ == "__main__":
    main()
