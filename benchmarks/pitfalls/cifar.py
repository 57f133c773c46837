"""Which mistake turns a pretrained network into a coin with ten sides? In: a ``Bench``. Out: printed tables: candidate
mistakes on CIFAR-10, and the recipe of the CIFAR study remade.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from bench import (
    PRECISION,
    Bench,
    Loss,
    Photos,
    Plain,
    Schedule,
    accuracy,
    adam,
    features,
    fit,
    network,
    normalised,
    probe,
    right,
    spread,
    table,
)
from input import NORMALISATIONS
from torch import nn

from headstart.evaluation.statistics import Interval, wilson
from headstart.inference.device import BATCH
from headstart.inference.runner import Normalise
from headstart.models.backbone import Backbone
from headstart.models.factory import create
from headstart.models.freeze import freeze
from headstart.models.preprocessing import IMAGENET_STD, Preprocessing
from headstart.training.batches import batch_bounds

Result = float | str
RAW, UNIT = NORMALISATIONS["none: values 0 to 255"], NORMALISATIONS["none: values 0 to 1"]


class Trial:
    """One seed of all candidates: the same 300 training photos (sorted by class on disk) and 500 test photos, 64 px."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench, self.seed = bench, seed
        self.train, self.test = bench.photos("cifar10", "train", 30, 64), bench.photos("cifar10", "test", 50, 64)
        self._good: Plain | None = None

    def net(self, body: Backbone | None = None) -> Plain:
        return network(body or self.bench.backbone(), 10, self.seed)

    def new_head(self, net: Plain) -> None:
        net.head = nn.Linear(net.body.dim, 10)

    def fitted(self, net: Plain, optimiser: torch.optim.Optimizer, how: Schedule | None = None) -> float:
        fit(net, optimiser, self.train, replace(how or Schedule(), epochs=3, seed=self.seed))
        return accuracy(net, self.test)

    def good(self) -> Plain:
        """A copy of the network that was fine-tuned without a mistake."""
        if self._good is None:
            self._good = self.net()
            self.fitted(self._good, adam(self._good))
        return copy.deepcopy(self._good)


def right_way(trial: Trial) -> Result:
    return accuracy(trial.good(), trial.test)


def frozen_right(trial: Trial) -> Result:
    net = trial.net(freeze(trial.bench.backbone()))
    return trial.fitted(net, torch.optim.Adam(net.head.parameters(), 1e-3))


def from_scratch(trial: Trial) -> Result:
    torch.manual_seed(trial.seed)
    net = trial.net(create("resnet18", pretrained=False))
    return trial.fitted(net, torch.optim.Adam(net.parameters(), 1e-3))


def optimiser_before_head(trial: Trial) -> Result:
    net = trial.net()
    optimiser = adam(net)
    trial.new_head(net)
    return trial.fitted(net, optimiser)


def optimiser_before_head_frozen(trial: Trial) -> Result:
    net = trial.net(freeze(trial.bench.backbone()))
    optimiser = torch.optim.Adam(net.head.parameters(), 1e-3)
    trial.new_head(net)
    return trial.fitted(net, optimiser)


def all_frozen(trial: Trial) -> Result:
    net = trial.net()
    optimiser = adam(net)
    net.requires_grad_(False)
    try:
        return trial.fitted(net, optimiser)
    except RuntimeError as error:
        return f"stops: {str(error).split(' and ')[0]}"


def sgd(rate: float) -> Callable[[Trial], Result]:
    def run(trial: Trial) -> Result:
        net = trial.net()
        return trial.fitted(net, torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=5e-4))

    return run


def adam_high(trial: Trial) -> Result:
    net = trial.net()
    return trial.fitted(net, torch.optim.Adam(net.parameters(), 1e-2))


def sorted_by_class(trial: Trial) -> Result:
    net = trial.net()
    return trial.fitted(net, adam(net), Schedule(shuffle=False))


def zero_before_step(trial: Trial) -> Result:
    net = trial.net()
    # SGD without momentum and decay: with zero gradients not one weight moves
    return trial.fitted(net, torch.optim.SGD(net.parameters(), 0.01), Schedule(zero_before_step=True))


def slow(loss: Loss) -> Callable[[Trial], Result]:
    """A head on the frozen body, plain SGD at 1e-3."""

    def run(trial: Trial) -> Result:
        net = trial.net(freeze(trial.bench.backbone()))
        return trial.fitted(net, torch.optim.SGD(net.head.parameters(), 1e-3), Schedule(loss=loss))

    return run


