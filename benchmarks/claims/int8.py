"""What does int8 gain, and what does it cost? Features of the same photos in bf16 and in int8, a probe on each.

    python benchmarks/claims/int8.py ASSETS [--sets animals,cifar10,trashnet,dogs-vs-cats]
                                            [--networks resnet18,resnet50,tf_efficientnet_lite2] [--photos 2000]

ASSETS as CONTRIBUTING.md describes it. Prints for each set and network: photos per second of both (the best of batches
taken in turn), seconds for the conversion of each, test accuracy of both probes, the share of test photos that the int8
probe names as the bf16 one does, and as it does itself when bf16 features are put in (which is what a run does later).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from headstart.core.events import Events
from headstart.data.loading import find_photos, read
from headstart.data.schema import SPLITS, Photo
from headstart.inference.device import find_machine
from headstart.inference.features import ALL_STAGES
from headstart.training.config import TrainOptions
from headstart.training.linear_probe import Probe, fit_probe
from headstart.training.preparation import Prepared, make_backbone, split

ENGINES = ("openvino", "int8")
SIZE, ROUNDS = 224, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--sets", default="animals,cifar10,trashnet,dogs-vs-cats")
    parser.add_argument("--networks", default="resnet18,resnet50,tf_efficientnet_lite2")
    parser.add_argument("--photos", type=int, default=2000, help="of each split, at most")
    asked = parser.parse_args()
    for network in asked.networks.split(","):
        for name in asked.sets.split(","):
            print(f"{network} {name}: {compare(asked.assets, name, network, asked.photos)}", flush=True)


def compare(assets: Path, name: str, network: str, most: int) -> str:
    features, seconds, ready = {}, {}, {}
    for engine in ENGINES:
        prepared = made_ready(assets, name, network, most, engine)
        began = time.perf_counter()
        ready[engine] = prepared.extractor.prepared(prepared.extractor.backbone.joining_all(), ALL_STAGES)
        seconds[engine] = time.perf_counter() - began
        features[engine] = {s: prepared.extractor.pooled(prepared.pixels[s]) for s in SPLITS}
        labels = prepared.labels
    rates, held = speeds(ready), len(labels["test"])
    probes = {
        e: fit_probe((f["train"], labels["train"]), (f["val"], labels["val"]), int(labels["train"].max()) + 1)
        for e, f in features.items()
    }
    said = {e: classes(probes[e], features[e]["test"]) for e in ENGINES}
    later = classes(probes["int8"], features["openvino"]["test"])
    accuracy = {e: float((said[e] == labels["test"]).mean()) for e in ENGINES}
    same, kept_later = (float((said["int8"] == other).mean()) for other in (said["openvino"], later))
    return (
        f"{rates['openvino']:.0f} and {rates['int8']:.0f} photos/s ({rates['int8'] / rates['openvino']:.2f} times), "
        f"conversion {seconds['openvino']:.1f} and {seconds['int8']:.1f} s, accuracy {accuracy['openvino']:.4f} and "
        f"{accuracy['int8']:.4f} on {held}, same {same:.4f}, later {kept_later:.4f}"
    )


def made_ready(assets: Path, name: str, network: str, most: int, engine: str) -> Prepared:
    """At most so many photos of each split of a set, at 224 px, and the network that is to compute their features."""
    options = TrainOptions(
        str(assets / "data" / name), backbone=network, strategy="probe", leakage="keep",
        weights=str(assets / f"weights/{network}.fp16.safetensors"), settings={"image_size": SIZE, "engine": engine},
    )  # fmt: skip
    events, machine = Events(), find_machine("auto")
    events.warn = lambda sentence: None  # type: ignore[method-assign]
    backbone, manifest = make_backbone(options), find_photos(options.data, events)
    few = replace(manifest, photos=some(manifest.photos, most))
    photos = read(few, SIZE, backbone.preprocessing.interpolation, "skip", events)
    return split(options, photos, backbone, machine, events)


def some(photos: Sequence[Photo], most: int) -> tuple[Photo, ...]:
    """As many of each class and split."""
    classes, counts = len({photo.label for photo in photos}), Counter[tuple[str | None, str]]()
    kept = []
    for photo in photos:
        counts[photo.split, photo.label] += 1
        if counts[photo.split, photo.label] <= most / classes:
            kept.append(photo)
    return tuple(kept)


def speeds(ready: dict[str, object]) -> dict[str, float]:
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3), dtype=np.uint8))
    best = dict.fromkeys(ready, float("inf"))
    for _ in range(ROUNDS):
        for engine, network in ready.items():
            began = time.perf_counter()
            network(photos)  # type: ignore[operator]
            best[engine] = min(best[engine], time.perf_counter() - began)
    return {engine: 32 / seconds for engine, seconds in best.items()}


def classes(probe: Probe, features: np.ndarray) -> np.ndarray:
    return np.asarray((features @ probe.weight.numpy().T + probe.bias.numpy()).argmax(1))


if __name__ == "__main__":
    main()
