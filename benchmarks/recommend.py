"""Does what ``recommend`` says of a sample hold for the real thing? In: a folder of photos and weights. Out: a table of
scores and real accuracies, and Kendall's tau between them.

    python benchmarks/recommend.py ASSETS [--only animals,cifar10] [--sample 1000] [--seeds 3] [--image-size 96]
                                   [--finetune 30] [--networks resnet18,…] [--json FILE]

Per set: a pool of training photos and other photos to test on. The scores see a sample of the pool; the real accuracy
is that of a probe of the whole pool (``train --strategy probe``), or with ``--finetune K`` of fine-tuning on K photos
per class, on the test photos, which no score has seen. Ties count half (tau-b).
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import kendalltau

import headstart as hs
from headstart.data.draw import shuffled
from headstart.data.imageset import Photo
from headstart.data.scan import scan

HALF = (0.5, 0.5, 0.5)
SCORES = ("accuracy", "knn", "logme")


@dataclass(frozen=True)
class Pool:
    """A set: its folder, the split that tests it (None: drawn), photos to train on and to test on."""

    folder: str
    tested_by: str | None
    train: int
    test: int


POOLS = {
    "animals": Pool("animals", None, 2100, 900),
    "dogs-vs-cats": Pool("dogs-vs-cats", "test", 2000, 1000),
    "imagewoof160": Pool("imagewoof160", "val", 3000, 1000),
    "cifar10": Pool("cifar10", "test", 4000, 1500),
}


def networks(assets: Path, image_size: int) -> dict[str, dict[str, Any]]:
    """Every network at hand, as ``recommend`` takes it; the starter sees photos at its own size."""
    files = {name: assets / "weights" / f"{name}.fp16.safetensors" for name in ("resnet18", "resnet50")}
    mobile: dict[str, Any] = {
        "backbone": "mobilenetv2_100:pad_type=same", "weights": assets / "weights/mobilenetv2_100.fp16.safetensors",
        "mean": HALF, "std": HALF,
    }  # fmt: skip
    found: dict[str, dict[str, Any]] = {"mobilenetv2": mobile, "mobilenetv2@blocks.4": mobile | {"cut": "blocks.4"}}
    for name, file in files.items():
        found |= {
            f"{name}{f'@{cut}' if cut else ''}": {"backbone": name, "weights": file, "cut": cut}
            for cut in (None, "layer3", "layer2")
        }
    return {name: one | {"image_size": image_size} for name, one in found.items()} | {
        "starter": {"backbone": "starter"}
    }


def main() -> None:
    asked = arguments()
    every = networks(asked.assets, asked.image_size)
    tried = {name: every[name] for name in (asked.networks.split(",") if asked.networks else every)}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.only.split(",") if asked.only else POOLS:
            data = write_pool(asked.assets / "data" / POOLS[name].folder, POOLS[name], Path(folder) / f"{name}.csv")
            found[name] = measure(data, tried, asked)
            print_set(name, found[name])
    print_taus(found)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--only", help="sets of photos, by commas")
    parser.add_argument("--networks", help="by commas")
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3, help="samples that are drawn")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--finetune", type=int, help="photos per class; by default the real thing is a probe")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    return parser.parse_args()


def write_pool(folder: Path, pool: Pool, to: Path) -> Path:
    """The pool as a CSV with splits, classes drawn alike."""
    listing = scan(str(folder))
    parts = [p for p in listing.photos if pool.tested_by in (None, p.split)]
    test = stratified(parts, pool.test)
    chosen = {p.path for p in test}
    rest = [p for p in listing.photos if p.path not in chosen and (pool.tested_by is None or p.split != pool.tested_by)]
    with to.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "split"))
        for split, photos in (("train", stratified(rest, pool.train)), ("test", test)):
            rows.writerows((p.path, p.label, split) for p in photos)
    return to


def stratified(photos: Sequence[Photo], number: int) -> list[Photo]:
    """As many of each class, drawn with seed 0."""
    of_class: dict[str, list[int]] = defaultdict(list)
    for i, photo in enumerate(photos):
        of_class[photo.label].append(i)
    each = number // len(of_class)
    return [photos[i] for label, members in of_class.items() for i in shuffled(members, 0, label)[:each]]


def measure(data: Path, tried: dict[str, dict[str, Any]], asked: argparse.Namespace) -> dict[str, Any]:
    """Per network the scores of each sample, and the real accuracy."""
    scores = [
        hs.recommend(data, backbones=list(tried.values()), sample=asked.sample, seed=seed, quiet=True)
        for seed in range(asked.seeds)
    ]
    found: dict[str, Any] = {}
    for name, network in tried.items():
        label = label_of(network)
        rows = [next(row for row in one.rows if row["backbone"] == label) for one in scores]
        real, seconds = really(data, network, asked.finetune)
        found[name] = {"real": real, "seconds": seconds, "ms": rows[0]["ms"]}
        found[name] |= {score: [row[score] for row in rows] for score in SCORES}
    return found


def label_of(network: dict[str, Any]) -> str:
    cut, size = network.get("cut"), network.get("image_size")
    return f"{network['backbone']}{f'@{cut}' if cut else ''}{f' {size} px' if size else ''}"


def really(data: Path, network: dict[str, Any], shots: int | None) -> tuple[float, float]:
    """(accuracy on the test photos, seconds) of a probe of the whole pool, or of fine-tuning on ``shots`` per class."""
    options = {name: value for name, value in network.items() if value is not None}
    options |= {"strategy": "finetune", "shots": shots} if shots else {"strategy": "probe"}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        run = hs.train(data, out=Path(out) / "run", quiet=True, **options)
    return run.metrics["test"]["accuracy"]["value"], time.monotonic() - began


def print_set(name: str, found: dict[str, Any]) -> None:
    print(f"\n{name}\n\n| network | real | probe | k-NN | LogME | ms/photo |\n|---|---|---|---|---|---|")
    for network, row in sorted(found.items(), key=lambda item: -item[1]["real"]):
        scores = " | ".join(f"{sum(row[s]) / len(row[s]):.3f}" for s in SCORES)
        print(f"| `{network}` | {row['real']:.3f} | {scores} | {row['ms']:.1f} |", flush=True)


def print_taus(found: dict[str, Any]) -> None:
    """Tau of each score with the real accuracy: mean over samples, lowest and highest; and what following it costs."""
    print("\n| set | " + " | ".join(("probe", "k-NN", "LogME")) + " | lost by taking the probe's first |")
    print("|---|---|---|---|---|")
    means: dict[str, list[float]] = defaultdict(list)
    for name, rows in found.items():
        cells = []
        for score in SCORES:
            values = taus(rows, score)
            means[score].append(sum(values) / len(values))
            cells.append(f"{means[score][-1]:.2f} ({min(values):.2f} to {max(values):.2f})")
        print(f"| {name} | {' | '.join(cells)} | {lost(rows):.3f} |")
    print(f"| mean | {' | '.join(f'{sum(v) / len(v):.2f}' for v in means.values())} | |", flush=True)


def taus(rows: dict[str, Any], score: str) -> list[float]:
    real = [row["real"] for row in rows.values()]
    samples = len(next(iter(rows.values()))[score])
    return [float(kendalltau(real, [row[score][s] for row in rows.values()]).statistic) for s in range(samples)]


def lost(rows: dict[str, Any]) -> float:
    """By how much the real accuracy of the first by probe is below the best one's: mean over samples."""
    best = max(row["real"] for row in rows.values())
    samples = len(next(iter(rows.values()))["accuracy"])
    taken = [max(rows.values(), key=lambda row, s=s: row["accuracy"][s])["real"] for s in range(samples)]
    return best - sum(taken) / samples


if __name__ == "__main__":
    main()
