"""How much of a GPU is used. In: photos in train/ and test/ with a folder per class, and weights of ResNet-18. Out: a
table of rates beside their ceilings, as Markdown and as JSON.

    python benchmarks/gpu.py CIFAR10 RESNET18 --jpeg PHOTOS [--out FILE] [--only pass,train,cifar,peers] [--device cuda]

``pass``: a frozen network's photos per second: of random tensors that lie on the GPU already, which is the ceiling;
from rows of the cache; from JPEG files (those of PHOTOS, copied until there are --photos of them). ``train``: the same
for training steps, photos augmented anew in each epoch. ``peers``: a loop as people write it, and fastai, where it is
installed. ``cifar``: the whole command, from its start to its end.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HEADSTART_CACHE", str(Path(tempfile.gettempdir()) / "headstart-gpu-cache"))

import numpy as np
import torch
from torch import nn

import headstart as hs
from headstart.core.events import Event
from headstart.core.paths import cache_dir
from headstart.data.images import read_photos
from headstart.inference.device import find_machine, synchronise
from headstart.inference.features import FeatureExtractor
from headstart.inference.runner import Normalise, fold
from headstart.models.factory import create
from headstart.training.strategies import STRATEGIES
from headstart.training.trainer import Trainer

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar10", type=Path)
    parser.add_argument("resnet18", type=Path)
    parser.add_argument("--jpeg", type=Path)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--networks", default="resnet18:224,resnet50:224")
    parser.add_argument("--batches", default="32:224,128:128,32:64", help="photos:px of training steps")
    parser.add_argument("--shots", type=int, default=2000, help="photos per class of an epoch of training")
    parser.add_argument("--only", default="pass,train,peers,cifar")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--strategies", default="probe,finetune,lp-ft", help="of the whole command")
    asked = parser.parse_args()
    if asked.only in STRATEGIES.names():
        return one_training(asked)
    rows: list[Row] = []
    for name in asked.only.split(","):
        for row in {"pass": passes, "train": trainings, "peers": peers, "cifar": cifar}[name](asked):
            rows.append(row)
            print(json.dumps(row), flush=True)
            asked.out.write_text(json.dumps(rows, indent=1) + "\n")


# -- a frozen network --


def passes(asked: argparse.Namespace) -> Iterator[Row]:
    machine = find_machine(asked.device)
    for text in asked.networks.split(","):
        name, size = text.split(":")[0], int(text.split(":")[1])
        backbone = create(name, weights=asked.resnet18) if name == "resnet18" else create(name, pretrained=False)
        row: Row = {"what": "pass", "network": name, "px": size, "machine": machine.words, "batch": machine.batch}
        row |= {f"ceiling_{many}": ceiling_of_pass(backbone, size, machine, many) for many in (64, 128, 256)}
        row["ceiling"] = max(row[f"ceiling_{many}"] for many in (64, 128, 256))
        with tempfile.TemporaryDirectory() as folder:
            files = copies(asked.jpeg, asked.photos, Path(folder))
            shutil.rmtree(cache_dir(), ignore_errors=True)
            extractor = FeatureExtractor(backbone, backbone.preprocessing.at(size, size), machine, "bf16", "torch")
            began = time.perf_counter()
            pixels = read_photos(files, size)
            row["read_seconds"] = time.perf_counter() - began
            extractor.pooled(pixels)
            row["from_jpeg"] = len(files) / (time.perf_counter() - began)
            shutil.rmtree(next((cache_dir() / "rows").glob("features-*")))
            extractor.stores.clear()
            began = time.perf_counter()
            extractor.pooled(pixels)
            row["from_rows"] = len(files) / (time.perf_counter() - began)
        yield row | {f"share_{k}": row[f"from_{k}"] / row["ceiling"] for k in ("rows", "jpeg")}


def ceiling_of_pass(backbone: Any, size: int, machine: Any, many: int) -> float:
    """Random photos on the device per second, so many at a time, through the folded network in bf16."""
    network = fold(backbone.joining_all()).to(machine.device, torch.bfloat16)
    network.to(memory_format=torch.channels_last)
    normalise = Normalise(backbone.preprocessing).to(machine.device)
    shape = (many, size, size, 3)
    photos = [torch.randint(0, 256, shape, dtype=torch.uint8, device=machine.device) for _ in range(4)]

    @torch.inference_mode()
    def run(number: int) -> None:
        network(normalise(photos[number % 4]).to(torch.bfloat16))

    return many * rate(run, machine.device)


def copies(photos: Path, number: int, folder: Path) -> list[Path]:
    """So many JPEG files of different content: photos with a few bytes behind their end, which no decoder reads."""
    found = [path.read_bytes() for path in sorted(photos.rglob("*.jpg"))]
    made = []
    for i in range(number):
        made.append(folder / f"{i}.jpg")
        made[-1].write_bytes(found[i % len(found)] + i.to_bytes(4, "big"))
    return made


def rate(run: Callable[[int], None], device: torch.device, seconds: float = 1.5) -> float:
    """Calls per second: the median of five rounds, warmed up."""
    for i in range(5):
        run(i)
    synchronise(device)
    began = time.perf_counter()
    run(0)
    synchronise(device)
    calls, found = max(1, int(seconds / 5 / (time.perf_counter() - began))), []
    for _ in range(5):
        began = time.perf_counter()
        for i in range(calls):
            run(i)
        synchronise(device)
        found.append(calls / (time.perf_counter() - began))
    return float(np.median(found))


# -- training --


def trainings(asked: argparse.Namespace) -> Iterator[Row]:
    machine = find_machine(asked.device)
    for text in asked.batches.split(","):
        batch, size = (int(n) for n in text.split(":"))
        row: Row = {"what": "train", "network": "resnet18", "px": size, "batch": batch, "machine": machine.words}
        step = plain_step(asked, batch, size, machine)
        row["ceiling_eager"] = batch * rate(step, machine.device)
        if machine.device.type == "cuda":
            row["ceiling_graph"] = batch * rate(recorded(step), machine.device)
        del step
        for words, patched in (("headstart", False), ("not_recorded", True)):
            row[words] = headstart_rate(asked, batch, size, patched)
        best = max(row["ceiling_eager"], row.get("ceiling_graph", 0.0))
        yield row | {"share": row["headstart"] / best}


def plain_step(asked: argparse.Namespace, batch: int, size: int, machine: Any) -> Callable[[int], None]:
    """A step on one random batch that lies on the device: the network, its gradients, AdamW."""
    backbone = create("resnet18", weights=asked.resnet18)
    network = nn.Sequential(Normalise(backbone.preprocessing), backbone, nn.Linear(512, 10)).to(machine.device).train()
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True, capturable=machine.device.type == "cuda")
    x = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=machine.device)
    y = torch.randint(0, 10, (batch,), device=machine.device)

    def step(_: int) -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(machine.device.type, torch.bfloat16):
            out = network(x)
        nn.functional.cross_entropy(out.float(), y).backward()
        optimiser.step()

    return step


def recorded(step: Callable[[int], None]) -> Callable[[int], None]:
    """The step as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            step(0)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(0)
    return lambda _: graph.replay()


