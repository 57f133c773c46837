"""Which near-duplicates a search in cells loses, beside the comparison of all photos.

    python benchmarks/claims/cells.py ASSETS [--photos 20000]

Takes so many photos of CIFAR-10 and altered copies of 1,000 of them (as benchmarks/claims/check.py plants them), finds
near-duplicates by comparing all, and then by cells: as many as that number of photos has, and as many as a million has.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from check import ALTERED
from PIL import Image

from headstart.data.duplicates import neighbours
from headstart.data.duplicates.fingerprints import fingerprints
from headstart.data.duplicates.pairs import near_duplicates
from headstart.data.images import read_photos

COPIES = 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("assets", type=Path)
    parser.add_argument("--photos", type=int, default=20_000)
    asked = parser.parse_args()
    draw = np.random.default_rng(0)
    every = sorted((asked.assets / "data/cifar10/train").glob("*/*"))
    chosen = [every[i] for i in draw.permutation(len(every))[: asked.photos]]
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / f"{i:04d}.png" for i in range(COPIES)]
        for i, copy in enumerate(copies):
            ALTERED[i % len(ALTERED)](Image.open(chosen[i]).convert("RGB"), draw).save(copy)
        pixels = read_photos([*chosen, *copies], 32)
        seen = fingerprints(pixels)
    planted = {(i, asked.photos + i) for i in range(COPIES)}
    began = time.process_time()
    pairs, similarity = near_duplicates(seen, pixels.digests)
    whole = dict(zip(map(tuple, pairs.tolist()), similarity.tolist(), strict=True))
    print(f"{len(seen):,} photos, {len(whole):,} pairs by comparing all, {len(planted & whole.keys())} of them planted")
    print(f"| cells | pairs lost | planted ones | s of processor time (all: {time.process_time() - began:.1f}) |")
    print("|---|---|---|---|")
    neighbours.EXACT = 0
    k_means = neighbours.k_means
    for cells in (round(2 * len(seen) ** 0.5), 2000):
        neighbours.k_means = partial(lambda number, rows, _, form: k_means(rows, number, form), cells)
        began = time.process_time()
        found = set(map(tuple, near_duplicates(seen, pixels.digests)[0].tolist()))
        lost = whole.keys() - found
        row = (f"{len(lost)} ({len(lost) / len(whole):.1%})", len(lost & planted), f"{time.process_time() - began:.1f}")
        print(f"| {cells:,} | {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
