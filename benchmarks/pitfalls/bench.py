"""What the experiments on pitfalls share. In: a folder of photos and weights. Out: photos in memory, backbones, cached
features, a plain training loop that can be got wrong, and tables.
"""

from __future__ import annotations

import copy
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from headstart.data.decode import decode
from headstart.data.filenames import natural_key
from headstart.data.images import centre
from headstart.data.schema import Photo
from headstart.data.sources.detect import scan
from headstart.inference.device import BATCH, find_machine
from headstart.inference.runner import FrozenNetwork, Normalise
from headstart.models.backbone import Backbone
from headstart.models.factory import create
from headstart.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from headstart.training.batches import batch_bounds
from headstart.training.linear_probe import Probe, fit_probe

MACHINE = find_machine("cpu")
PRECISION = "bf16" if MACHINE.fast_bf16 else "float32"
Shape = Callable[[Path, int], np.ndarray]


@dataclass(frozen=True)
class Photos:
    """Photos cut to size, in memory: ``pixels`` uint8 [N, S, S, 3], ``labels`` int64 [N]."""

    pixels: np.ndarray
    labels: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: np.ndarray | Sequence[int]) -> Photos:
        return Photos(self.pixels[chosen], self.labels[chosen], self.classes)


def whole(path: Path, size: int) -> np.ndarray:
    """The shorter side becomes ``size`` px, the centre is kept: what headstart does."""
    return centre(decode(path, size).pixels, size)


class Bench:
    """The assets, and what was read of them; nothing is written to disk."""

    def __init__(self, assets: Path) -> None:
        self.assets = assets
        self._backbones: dict[str, Backbone] = {}
        self._photos: dict[Any, Photos] = {}
        self.listed = cache(lambda data: scan(str(assets / "data" / data)).photos)

    def backbone(self, name: str = "resnet18") -> Backbone:
        """A backbone of one's own, with ImageNet weights."""
        if name not in self._backbones:
            file = self.assets / "weights" / f"{name}.fp16.safetensors"
            self._backbones[name] = create(name, weights=file)
        return copy.deepcopy(self._backbones[name])

    def chosen(self, data: str, split: str | None, per_class: int, skip: int = 0) -> list[tuple[Photo, int]]:
        """(photo, label) of ``per_class`` photos of each class, drawn once for all, the first ``skip`` left for
        others.
        """
        of_class: dict[str, list[Photo]] = defaultdict(list)
        for photo in self.listed(data):
            if split in (None, photo.split):
                of_class[photo.label].append(photo)
        found = []
        for label, name in enumerate(sorted(of_class, key=natural_key)):
            members = sorted(of_class[name], key=lambda p: str(p.path))
            random.Random(0).shuffle(members)
            found += [(photo, label) for photo in members[skip : skip + per_class]]
        return found

    def photos(
        self, data: str, split: str | None, per_class: int, size: int, skip: int = 0, shape: Shape = whole
    ) -> Photos:
        """The same, read and cut to ``size`` x ``size``; read once."""
        key = (data, split, per_class, size, skip, shape)
        if key not in self._photos:
            chosen = self.chosen(data, split, per_class, skip)
            labels = np.array([label for _, label in chosen])
            pixels = np.stack([shape(photo.path, size) for photo, _ in chosen])
            self._photos[key] = Photos(pixels, labels, int(labels.max()) + 1)
        return self._photos[key]


Channels = tuple[float, float, float]


def normalised(mean: Channels = IMAGENET_MEAN, std: Channels = IMAGENET_STD) -> Preprocessing:
    """The preprocessing of ImageNet's weights, or one with another mean and deviation."""
    return replace(Preprocessing(), mean=mean, std=std)


def features(backbone: nn.Module, photos: Photos, preprocessing: Preprocessing | None = None) -> np.ndarray:
    """Pooled features [N, D] of a frozen backbone in eval mode, through headstart's own forward pass."""
    forward = FrozenNetwork(backbone, preprocessing or normalised(), MACHINE, PRECISION)
    parts = [photos.pixels[i : i + BATCH] for i in range(0, len(photos), BATCH)]
    return np.concatenate([forward(torch.from_numpy(part)).float().numpy() for part in parts])


# -- probes on features --


