"""Pitfalls of the training itself. In: a ``Bench``. Out: printed tables on BatchNorm in frozen layers, a misspelt
``requires_grad``, losses that take two softmaxes, and a last batch of one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from bench import (
    Bench,
    Photos,
    Plain,
    Schedule,
    accuracy,
    adam,
    compared,
    draw,
    features,
    fit,
    network,
    spread,
    table,
)
from torch import nn

from headstart.models.backbone import Backbone
from headstart.models.freeze import freeze, thaw
from headstart.training.batches import batch_bounds
from headstart.training.logistic_regression import standardiser


def _breeds(bench: Bench, per_class: int) -> tuple[Photos, Photos]:
    """(the first ``per_class`` training photos of each breed, 300 test photos), at 96 px."""
    pool = bench.photos("imagewoof160", "train", 50, 96)
    return pool.take(np.arange(len(pool)) % 50 < per_class), bench.photos("imagewoof160", "val", 30, 96)


# -- BatchNorm in frozen layers --


Hold = Callable[[Backbone], Backbone]


def without_gradients(body: Backbone) -> Backbone:
    """The usual way to freeze: no gradients; ``train()`` still reaches BatchNorm."""
    return body.requires_grad_(False)


HOLDS: dict[str, Hold] = {"freeze() (right)": freeze, "requires_grad=False, train()": without_gradients}


def batchnorm(bench: Bench) -> None:
    """A head trained on a body that is frozen whole, and on one whose BatchNorm goes on counting."""
    photos, test = _breeds(bench, 15)
    moved: list[float] = []
    for batch in (32, 8, 2):
        ways: dict[str, list[float]] = {name: [] for name in HOLDS}
        for seed in range(3):
            for name, hold in HOLDS.items():
                net = _trained_head(bench, photos, hold, batch, seed)
                ways[name].append(accuracy(net, test))
        compared(f"Head on frozen ResNet-18, 10 breeds, 15 photos each, 4 epochs, batches of {batch}", ways)
        moved.append(_moved(bench, net))
    print(f"\n  Of 40 running means and variances, changed with batches of 32, 8, 2: {moved}")
    _second_task(bench, test)


def _trained_head(bench: Bench, photos: Photos, hold: Hold, batch: int, seed: int) -> Plain:
    net = network(hold(bench.backbone()), photos.classes, seed)
    # One rate per photo, so that small batches (more steps) do not learn more than large ones.
    fit(net, torch.optim.Adam(net.head.parameters(), 1e-3 * math.sqrt(batch / 8)), photos, Schedule(4, batch, seed))
    return net


def _moved(bench: Bench, net: Plain) -> int:
    before = bench.backbone().state_dict()
    after = net.body.state_dict()
    return sum("running" in key and not torch.equal(value, before[key]) for key, value in after.items())


def _second_task(bench: Bench, test: Photos) -> None:
    """Two heads on one "frozen" body: training the second, on other images, under the first."""
    photos, _ = _breeds(bench, 30)
    cifar = bench.photos("cifar10", "train", 20, 96)
    ways: dict[str, list[float]] = {"before": [], **{f"after, {name}": [] for name in HOLDS}}
    for seed in range(3):
        for name, hold in HOLDS.items():
            first = _trained_head(bench, photos, freeze, 16, seed)
            before = accuracy(first, test)
            second = Plain(first.normalise, hold(thaw(first.body)), nn.Linear(first.body.dim, 10))
            fit(second, torch.optim.Adam(second.head.parameters(), 1e-3), cifar, Schedule(2, 16, seed))
            ways[f"after, {name}"].append(accuracy(first, test))
        ways["before"].append(before)
    compared("The breeds' head, after a second head was trained on 200 CIFAR images over the same frozen body", ways)


# -- a typing mistake --


def typo(bench: Bench) -> None:
    """``param.require_grad = False`` sets an attribute that nobody reads: all layers train, at the head's rate."""
    photos, test = _breeds(bench, 15)
    holds: dict[str, Hold] = {"freeze() (right)": freeze, "require_grad = False": misspelt}
    ways: dict[str, list[float]] = {name: [] for name in holds}
    seconds: dict[str, list[float]] = {name: [] for name in holds}
    for seed in range(3):
        for name, hold in holds.items():
            net = network(hold(bench.backbone()), photos.classes, seed)
            seconds[name].append(fit(net, torch.optim.Adam(net.parameters(), 1e-3), photos, Schedule(seed=seed)))
            ways[name].append(accuracy(net, test))
    compared("Adam at 1e-3 for all that has gradients, 10 breeds, 15 photos each, 4 epochs", ways)
    table("", ("seconds per epoch",), [(name, spread(taken, 2)) for name, taken in seconds.items()])


def misspelt(body: Backbone) -> Backbone:
    for parameter in body.parameters():
        parameter.require_grad = False  # type: ignore[attr-defined]  # the mistake: torch reads requires_grad
    return body


# -- two softmaxes --

LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "logits (right)": F.cross_entropy,
    "log-softmax first": lambda x, y: F.cross_entropy(x.log_softmax(1), y),
    "softmax first": lambda x, y: F.cross_entropy(x.softmax(1), y),
    "sigmoid first": lambda x, y: F.cross_entropy(x.sigmoid(), y),
}
OUTPUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "logits (right)": lambda x: x,
    "log-softmax first": lambda x: x.log_softmax(1),
    "softmax first": lambda x: x.softmax(1),
    "sigmoid first": lambda x: x.sigmoid(),
}