def headstart_rate(asked: argparse.Namespace, batch: int, size: int, eager: bool) -> float:
    """Photos per second of the second epoch of ``hs.train``, its validation (1 % of the photos) left out."""
    marks: list[float] = []
    seen: list[int] = []
    real_epoch, real_finish = Trainer._epoch, Trainer._finish_epoch

    def epoch(self: Trainer, number: int) -> None:
        if eager:
            self.recorded = None
        synchronise(self.machine.device)
        marks.append(time.perf_counter())
        seen.append(len(self.source))
        real_epoch(self, number)

    def finish(self: Trainer, number: int) -> None:
        synchronise(self.machine.device)
        marks.append(time.perf_counter())
        real_finish(self, number)

    Trainer._epoch, Trainer._finish_epoch = epoch, finish  # type: ignore[method-assign]
    settings = {"epochs": 2, "batch_size": batch, "image_size": size, "augment": "light"}
    try:
        with tempfile.TemporaryDirectory() as out:
            hs.train(
                asked.cifar10 / "train", out=Path(out) / "run", strategy="finetune", backbone="resnet18", val=0.01,
                weights=str(asked.resnet18), settings=settings, device=asked.device, quiet=True, test=0.01,
                shots=asked.shots,
            )  # fmt: skip
    finally:
        Trainer._epoch, Trainer._finish_epoch = real_epoch, real_finish  # type: ignore[method-assign]
    return seen[1] / (marks[3] - marks[2])


# -- others --