def draw(labels: np.ndarray, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(indices of ``per_class`` photos of each class, those of all others)."""
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(len(labels))
    inside = np.concatenate([mixed[labels[mixed] == c][:per_class] for c in range(int(labels.max()) + 1)])
    return inside, np.setdiff1d(mixed, inside)


def probe(x: np.ndarray, y: np.ndarray, per_class: int, seed: int) -> Probe:
    """headstart's probe on ``per_class`` rows of each class, its strength chosen on all other rows."""
    train, val = draw(y, per_class, seed)
    return fit_probe((x[train], y[train]), (x[val], y[val]), int(y.max()) + 1)


def right(fitted: Probe, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which rows a probe classifies correctly, bool [N]."""
    return (x @ fitted.weight.numpy().T + fitted.bias.numpy()).argmax(1) == y


# -- the plain loop --


class Plain(nn.Module):
    """uint8 photos [N, S, S, 3] -> logits [N, C]: normalisation, body, head; each can be exchanged."""

    def __init__(self, normalise: nn.Module, body: Backbone, head: nn.Linear) -> None:
        super().__init__()
        self.normalise, self.body, self.head = normalise, body, head
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.normalise(x)))


def network(body: Backbone, classes: int, seed: int, preprocessing: Preprocessing | None = None) -> Plain:
    """A backbone under a linear head with random weights."""
    torch.manual_seed(seed)
    return Plain(Normalise(preprocessing or normalised()), body, nn.Linear(body.dim, classes))


def adam(net: Plain, head: float = 1e-3, body: float = 1e-4) -> torch.optim.Optimizer:
    """Adam with usual rates: the new head at one, the pretrained body at a tenth of it."""
    groups = [{"params": [*net.head.parameters()], "lr": head}, {"params": [*net.body.parameters()], "lr": body}]
    return torch.optim.Adam(groups)


Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Bounds = Callable[[int, int], list[tuple[int, int]]]


@dataclass(frozen=True)
class Schedule:
    """How a plain loop runs; each field is something that an experiment gets wrong on its own."""

    epochs: int = 4
    batch: int = 16
    seed: int = 0
    loss: Loss = F.cross_entropy
    shuffle: bool = True
    bounds: Bounds = batch_bounds
    zero_before_step: bool = False


def fit(net: nn.Module, optimiser: torch.optim.Optimizer, photos: Photos, how: Schedule) -> float:
    """Train with mirror images and a constant rate; returns the seconds of the last epoch."""
    rng = np.random.default_rng(how.seed)
    seconds = 0.0
    for _ in range(how.epochs):
        net.train()
        order = rng.permutation(len(photos)) if how.shuffle else np.arange(len(photos))
        began = time.perf_counter()
        for first, last in how.bounds(len(photos), how.batch):
            chosen = order[first:last]
            pixels = photos.pixels[chosen]
            mirrored = rng.random(len(chosen)) < 0.5
            pixels[mirrored] = pixels[mirrored, :, ::-1]
            _step(net, optimiser, torch.from_numpy(pixels), torch.from_numpy(photos.labels[chosen]), how)
        seconds = time.perf_counter() - began
    return seconds


def _step(net: nn.Module, optimiser: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, how: Schedule) -> None:
    optimiser.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=PRECISION == "bf16"):
        logits = net(x)
    how.loss(logits.float(), y).backward()
    if how.zero_before_step:
        optimiser.zero_grad()
    optimiser.step()


@torch.no_grad()
def logits(net: nn.Module, photos: Photos, batch: int = 50, training: bool = False) -> np.ndarray:
    """Logits [N, C]; ``training`` leaves BatchNorm in train mode, which is the mistake."""
    net.train(training)
    out = []
    for first in range(0, len(photos), batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=PRECISION == "bf16"):
            out.append(net(torch.from_numpy(photos.pixels[first : first + batch])).float().numpy())
    return np.concatenate(out)


def accuracy(net: nn.Module, photos: Photos, **how: Any) -> float:
    return float((logits(net, photos, **how).argmax(1) == photos.labels).mean())


# -- what is printed --


def spread(values: Sequence[float], digits: int = 3) -> str:
    """``0.812 ± 0.010``: the mean and the standard deviation over seeds."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def gap(wrong: Sequence[float], right_way: Sequence[float]) -> str:
    """``-0.012 [-0.020, -0.004]``: wrong - right, paired by seed, with its 95 % t-interval over these seeds."""
    gaps = np.subtract(wrong, right_way)
    if len(gaps) < 3:
        return f"{gaps.mean():+.3f}"
    low, high = stats.t.interval(0.95, len(gaps) - 1, gaps.mean(), stats.sem(gaps)) if gaps.std() else (gaps[0],) * 2
    return f"{gaps.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def compared(title: str, ways: dict[str, list[float]], unit: str = "accuracy") -> None:
    """A table whose first row is the right way, and the others' difference from it, paired by seed."""
    base = next(iter(ways.values()))
    rows = [(name, spread(v), "" if v is base else gap(v, base)) for name, v in ways.items()]
    table(f"{title} ({len(base)} seeds)", (unit, "difference [95 %]"), rows)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n  {title}" if title else "")
    lines = [("", *columns), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    for line in lines:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
        print("    " + "   ".join(cells).rstrip(), flush=True)