def squeezed(of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Trial], Result]:
    """Fine-tuned with softmax or sigmoid before the loss."""

    def run(trial: Trial) -> Result:
        net = trial.net()
        return trial.fitted(net, adam(net), Schedule(loss=lambda x, y: F.cross_entropy(of(x), y)))

    return run


def another_model(trial: Trial) -> Result:
    return accuracy(trial.net(), trial.test)


def predicting_with(how: Preprocessing) -> Callable[[Trial], Result]:
    def run(trial: Trial) -> Result:
        net = trial.good()
        net.normalise = Normalise(how)
        return accuracy(net, trial.test)

    return run


def smaller_test(trial: Trial) -> Result:
    return accuracy(trial.good(), trial.bench.photos("cifar10", "test", 50, 32))


def train_mode(batch: int, mixed: bool) -> Callable[[Trial], Result]:
    def run(trial: Trial) -> Result:
        order = np.random.default_rng(0).permutation(500) if mixed else np.arange(500)
        return accuracy(trial.good(), trial.test.take(order), batch=batch, training=True)

    return run


def batch_statistics(how: Preprocessing) -> Callable[[Trial], Result]:
    """Frozen layers that use the batch's statistics in training and ImageNet's in test (momentum 0: never updated)."""

    def run(trial: Trial) -> Result:
        net = trial.net(_unmoving(trial.bench.backbone()))
        net.normalise = Normalise(how)
        return trial.fitted(net, torch.optim.Adam(net.head.parameters(), 1e-3))

    return run


def _unmoving(body: Backbone) -> Backbone:
    for module in body.requires_grad_(False).modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    return body


CANDIDATES: dict[str, Callable[[Trial], Result]] = {
    "right: fine-tuned, Adam 1e-3 head, 1e-4 body": right_way,
    "right: frozen, head at Adam 1e-3": frozen_right,
    "pretrained weights not loaded": from_scratch,
    "optimiser built before the new head, body trains": optimiser_before_head,
    "optimiser built before the new head, body frozen": optimiser_before_head_frozen,
    "freezing loop after the new head": all_frozen,
    "SGD 0.1, momentum 0.9, no warm-up": sgd(0.1),
    "SGD 0.01, momentum 0.9, no warm-up": sgd(0.01),
    "Adam 1e-2 on everything": adam_high,
    "training photos sorted by class, not shuffled": sorted_by_class,
    "zero_grad between backward and step": zero_before_step,
    "softmax before the loss, fine-tuned": squeezed(lambda x: x.softmax(1)),
    "sigmoid before the loss, fine-tuned": squeezed(torch.sigmoid),
    "softmax before the loss, frozen, SGD 1e-3": slow(lambda x, y: F.cross_entropy(x.softmax(1), y)),
    "the same with logits": slow(F.cross_entropy),
    "another model object is tested": another_model,
    "normalised in training, test 0 to 1": predicting_with(UNIT),
    "normalised in training, test 0 to 255": predicting_with(RAW),
    "trained at 64 px, tested at 32 px": smaller_test,
    "tested in train(), mixed batches of 50": train_mode(50, True),
    "tested in train(), batches of one class": train_mode(50, False),
    "tested in train(), batches of 2": train_mode(2, True),
    "frozen BatchNorm by batches in training only": batch_statistics(normalised()),
    "the same, values 0 to 255 in both": batch_statistics(RAW),
}


def chance(bench: Bench) -> None:
    """Every candidate mistake, alone, on the same photos; two seeds."""
    rows, trials = [], [Trial(bench, seed) for seed in range(2)]
    for name, run in CANDIDATES.items():
        found = [run(trial) for trial in trials]
        numbers = [value for value in found if isinstance(value, float)]
        if len(numbers) < len(found):
            rows.append((name, str(found[0]), ""))
            continue
        together = wilson(round(500 * sum(numbers)), 1000)
        rows.append((name, f"{numbers[0]:.3f} {numbers[1]:.3f}", "fits 10-12 %" if _fits(together) else ""))
    title = "CIFAR-10, ResNet-18, 64 px, 300 training and 500 test photos, 3 epochs: test accuracy of 2 seeds"
    table(title, ("", ""), rows)


def _fits(found: Interval) -> bool:
    """Whether 10 to 12 % meets the 95 % interval of both seeds' answers together."""
    return found.low is not None and found.high is not None and found.low <= 0.12 and found.high >= 0.10


# -- the study's recipe --


