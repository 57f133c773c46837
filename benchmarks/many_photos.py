"""Time and memory of a training on many small photos in shards, phase by phase.

    python benchmarks/many_photos.py 50000 --work DIR [--stand-in]

Draws that many 32 px photos of ten classes into WebDataset shards (once per number), then trains a probe of the starter
backbone on them with a cache in which pixels are not kept. Prints, for each phase, seconds and the peak of this
process's memory. ``--stand-in`` puts random numbers in the place of decoding and of the network, whose time and memory
per photo do not depend on how many there are: what is left is what headstart itself keeps of each photo.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES, SIDE, PER_SHARD = 10, 32, 10_000


def draw(number: int, folder: Path) -> None:
    """Shards of drawn photos: a colour and a stripe per class, and noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, (CLASSES, 3))
    for first in range(0, number, PER_SHARD):
        with tarfile.open(folder / f"photos-{first // PER_SHARD:06d}.tar", "w") as out:
            for i in range(first, min(first + PER_SHARD, number)):
                label = i % CLASSES
                pixels = rng.normal(colours[label], 45, (SIDE, SIDE, 3))
                pixels[(label * 3) % SIDE :: 8] += 60
                encoded = io.BytesIO()
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=85)
                for name, content in ((f"{i:09d}.jpg", encoded.getvalue()), (f"{i:09d}.cls", str(label).encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    out.addfile(info, io.BytesIO(content))


class Meter:
    """Seconds and memory of phases."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.peak, self.running = 0, True
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.running:
            self.peak = max(self.peak, resident())
            time.sleep(0.05)

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, measured."""

        def measured(*args: Any, **more: Any) -> Any:
            before, since, cpu = resident(), time.perf_counter(), time.process_time()
            self.peak = before
            found = call(*args, **more)
            row = {"phase": name, "s": round(time.perf_counter() - since, 2), "before_mb": before >> 20}
            row["cpu_s"] = round(time.process_time() - cpu, 2)
            row |= {"peak_mb": max(self.peak, resident()) >> 20, "after_mb": resident() >> 20}
            self.rows.append(row)
            print(json.dumps(row), flush=True)
            return found

        return measured


def resident() -> int:
    """Bytes of memory that this process holds itself: without files that are mapped."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(text.partition("RssAnon:")[2].split()[0])


def put_stand_ins() -> None:
    """Random pixels, fingerprints and features, by the photo's content."""
    import hashlib

    import torch

    from headstart.data import images
    from headstart.data.bounds import read_file
    from headstart.data.duplicates import fingerprints
    from headstart.inference import features

    def read(photo: Any, *_: Any, **__: Any) -> Any:
        content = read_file(photo)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        pixels = np.frombuffer(hashlib.shake_128(content).digest(SIDE * SIDE * 3), np.uint8).reshape(SIDE, SIDE, 3)
        return images.PhotoRead(digest, None, SIDE, SIDE, (), pixels, "JPEG")

    class Network:
        machine: Any
        dim = 1024

        def __call__(self, photos: torch.Tensor) -> torch.Tensor:
            return torch.rand(len(photos), self.dim)

    images.read_one = read
    fingerprints.rows_of = lambda photos: np.stack([pixels.reshape(-1)[:1040] for pixels in photos])
    features.render = lambda pixels, size, view, digest: 0
    prepared = features.FeatureExtractor.prepared

    def stand_in(self: Any, module: Any, end: str) -> Any:
        Network.machine = self.machine
        if Network.dim == 1024:
            real = prepared(self, module, end)
            Network.dim = real(
                torch.zeros(32, self.preprocessing.image_size, self.preprocessing.image_size, 3).byte()
            ).shape[1]
        return Network()

    features.FeatureExtractor.prepared = stand_in


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("number", type=int)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--stand-in", action="store_true")
    asked = parser.parse_args()
    shards = asked.work / f"shards-{asked.number}"
    if not shards.is_dir():
        draw(asked.number, asked.work / "drawing")
        (asked.work / "drawing").rename(shards)
    cache = asked.work / f"cache-{asked.number}"
    shutil.rmtree(cache, ignore_errors=True)
    os.environ["HEADSTART_CACHE"] = str(cache)
    os.environ["HEADSTART_CACHE_GB"] = "0.05"

    import headstart as hs
    from headstart.data import loading
    from headstart.inference import features
    from headstart.training import preparation
    from headstart.workflows.train import train

    meter = Meter()
    for home, name, phase in (
        (preparation, "find_photos", "index"), (loading, "read_photos", "read, check, fingerprints, features"),
        (loading, "near_pairs", "near-duplicates"), (preparation, "draw_splits", "splits"),
        (features.FeatureExtractor, "pooled", "features of a split"),
        (train, "write_files", "head evaluated, run written"),
    ):  # fmt: skip
        setattr(home, name, meter.timed(phase, getattr(home, name)))
    if asked.stand_in:
        put_stand_ins()
    whole = meter.timed("all", hs.train)
    whole(
        shards, out=asked.work / "run", overwrite=True, backbone="starter", strategy="probe", quiet=True,
        settings={"precision": "float32"},
    )  # fmt: skip
    meter.running = False
    print(json.dumps({"photos": asked.number, "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}))


if __name__ == "__main__":
    main()
