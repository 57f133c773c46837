"""How a frozen pass grows with processes: photos per second of N processes with one thread each, against one.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py --processes 2 --photos 512 --repeats 3

Photos are drawn, weights random, the rows' cache is emptied before each pass, and passes of one and of N take turns.
The time is that of the slowest process, from all being ready to all having every row. Efficiency: N times the speed of
one is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def work(folder: Path, backbone: str, size: int) -> None:
    """One process: a warm-up batch, then the pass; rank 0 prints the seconds."""
    import torch

    from headstart.core.events import Events
    from headstart.core.world import joined
    from headstart.training.config import TrainOptions
    from headstart.training.preparation import read_for, split

    torch.set_num_threads(1)
    settings = {"image_size": size, "precision": "float32", "engine": "torch"}
    options = TrainOptions(
        str(folder / "photos"), backbone=backbone, strategy="scratch", device="cpu", settings=settings
    )
    with joined() as world:
        from headstart.data.loading import find_photos

        with world.in_turn():
            photos, network, machine = read_for(options, find_photos(options.data, Events()), Events())
        prepared = split(options, photos, network, machine, Events())
        extractor = prepared.extractor
        extractor.uncached(prepared.pixels["val"].take([0, 1]))
        extractor.world = world
        world.each(None)
        began = time.perf_counter()
        extractor.computed(prepared.pixels["train"])
        seconds = max(world.each(time.perf_counter() - began))
        if world.first:
            print(json.dumps({"seconds": seconds, "photos": len(prepared.pixels["train"])}))


def measured(count: int, folder: Path, arguments: argparse.Namespace) -> float:
    """Photos per second of so many processes."""
    for rows in (folder / "cache" / "rows").glob("features-*"):
        shutil.rmtree(rows)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [
        sys.executable,
        __file__,
        "--work",
        str(folder),
        "--backbone",
        arguments.backbone,
        "--size",
        str(arguments.size),
    ]
    children = []
    for rank in range(count):
        told = {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
        own = {"MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "HEADSTART_CACHE": str(folder / "cache")}
        own["HEADSTART_WAIT"] = "120"
        children.append(subprocess.Popen(command, env={**os.environ, **told, **own}, stdout=subprocess.PIPE, text=True))
    said = [child.communicate()[0] for child in children]
    found = json.loads(said[0].splitlines()[-1])
    return float(found["photos"] / found["seconds"])


def draw(folder: Path, photos: int, size: int) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(photos):
        path = folder / "photos" / ("cat", "dog")[i % 2] / f"{i:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--photos", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        return work(arguments.work, arguments.backbone, arguments.size)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw(folder, arguments.photos, arguments.size)
        several, alone = list[float](), list[float]()
        for _ in range(arguments.repeats):
            alone.append(measured(1, folder, arguments))
            several.append(measured(arguments.processes, folder, arguments))
            print(f"1: {alone[-1]:.1f} photos/s   {arguments.processes}: {several[-1]:.1f}", flush=True)
        share = statistics.median(several) / statistics.median(alone) / arguments.processes
        print(f"efficiency of {arguments.processes} processes: {share:.2f} (medians of {arguments.repeats})")


if __name__ == "__main__":
    main()
