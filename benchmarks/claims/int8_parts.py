"""Which part of a network costs labels in int8? The first convolutions are left in float32, fewer and fewer of them.

    python benchmarks/claims/int8_parts.py ASSETS [--sets cifar10] [--network resnet18] [--photos 500] [--keep 0,5,10]

ASSETS as CONTRIBUTING.md describes it. For each row: how far the last stage's features of test photos are from those in
float32, relative to their distance from the mean; the share of test photos that a probe on these features names as the
probe on float32 does; how much faster a batch is. The last row is bf16, by PyTorch: what any such change costs. On a
processor without bf16 it is slow, since bf16 is imitated.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from int8 import SIZE, classes, made_ready

from headstart.data.augment import View
from headstart.data.schema import SPLITS
from headstart.inference.device import BATCH
from headstart.inference.features import photo_batches
from headstart.inference.int8 import quiet
from headstart.inference.openvino import OpenVino, import_openvino, to_graph
from headstart.inference.runner import fold
from headstart.training.linear_probe import fit_probe

CALIBRATION, ROUNDS = 4, 3
Run = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--sets", default="cifar10")
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--photos", type=int, default=500, help="of each split, at most")
    parser.add_argument("--keep", default="0,5,10,14,17", help="convolutions from the first on that stay in float32")
    asked = parser.parse_args()
    for name in asked.sets.split(","):
        compare(asked.assets, name, asked.network, asked.photos, [int(n) for n in asked.keep.split(",")])


def compare(assets: Path, name: str, network: str, most: int, kept: list[int]) -> None:
    prepared = made_ready(assets, name, network, most, "torch")
    labels, preprocessing = prepared.labels, prepared.extractor.preprocessing
    pixels = {s: whole_batches(prepared.pixels[s], prepared.extractor.machine) for s in SPLITS}
    trunk = fold(prepared.extractor.backbone)

    def features(run: Run) -> dict[str, np.ndarray]:
        return {
            s: np.concatenate([run(batch).float().numpy() for batch in pixels[s]])[: len(labels[s])] for s in SPLITS
        }

    def named(found: dict[str, np.ndarray]) -> np.ndarray:
        probe = fit_probe(*((found[s], labels[s]) for s in ("train", "val")), int(labels["train"].max()) + 1)
        return classes(probe, found["test"])

    plain = OpenVino(*to_graph(trunk, preprocessing), SIZE, "float32")
    exact = features(plain)
    said, spread = named(exact), np.linalg.norm(exact["test"] - exact["test"].mean(0), axis=1)

    def tell(what: str, run: Run) -> None:
        found = features(run)
        far = (np.linalg.norm(found["test"] - exact["test"], axis=1) / spread).mean()
        same, right = (named(found) == said).mean(), (named(found) == labels["test"]).mean()
        faster = seconds(plain, pixels["test"][0]) / seconds(run, pixels["test"][0])
        print(
            f"{name} {network} {what}: {far:.3f} away, same {same:.4f}, accuracy {right:.4f}, {faster:.2f} x",
            flush=True,
        )

    print(f"{name} {network} float32: accuracy {(said == labels['test']).mean():.4f} on {len(said)}", flush=True)
    examples = [batch.numpy() for batch in pixels["train"][:CALIBRATION]]
    for count in kept:
        graph, weights = to_graph(trunk, preprocessing)
        tell(f"int8 after {count} convolutions", OpenVino(partly(graph, examples, count), weights, SIZE, "float32"))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (preprocessing.mean, preprocessing.std))

    def in_bf16(batch: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            made: torch.Tensor = trunk((batch.permute(0, 3, 1, 2).float() - mean) / std)
            return made

    tell("bf16", in_bf16)


def whole_batches(pixels: object, machine: object) -> list[torch.Tensor]:
    """uint8 [BATCH, S, S, 3]; the last is filled up with its last photo."""
    made = []
    for _, photos in photo_batches(pixels, range(len(pixels)), SIZE, View(), machine):  # type: ignore[arg-type]
        missing = BATCH - len(photos)
        made.append(torch.from_numpy(np.concatenate([photos, np.repeat(photos[-1:], missing, 0)])))
    return made


def partly(graph: object, examples: list[np.ndarray], count: int) -> object:
    """The graph in int8, its first convolutions left as they are."""
    import_openvino()
    os.environ.setdefault("NNCF_CI", "1")  # NNCF's switch for not reporting
    import nncf
    from openvino import PartialShape

    graph.reshape({0: PartialShape([BATCH, SIZE, SIZE, 3])})  # type: ignore[attr-defined]
    operations = [one for one in graph.get_ordered_ops() if "Convolution" in one.get_type_name()]  # type: ignore[attr-defined]
    left = nncf.IgnoredScope(names=[one.get_friendly_name() for one in operations[:count]])
    with quiet():
        return nncf.quantize(graph, nncf.Dataset(examples), subset_size=len(examples), ignored_scope=left)


def seconds(run: Run, batch: torch.Tensor) -> float:
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run(batch)
        taken.append(time.perf_counter() - began)
    return min(taken)


if __name__ == "__main__":
    main()