def study(bench: Bench) -> None:
    """ResNet-50, frozen, 1,500 photos at 32 px, shifted, turned and mirrored, a linear head for 200 epochs of Adam."""
    for words, count, of in (("10.54 % of 10,000", 1054, 10_000), ("12 % of 50", 6, 50)):
        found = wilson(count, of)
        print(f"\n  Published {words}: 95 % interval {found.low:.3f} to {found.high:.3f}")
    large = [bench.photos("cifar10", split, n, 96) for split, n in (("train", 150), ("test", 100))]
    x, test_x = (features(bench.backbone("resnet50"), p) for p in large)
    wholly = [float(right(probe(x, large[0].labels, 120, s), test_x, large[1].labels).mean()) for s in range(3)]
    rows = [("enlarged to 96 px, headstart's probe (right)", spread(wholly))]
    photos, test = (bench.photos("cifar10", split, n, 32) for split, n in (("train", 150), ("test", 100)))
    as_written = replace(normalised(), mean=(0.0, 0.0, 0.0), std=IMAGENET_STD[::-1])
    for name, how, swap, by_batch in (
        ("32 px, ImageNet's normalisation", normalised(), False, False),
        ("as written: mean not subtracted, colours in the other order", as_written, True, False),
        ("the same, BatchNorm by batches in training only", as_written, True, True),
        ("32 px, values 0 to 255 where 0 to 1 is meant", RAW, False, False),
        ("the same, BatchNorm by batches in training only", RAW, False, True),
    ):
        net = nn.Sequential(Normalise(how), _unmoving(bench.backbone("resnet50")))
        rows.append((name, spread(_remade(net, _swapped(photos, swap), _swapped(test, swap), by_batch))))
    table("CIFAR-10, ResNet-50 frozen, 1,500 training and 1,000 test photos (3 seeds)", ("accuracy",), rows)


def _swapped(photos: Photos, swap: bool) -> Photos:
    return Photos(photos.pixels[..., ::-1].copy(), photos.labels, photos.classes) if swap else photos


def _remade(net: nn.Sequential, photos: Photos, test: Photos, by_batch: bool, views: int = 4) -> list[float]:
    rng = np.random.default_rng(0)
    seen = [_outputs(net, varied(photos.pixels, rng), by_batch, rng) for _ in range(views)]
    test_x = _outputs(net, test.pixels, False, rng)
    return [_keras_like_head(seen, photos.labels, test_x, test.labels, seed) for seed in range(3)]


def varied(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned by up to 15 degrees, shifted by up to a tenth, mirrored; what lies outside is reflected."""
    n = len(pixels)
    turn, shift = np.radians(rng.uniform(-15, 15, n)), rng.uniform(-0.2, 0.2, (n, 2))
    side, cos, sin = rng.choice([-1.0, 1.0], n), np.cos(turn), np.sin(turn)
    rows = np.stack([side * cos, -sin, shift[:, 0], side * sin, cos, shift[:, 1]], 1)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    grid = F.affine_grid(torch.from_numpy(rows).float().view(n, 2, 3), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return moved.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def _outputs(net: nn.Sequential, pixels: np.ndarray, by_batch: bool, rng: np.random.Generator) -> torch.Tensor:
    net.train(by_batch)
    order = rng.permutation(len(pixels))  # batches of all classes: their statistics are those of training
    out = torch.empty(len(pixels), 2048)
    for first in range(0, len(order), BATCH):
        chosen = order[first : first + BATCH]
        with torch.autocast("cpu", torch.bfloat16, enabled=PRECISION == "bf16"):
            out[chosen] = net(torch.from_numpy(pixels[chosen])).float()
    return out


def _keras_like_head(
    seen: list[torch.Tensor], labels: np.ndarray, test_x: torch.Tensor, test_y: np.ndarray, seed: int
) -> float:
    """200 epochs of Adam at 1e-3 in batches of 32 on raw features, Glorot's start: the defaults of that library."""
    torch.manual_seed(seed)
    head, y = nn.Linear(2048, 10), torch.from_numpy(labels)
    nn.init.xavier_uniform_(head.weight)
    nn.init.zeros_(head.bias)
    optimiser = torch.optim.Adam(head.parameters(), 1e-3, eps=1e-7)
    for epoch in range(200):
        order = torch.randperm(len(y))
        for first, last in batch_bounds(len(y), 32):
            chosen = order[first:last]
            optimiser.zero_grad()
            F.cross_entropy(head(seen[epoch % len(seen)][chosen]), y[chosen]).backward()
            optimiser.step()
    with torch.no_grad():
        return float((head(test_x).argmax(1).numpy() == test_y).mean())
