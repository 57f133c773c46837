"""A probe on grey photos that are kept in 8 bits, and in wider types that use all or a part of their range. In: photos
and weights. Out: a table of the ranges that were chosen and of test accuracies.

    python benchmarks/claims/deep_pixels.py ASSETS [--train 30] [--test 100] [--only 8,12in16]

The photos of animals are the same in every row, and so are the splits: what differs is how they are stored. The
accuracies of all rows must be within 2 points of the first. A row takes half a minute on two CPU cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import headstart as hs

LEFT = "float, not measured where -9999"
VAL = 20
KINDS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "8": ("png", lambda v: v.astype(np.uint8)),
    "8in16": ("png", lambda v: v.astype(np.uint16)),
    "10in16": ("png", lambda v: (v * 4).astype(np.uint16)),
    "12in16": ("tif", lambda v: (v * 16).astype(np.uint16)),
    "14in16": ("png", lambda v: (v * 64).astype(np.uint16)),
    "16": ("png", lambda v: (v * 257).astype(np.uint16)),
    "thermal": ("tif", lambda v: (28000 + v * 8).astype(np.uint16)),
    "12in16, 65535 where not measured": ("tif", lambda v: _margin((v * 16).astype(np.uint16), 65535)),
    "int32": ("tif", lambda v: v.astype(np.int32)),
    "int32, tomography": ("tif", lambda v: (v * 12 - 1024).astype(np.int32)),
    "float, 0 to 255": ("tif", lambda v: v.astype(np.float32)),
    "float, 0 to 1": ("tif", lambda v: (v / 255).astype(np.float32)),
    "float, -1 to 1": ("tif", lambda v: (v / 127.5 - 1).astype(np.float32)),
    "float, infinite in places": ("tif", lambda v: _margin((v / 255).astype(np.float32), np.inf, 1)),
    LEFT: ("tif", lambda v: _margin(v.astype(np.float32), -9999)),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--train", type=int, default=30, help="photos per class")
    parser.add_argument("--test", type=int, default=100, help="photos per class")
    parser.add_argument("--only", help="kinds, by semicolons")
    asked = parser.parse_args()
    photos = {
        folder.name: sorted(folder.iterdir())[: asked.train + VAL + asked.test]
        for folder in sorted((asked.assets / "data" / "animals").iterdir())
        if folder.is_dir()
    }
    print("| stored as | black and white | test accuracy | difference, points |\n|---|---|---|---|")
    reference, worst = None, 0.0
    for kind in asked.only.split(";") if asked.only else KINDS:
        with tempfile.TemporaryDirectory() as place:
            store(photos, Path(place) / "data", kind, asked.train)
            run = hs.train(
                Path(place) / "data", backbone="resnet18", strategy="probe", image_size=160, out=Path(place) / "run",
                weights=str(asked.assets / "weights" / "resnet18.fp16.safetensors"), leakage="keep", quiet=True,
            )  # fmt: skip
            accuracy = run.metrics["test"]["accuracy"]["value"]
            ranges = run.classifier.preprocessing.ranges
        reference = accuracy if reference is None else reference
        pair = next(filter(None, ranges or ()), None)
        words = f"{pair[0]:g}, {pair[1]:g}" if pair else "those of the type"
        print(f"| {kind} | {words} | {accuracy:.3f} | {100 * (accuracy - reference):+.1f} |", flush=True)
        worst = max(worst, abs(accuracy - reference))
    return int(worst > 0.02)


def store(photos: dict[str, list[Path]], place: Path, kind: str, train: int) -> None:
    """Write the photos in grey as ``kind``, into folders per split and class."""
    suffix, change = KINDS[kind]
    for label, paths in photos.items():
        for number, path in enumerate(paths):
            split = "train" if number < train else "val" if number < train + VAL else "test"
            folder = place / split / label
            folder.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                values = np.asarray(image.convert("L")).astype(np.float64)
            Image.fromarray(change(values)).save(folder / f"{number:04d}.{suffix}")


def _margin(values: np.ndarray, value: float, rows: int = 5) -> np.ndarray:
    values[:rows] = value
    return values


if __name__ == "__main__":
    sys.exit(main())
