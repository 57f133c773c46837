"""Photos read, decoded and resized per second: by threads and by processes, in turn. In: photos. Out: a line each.

    python benchmarks/claims/reading.py ASSETS [--rounds 2]

ASSETS as CONTRIBUTING.md describes it. Every file is read once before, so that the disk does not count. Beside the
rate: the processor time per photo of the process that asks, which bounds the rate however many others there are.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from headstart.data import images, readers

SETS = (("imagewoof160/train", 4000, 224), ("cifar10/train", 10_000, 128))
"""Of ASSETS/data; photos; px of the shorter side."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    for name, number, size in SETS:
        folder = asked.assets.expanduser() / "data" / name
        photos = sorted(path for path in folder.glob("*/*") if path.is_file())[:number]
        for photo in photos:
            photo.read_bytes()
        for _ in range(asked.rounds):
            for how, cores in (("threads", 10**6), ("processes", 1)):
                readers.MANY_CORES = cores
                print(f"{name}, {len(photos):,} photos at {size} px, {how}: {rate(photos, size)}", flush=True)


def rate(photos: list[Path], size: int) -> str:
    began, before = time.perf_counter(), os.times()
    count = sum(1 for _ in images.stream_photos(photos, size))
    after, seconds = os.times(), time.perf_counter() - began
    own = (after.user + after.system - before.user - before.system) / count
    return f"{count / seconds:,.0f} photos/s, {own * 1e6:.0f} µs of the process that asks"


if __name__ == "__main__":
    main()
