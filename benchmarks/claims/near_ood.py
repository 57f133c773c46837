"""Unknown photos near the known ones: CIFAR-10 (known) against CIFAR-100, with frozen features. Out: Markdown.

    python benchmarks/claims/near_ood.py ASSETS [--backbone tf_efficientnet_lite2] [--image-size 224] [--seeds 3]

8,000 of CIFAR-10's test images are known; the other 2,000 and 2,000 of CIFAR-100's are told apart (AUROC), by each of
several distances; a seed draws both.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from uncertainty_distances import DISTANCES, MORE

from headstart.core.events import Events
from headstart.training.config import TrainOptions
from headstart.training.embeddings import EmbeddedDataset, embed_dataset

ASKED = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--backbone", default="tf_efficientnet_lite2")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    known = embedded(asked, asked.assets / "data/cifar10/test")
    with tempfile.TemporaryDirectory() as folder:
        foreign = embedded(asked, listed(asked.assets / "data/cifar100/test", Path(folder) / "photos.csv")).features
    found: dict[str, list[float]] = {}
    for seed in range(asked.seeds):
        order = np.random.default_rng(seed).permutation(len(known))
        train, own = order[:-ASKED], known.features[order[-ASKED:]]
        for name, fit in (DISTANCES | MORE).items():
            far = fit(known.features[train], known.labels[train])
            which = np.repeat([0, 1], [len(own), len(foreign)])
            found.setdefault(name, []).append(float(roc_auc_score(which, np.concatenate([far(own), far(foreign)]))))
    print(f"| AUROC, {asked.backbone}, {asked.image_size} px | mean | least and most of {asked.seeds} |\n|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {np.mean(values):.3f} | {min(values):.3f} to {max(values):.3f} |")


def listed(folder: Path, table: Path) -> Path:
    """A table of some photos of a folder: a network takes minutes for all."""
    photos = sorted(folder.glob("*/*"))
    chosen = np.sort(np.random.default_rng(0).permutation(len(photos))[:ASKED])
    with table.open("w", newline="") as file:
        rows = [(str(photos[i]), photos[i].parent.name) for i in chosen]
        csv.writer(file).writerows([("path", "label"), *rows])
    return table


def embedded(asked: argparse.Namespace, data: Path) -> EmbeddedDataset:
    weights = asked.assets / f"weights/{asked.backbone}.fp16.safetensors"
    size = {"image_size": asked.image_size}
    return embed_dataset(
        TrainOptions(str(data), backbone=asked.backbone, weights=str(weights), settings=size), Events()
    )


if __name__ == "__main__":
    main()
