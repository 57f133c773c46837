"""What a probe gains by reading all stages joined, and what the choice between the two costs.

    python benchmarks/claims/stages.py ASSETS [--sets trashnet,animals,...] [--networks resnet18,...] [--shots 20]
        [--seeds 5] [--size PX]

ASSETS as CONTRIBUTING.md describes it. Every seed draws other photos. Prints, per set and network, the test accuracy of
the last stage alone, of all stages, and of what cross-validation on train and val chooses; the mean difference between
the chosen and the last with its standard error; how often all were chosen.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

import headstart as hs

SETS = {name: f"data/{name}" for name in ("trashnet", "animals", "dogs-vs-cats", "cifar10")} | {
    "imagewoof": "data/imagewoof160"
}
WAYS = ("last", "all", "choose")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--networks", default="resnet18,tf_efficientnet_lite2")
    parser.add_argument("--shots", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, help="input size, px; by default the rule's")
    asked = parser.parse_args()
    print(f"{'set':13} {'network':22} {'last':>6} {'all':>6} {'chosen':>6}   gain (standard error)   all chosen")
    for network in asked.networks.split(","):
        for name in asked.sets.split(","):
            row(asked, name, network)


def photos(asked: argparse.Namespace, name: str, out: Path) -> Path:
    """The set's folder; one that has train and val only (imagewoof) lends its val as test, and val comes from train."""
    folder: Path = asked.assets / SETS[name]
    if (folder / "test").exists() or not (folder / "val").exists():
        return folder
    for split, as_split in (("train", "train"), ("val", "test")):
        shutil.copytree(folder / split, out / name / as_split)
    return out / name


def row(asked: argparse.Namespace, name: str, network: str) -> None:
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    chosen: list[str] = []
    with tempfile.TemporaryDirectory() as out:
        data = photos(asked, name, Path(out))
        for seed in range(asked.seeds):
            for way in WAYS:
                run = hs.train(
                    data, out=Path(out) / f"{way}-{seed}", backbone=network,
                    weights=asked.assets / f"weights/{network}.fp16.safetensors", strategy="probe", shots=asked.shots,
                    seed=seed, stages=way, image_size=asked.size, quiet=True,
                )  # fmt: skip
                found[way].append(run.metrics["test"]["accuracy"]["value"])
            chosen.append(run.plan.stages)
    gains = np.subtract(found["choose"], found["last"])
    means = "  ".join(f"{np.mean(found[way]):.3f}" for way in WAYS)
    error = gains.std(ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    often = f"{chosen.count('all')} of {len(chosen)}"
    print(f"{name:13} {network:22}  {means}   {gains.mean():+.3f} ({error:.3f})          {often}", flush=True)


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:.0f} s")