def loss(bench: Bench) -> None:
    """Bounds of the loss, the idempotence of log-softmax, and heads trained with each."""
    _bounds()
    _twice()
    breeds = (bench.photos("imagewoof160", "train", 50, 96), bench.photos("imagewoof160", "val", 50, 96))
    pets = (bench.photos("dogs-vs-cats", "train", 100, 96), bench.photos("dogs-vs-cats", "test", 250, 96))
    for words, (photos, test) in (("10 breeds, 30 photos each", breeds), ("dogs and cats, 30 photos each", pets)):
        x, test_x = (features(bench.backbone(), p) for p in (photos, test))
        mean, scale = (t.float().numpy() for t in standardiser(torch.from_numpy(x).double()))
        for epochs in (10, 100):
            _heads(words, epochs, ((x - mean) / scale, photos.labels), ((test_x - mean) / scale, test.labels))


def _bounds() -> None:
    rows = []
    for classes in (10, 2):
        sure = torch.full((1, classes), -1e4)
        sure[0, 0] = 1e4
        y = torch.zeros(1, dtype=torch.long)
        outputs = (sure, torch.zeros_like(sure), -sure)
        for name, of in LOSSES.items():
            rows.append((f"{classes} classes, {name}", *(f"{of(x, y).item():.4f}" for x in outputs)))
    table("Cross-entropy of one photo", ("sure and right", "all alike", "sure and wrong"), rows)


def _twice() -> None:
    torch.manual_seed(0)
    x = (3 * torch.randn(1000, 10)).requires_grad_()
    y = torch.randint(10, (1000,))
    losses = [LOSSES[name](x, y) for name in ("logits (right)", "log-softmax first")]
    first, second = (torch.autograd.grad(value, x)[0] for value in losses)
    print(
        f"\n  log-softmax before cross-entropy, 1,000 random rows: the loss differs by "
        f"{(losses[0] - losses[1]).abs().item():.1e} of {losses[0].item():.3f}, "
        f"the gradient by at most {(first - second).abs().max():.1e} of {first.abs().max():.1e}"
    )


def _heads(words: str, epochs: int, photos: tuple[np.ndarray, ...], test: tuple[np.ndarray, ...]) -> None:
    ways: dict[str, list[float]] = {name: [] for name in LOSSES}
    figures: dict[str, list[tuple[float, float, float]]] = {name: [] for name in LOSSES}
    for seed in range(10):
        chosen, _ = draw(photos[1], 30, seed)
        for name in LOSSES:
            right_share, *rest = _head(name, epochs, seed, photos[0][chosen], photos[1][chosen], test)
            ways[name].append(right_share)
            figures[name].append((rest[0], rest[1], rest[2]))
    compared(f"Linear head on ResNet-18's features, {words}, Adam at 1e-3, {epochs} epochs", ways)
    rows = [(n, *(f"{statistics.mean(f[i] for f in found):.3f}" for i in range(3))) for n, found in figures.items()]
    table("", ("train loss at the end", "mean confidence on test", "log loss on test"), rows)


def _head(
    name: str, epochs: int, seed: int, x: np.ndarray, y: np.ndarray, test: tuple[np.ndarray, ...]
) -> tuple[float, float, float, float]:
    """(test accuracy, last training loss, mean confidence, log loss of the probabilities); probabilities are the
    softmax of what the network gives, except where it gives them itself.
    """
    torch.manual_seed(seed)
    head, rng = nn.Linear(x.shape[1], int(y.max()) + 1), np.random.default_rng(seed)
    optimiser = torch.optim.Adam(head.parameters(), 1e-3)
    for _ in range(epochs):
        order = rng.permutation(len(y))
        for first, last in batch_bounds(len(y), 16):
            rows = order[first:last]
            optimiser.zero_grad()
            LOSSES[name](head(torch.from_numpy(x[rows])), torch.from_numpy(y[rows])).backward()
            optimiser.step()
    with torch.no_grad():
        ended = LOSSES[name](head(torch.from_numpy(x)), torch.from_numpy(y)).item()
        given = OUTPUTS[name](head(torch.from_numpy(test[0])))
        p = given if name.startswith("softmax") else given.softmax(1)
        target = torch.from_numpy(test[1])
        return (
            (given.argmax(1) == target).float().mean().item(),
            ended,
            p.max(1).values.mean().item(),
            F.nll_loss(p.clamp_min(1e-12).log(), target).item(),
        )


# -- a last batch of one --


def last_batch(bench: Bench) -> None:
    """145 photos in batches of 16 leave one alone; headstart cuts an epoch into batches of nearly equal size."""
    photos, test = _breeds(bench, 15)
    photos = photos.take(draw(photos.labels, 15, 0)[0][:145])
    ways: dict[str, list[float]] = {"nearly equal batches (right)": [], "the last batch holds one": []}
    ways["the last batch is dropped"] = []
    for seed in range(3):
        for name, bounds in zip(ways, (batch_bounds, leftover, dropped), strict=True):
            net = network(bench.backbone(), photos.classes, seed)
            fit(net, adam(net), photos, Schedule(seed=seed, bounds=bounds))
            ways[name].append(accuracy(net, test))
    compared("Fine-tuned (BatchNorm moving), 145 photos, batches of 16, 4 epochs", ways)
    _alone()


def leftover(photos: int, batch: int) -> list[tuple[int, int]]:
    return [(first, min(first + batch, photos)) for first in range(0, photos, batch)]


def dropped(photos: int, batch: int) -> list[tuple[int, int]]:
    return leftover(photos // batch * batch, batch)


def _alone() -> None:
    head = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).train()
    try:
        head(torch.zeros(1, 4))
    except ValueError as error:
        print(f"\n  BatchNorm1d in a head, one photo: {error}")
