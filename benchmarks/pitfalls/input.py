"""Pitfalls of what the network is shown. In: a ``Bench``. Out: printed tables on normalisation and on centre crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench import (
    Bench,
    Photos,
    Plain,
    Schedule,
    accuracy,
    adam,
    compared,
    features,
    fit,
    network,
    normalised,
    probe,
    right,
    whole,
)
from PIL import Image

from headstart.data.decode import decode, header_size
from headstart.data.images import centre
from headstart.inference.runner import Normalise
from headstart.models.preprocessing import Preprocessing

NORMALISATIONS = {
    "ImageNet's (right)": normalised(),
    "CIFAR's": normalised((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "0.5 and 0.5": normalised((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none: values 0 to 1": normalised((0, 0, 0), (1, 1, 1)),
    "none: values 0 to 255": normalised((0, 0, 0), (1 / 255, 1 / 255, 1 / 255)),
}
RIGHT = next(iter(NORMALISATIONS))


def normalisation(bench: Bench) -> None:
    """Another mean and deviation than the weights were trained with, in training and test alike and in test alone."""
    pool, test = bench.photos("imagewoof160", "train", 50, 96), bench.photos("imagewoof160", "val", 50, 96)
    _normalised_probe(bench, pool, test)
    few = pool.take(np.arange(len(pool)) % 50 < 15)
    _normalised_finetuning(bench, few, test)


def _normalised_probe(bench: Bench, pool: Photos, test: Photos, seeds: int = 10) -> None:
    rows = {n: [features(bench.backbone(), p, how) for p in (pool, test)] for n, how in NORMALISATIONS.items()}
    same: dict[str, list[float]] = {name: [] for name in rows}
    only_test: dict[str, list[float]] = {name: [] for name in rows}
    for seed in range(seeds):
        first = probe(rows[RIGHT][0], pool.labels, 30, seed)
        for name, (train_x, test_x) in rows.items():
            fitted = probe(train_x, pool.labels, 30, seed)
            same[name].append(float(right(fitted, test_x, test.labels).mean()))
            only_test[name].append(float(right(first, test_x, test.labels).mean()))
    compared("Frozen probe, 10 breeds, 30 photos each, 96 px: same normalisation in training and test", same)
    compared("Frozen probe trained with ImageNet's, predicting with another", only_test)


def _normalised_finetuning(bench: Bench, photos: Photos, test: Photos, seeds: int = 3) -> None:
    names = (RIGHT, "CIFAR's", "none: values 0 to 1", "none: values 0 to 255")
    same: dict[str, list[float]] = {name: [] for name in names}
    only_test: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(seeds):
        for name in names:
            net = network(bench.backbone(), photos.classes, seed, NORMALISATIONS[name])
            fit(net, adam(net), photos, Schedule(seed=seed))
            same[name].append(accuracy(net, test))
            if name == RIGHT:
                for other in names:
                    only_test[other].append(_predicting_with(net, NORMALISATIONS[other], test))
    compared("Fine-tuned (BatchNorm moving), 15 photos per breed, 4 epochs: same in training and test", same)
    compared("Fine-tuned with ImageNet's, predicting with another", only_test)


def _predicting_with(net: Plain, how: Preprocessing, test: Photos) -> float:
    own, net.normalise = net.normalise, Normalise(how)
    found = accuracy(net, test)
    net.normalise = own
    return found


# -- what is cut off --


def cropped(path: Path, size: int) -> np.ndarray:
    """ImageNet's evaluation: the shorter side becomes 256/224 of the input size, the centre is cut out."""
    return centre(decode(path, round(size * 256 / 224)).pixels, size)


def close_up(path: Path, size: int) -> np.ndarray:
    """The middle half of the shorter side only: what a large --resize does by mistake."""
    return centre(decode(path, size * 2).pixels, size)


def squashed(path: Path, size: int) -> np.ndarray:
    """All of the photo, pressed into a square: ``Resize((s, s))`` instead of ``Resize(s)``."""
    picture = Image.fromarray(decode(path).pixels)
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


SHAPES = {
    "whole shorter side (right)": whole,
    "256/224, centre": cropped,
    "middle half": close_up,
    "squashed": squashed,
}


def crops(bench: Bench) -> None:
    """Shapes in training and test alike; then trained on one shape, tested on another; then long photos only."""
    _cropped_set(bench, "imagewoof160", ("train", "val"), 0, 40)
    _cropped_set(bench, "dogs-vs-cats", ("train", "test"), 0, 150)
    _cropped_set(bench, "animals", (None, None), 50, 150)


def crops_224(bench: Bench) -> None:
    """The same at the size that the weights were trained at, where a crop magnifies nothing that the size lacks."""
    _cropped_set(bench, "imagewoof160", ("train", "val"), 0, 25, 224, ("whole shorter side (right)", "256/224, centre"))


def _cropped_set(
    bench: Bench,
    data: str,
    splits: tuple[str | None, str | None],
    skip: int,
    count: int,
    size: int = 112,
    names: Sequence[str] = tuple(SHAPES),
) -> None:
    rows = {}
    for name in names:
        pool = bench.photos(data, splits[0], 50, size, shape=SHAPES[name])
        judged = bench.photos(data, splits[1], count, size, skip, shape=SHAPES[name])
        rows[name] = (features(bench.backbone(), pool), features(bench.backbone(), judged))
    long = _long([photo.path for photo, _ in bench.chosen(data, splits[1], count, skip)])
    _print_crops(f"{data}, {size} px", rows, pool.labels, judged.labels, long)


def _long(paths: list[Path], ratio: float = 1.4) -> np.ndarray:
    sizes = [header_size(path) or (1, 1) for path in paths]
    return np.array([max(size) / min(size) >= ratio for size in sizes])


def _print_crops(
    data: str, rows: dict[str, tuple[np.ndarray, np.ndarray]], y: np.ndarray, test_y: np.ndarray, long: np.ndarray
) -> None:
    alike: dict[str, list[float]] = {name: [] for name in rows}
    on_long: dict[str, list[float]] = {name: [] for name in rows}
    crossed: dict[str, list[float]] = {name: [] for name in rows}
    for seed in range(10):
        first = probe(next(iter(rows.values()))[0], y, 40, seed)
        for name, (train_x, test_x) in rows.items():
            correct = right(probe(train_x, y, 40, seed), test_x, test_y)
            alike[name].append(float(correct.mean()))
            on_long[name].append(float(correct[long].mean()))
            crossed[name].append(float(right(first, test_x, test_y).mean()))
    compared(f"{data}: probe, 40 photos per class, {len(test_y)} test photos, the same shape in both", alike)
    compared(f"{data}: of these, the {long.sum()} photos at least 1.4 times as long as wide", on_long)
    compared(f"{data}: trained on the whole shorter side, predicting with another shape", crossed)