def peers(asked: argparse.Namespace) -> Iterator[Row]:
    """One size: 128 photos of 128 px, the second epoch on all photos of train/."""
    same = {"what": "peer", "network": "resnet18", "px": 128, "batch": 128}
    yield same | {"tool": "a loop with a DataLoader", "rate": loop(asked)}
    if importlib.util.find_spec("fastai"):
        yield same | {"tool": "fastai", "rate": fastai(asked)}


def loop(asked: argparse.Namespace) -> float:
    """torchvision's transforms in worker processes, pinned memory, bf16, channels_last."""
    import torchvision
    from torchvision import transforms

    device = find_machine(asked.device).device
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    crops = [transforms.RandomResizedCrop(128, (0.35, 1)), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    photos = torchvision.datasets.ImageFolder(
        str(asked.cifar10 / "train"), transforms.Compose([*crops, transforms.Normalize(mean, std)])
    )
    loader = torch.utils.data.DataLoader(
        photos, 128, shuffle=True, num_workers=max(1, (os.cpu_count() or 2) - 1), pin_memory=device.type == "cuda",
        persistent_workers=True, drop_last=True,
    )  # fmt: skip
    network = torchvision.models.resnet18(num_classes=10).to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    taken = 0.0
    for _ in range(2):
        began = time.perf_counter()
        for x, y in loader:
            x = x.to(device, non_blocking=True, memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16):
                loss = nn.functional.cross_entropy(network(x), y.to(device, non_blocking=True))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        synchronise(device)
        taken = time.perf_counter() - began
    return len(photos) / taken


def fastai(asked: argparse.Namespace) -> float:
    """``ImageDataLoaders`` and ``fit_one_cycle`` in half precision, as its documents have them, on all cores."""
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        FlipItem,
        ImageBlock,
        Normalize,
        RandomResizedCrop,
        RandomSplitter,
        get_image_files,
        imagenet_stats,
        parent_label,
        resnet18,
        vision_learner,
    )  # fmt: skip

    block = DataBlock(
        (ImageBlock, CategoryBlock), get_items=get_image_files, splitter=RandomSplitter(0.01, seed=0),
        get_y=parent_label, batch_tfms=[Normalize.from_stats(*imagenet_stats)],
        item_tfms=[RandomResizedCrop(128, min_scale=0.35), FlipItem()],
    )  # fmt: skip
    dls = block.dataloaders(asked.cifar10 / "train", bs=128, num_workers=max(1, (os.cpu_count() or 2) - 1))
    learner = vision_learner(dls, resnet18, pretrained=False).to_fp16()
    learner.unfreeze()
    marks: list[float] = []
    with learner.no_bar(), learner.no_logging():
        for _ in range(2):
            began = time.perf_counter()
            learner.fit(1, 1e-4)
            marks.append(time.perf_counter() - began)
    return len(dls.train_ds) / marks[1]


def cifar(asked: argparse.Namespace) -> Iterator[Row]:
    """CIFAR-10 from its files to a report, nothing cached: seconds of the whole process, and test accuracy."""
    for strategy in asked.strategies.split(","):
        shutil.rmtree(cache_dir(), ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            out, began = Path(folder) / "run", time.time()
            command = [sys.executable, __file__, str(asked.cifar10), str(asked.resnet18), "--device", asked.device]
            done = subprocess.run([*command, "--only", strategy, "--out", out], capture_output=True, text=True)
            row: Row = {"what": "cifar10", "strategy": strategy, "seconds": time.time() - began}
            if done.returncode:
                yield row | {"failed": done.stderr[-2000:]}
                continue
            plan = json.loads((out / "plan.json").read_text())
            row |= {name: plan[name] for name in ("epochs", "batch_size", "image_size", "augment")}
            row["accuracy"] = json.loads((out / "metrics.json").read_text())["test"]["accuracy"]["value"]
            yield row | {"phases": [(round(at - began, 1), what) for at, what in json.loads(done.stdout)]}


def one_training(asked: argparse.Namespace) -> None:
    """A training as the command does it; prints when each of its tasks began."""
    marks: list[tuple[float, str]] = [(time.time(), "imports are done")]

    def listen(event: Event) -> None:
        what = getattr(event, "task", None) or str(getattr(event, "text", ""))[:60]
        if what and what != marks[-1][1]:
            marks.append((time.time(), what))

    hs.train(
        asked.cifar10, out=asked.out, backbone="resnet18", weights=str(asked.resnet18), strategy=asked.only,
        device=asked.device, quiet=True, listener=listen,
    )  # fmt: skip
    print(json.dumps([*marks, (time.time(), "the end")]))


if __name__ == "__main__":
    main()
