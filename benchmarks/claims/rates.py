"""The learning rates of fine-tuning, on photos near ImageNet and far from it. In: a folder of photos and weights. Out:
a table of test accuracies (on val where a set brings no test).

    python benchmarks/claims/rates.py ASSETS [--seeds 1] [--only animals,cifar10]

A hundred photos per class, ResNet-18; a run takes about a minute on two CPU cores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import headstart as hs

SETS = {"animals": ("animals", 128), "imagewoof": ("imagewoof160", 128), "cifar10": ("cifar10", 64)}
WAYS: dict[str, dict[str, Any]] = {
    "probe": {"strategy": "probe"},
    "finetune, 2e-4": {"strategy": "finetune", "settings": {"lr_backbone": 2e-4}},
    "finetune, 5e-4": {"strategy": "finetune", "settings": {"lr_backbone": 5e-4}},
    "finetune, 5e-4, one rate for all stages": {
        "strategy": "finetune",
        "settings": {"lr_backbone": 5e-4, "stage_decay": 1.0},
    },
    "finetune, 1e-3, one rate for all stages": {
        "strategy": "finetune",
        "settings": {"lr_backbone": 1e-3, "stage_decay": 1.0},
    },
    "lp-ft, 1e-4": {"strategy": "lp-ft", "settings": {"lr": 1e-4, "lr_backbone": 1e-4}},
    "lp-ft, 3e-4": {"strategy": "lp-ft", "settings": {"lr": 3e-4, "lr_backbone": 3e-4}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", help="sets of photos, by commas")
    asked = parser.parse_args()
    names = asked.only.split(",") if asked.only else list(SETS)
    print(f"| way | {' | '.join(names)} |\n|{'---|' * (1 + len(names))}")
    for way, options in WAYS.items():
        cells = [_cell(asked.assets, SETS[name], options, range(asked.seeds)) for name in names]
        print(f"| {way} | {' | '.join(cells)} |", flush=True)


def _cell(assets: Path, photos: tuple[str, int], options: dict[str, Any], seeds: range) -> str:
    """Accuracy and seconds of training, per seed."""
    folder, size = photos
    weights = assets / "weights" / "resnet18.fp16.safetensors"
    found = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as out:
            run = hs.train(
                assets / "data" / folder,
                out=Path(out) / "run",
                backbone="resnet18",
                weights=str(weights),
                shots=100,
                image_size=size,
                seed=seed,
                quiet=True,
                allow_leakage=True,
                **options,
            )
            judged = run.metrics.get("test") or run.metrics["val"]
            found.append((judged["accuracy"]["value"], run.metrics["training"]["seconds"]["training"]))
    return ", ".join(f"{value:.3f} ({seconds:.0f} s)" for value, seconds in found)


if __name__ == "__main__":
    main()
