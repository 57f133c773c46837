"""Pitfalls of judging. In: a ``Bench``. Out: printed tables on class order, copies across splits, selection on test,
and one run told as a result. All but one part works on features that are computed once.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bench import (
    Bench,
    Photos,
    Schedule,
    accuracy,
    adam,
    compared,
    draw,
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
from PIL import Image
from torch import nn

from headstart.data.filenames import natural_key
from headstart.data.schema import Manifest, Photo, Split, SplitDataset, SplitOptions
from headstart.data.splits import split_dataset
from headstart.training.batches import batch_bounds
from headstart.training.linear_probe import Probe, fit_probe
from headstart.training.logistic_regression import Rows, solve, standardiser
from headstart.training.strengths import L2_GRID


def _image_set(named: list[tuple[Split, str, str]]) -> SplitDataset:
    """headstart's own image set of (split, label, digest)."""
    photos = tuple(Photo(Path(f"{i}.jpg"), label, split) for i, (split, label, _) in enumerate(named))
    manifest = Manifest(Path("."), "photos", "split folders", photos)
    return split_dataset(manifest, [digest for _, _, digest in named], [], SplitOptions())


# -- class order --


def class_order(bench: Bench) -> None:
    """Labels numbered anew in each split's folder; labels in text order beside labels in natural order."""
    pool, test = bench.photos("imagewoof160", "train", 50, 96), bench.photos("imagewoof160", "val", 50, 96)
    x, test_x = features(bench.backbone(), pool), features(bench.backbone(), test)
    names = [f"breed {c + 1}" for c in range(10)]
    missing: dict[int, list[tuple[float, float, float]]] = {c: [] for c in range(10)}
    texts = []
    for seed in range(5):
        fitted = probe(x, pool.labels, 30, seed)
        answers = (test_x @ fitted.weight.numpy().T + fitted.bias.numpy()).argmax(1)
        for c in missing:
            missing[c].append(_one_missing(answers, test.labels, names, c))
        texts.append(_text_order(answers, test.labels, names))
    rows = [
        (names[c], *(f"{statistics.mean(f[i] for f in found):.3f}" for i in range(3))) for c, found in missing.items()
    ]
    rows.append(("mean over classes", *(_mean(missing, i) for i in range(3))))
    columns = ("numbered per folder", "numbered once (right)", "headstart's class list")
    table("Accuracy told where the test folder lacks a class, 10 breeds (5 seeds)", columns, rows)
    print(f"\n  Trained in natural order, named in text order (breed 1, breed 10, breed 2, ...): {spread(texts)}")


def _mean(missing: dict[int, list[tuple[float, float, float]]], i: int) -> str:
    return f"{statistics.mean(f[i] for found in missing.values() for f in found):.3f}"


def _one_missing(answers: np.ndarray, labels: np.ndarray, names: list[str], gone: int) -> tuple[float, float, float]:
    kept = labels != gone
    present = sorted({names[c] for c in labels[kept]}, key=natural_key)  # what a reader of the test folder alone sees
    own = np.array([present.index(names[c]) for c in labels[kept]])
    train: list[tuple[Split, str, str]] = [("train", name, f"{name} {i}") for name in names for i in range(3)]
    judged: list[tuple[Split, str, str]] = [("test", names[c], f"test {i}") for i, c in enumerate(labels[kept])]
    ours = np.array([s.label for s in _image_set([*train, *judged]).split("test")])
    return (
        float((answers[kept] == own).mean()),
        float((answers[kept] == labels[kept]).mean()),
        float((answers[kept] == ours).mean()),
    )


def _text_order(answers: np.ndarray, labels: np.ndarray, names: list[str]) -> float:
    shown = sorted(names)
    return float(np.mean([shown[a] == names[y] for a, y in zip(answers, labels, strict=True)]))


# -- copies --


def copies(bench: Bench) -> None:
    """A part of the test photos also lies among the training photos: as the same file, or saved anew as JPEG."""
    pool, test = bench.photos("cifar10", "train", 50, 64), bench.photos("cifar10", "test", 50, 64)
    fresh = bench.photos("cifar10", "test", 100, 64, skip=50)
    rows = [features(bench.backbone(), p) for p in (pool, test, fresh, saved_anew(test))]
    for kind, planted in (("the same files", rows[1]), ("saved anew as JPEG", rows[3])):
        for share in (0.0, 0.1, 0.3, 0.5):
            _print_copies(f"{share:.0%} of test in train, {kind}", share, planted, rows, (pool, test, fresh))
    _finetuned_copies(bench, pool, test, fresh)
    _found(test)


def saved_anew(photos: Photos) -> Photos:
    out = np.empty_like(photos.pixels)
    for i, row in enumerate(photos.pixels):
        file = io.BytesIO()
        Image.fromarray(row).save(file, "JPEG", quality=90)
        out[i] = np.asarray(Image.open(file))
    return Photos(out, photos.labels, photos.classes)


def _print_copies(
    words: str, share: float, planted: np.ndarray, rows: list[np.ndarray], sets: tuple[Photos, Photos, Photos]
) -> None:
    pool, test, fresh = sets
    told: dict[str, list[float]] = {"probe": [], "nearest neighbour": []}
    real: dict[str, list[float]] = {name: [] for name in told}
    for seed in range(10):
        chosen, _ = draw(test.labels, round(share * 50), seed)
        x, y = np.concatenate([rows[0], planted[chosen]]), np.concatenate([pool.labels, test.labels[chosen]])
        fitted = probe(x, y, int(0.8 * len(y) / 10), seed)
        for name, answers in (("probe", _by_probe(fitted)), ("nearest neighbour", _by_nearest(x, y))):
            told[name].append(float((answers(rows[1]) == test.labels).mean()))
            real[name].append(float((answers(rows[2]) == fresh.labels).mean()))
    lines = [(name, spread(told[name]), spread(real[name])) for name in told]
    table(f"{words} (10 seeds)", ("accuracy told", "on 1,000 other photos"), lines)


Answers = Callable[[np.ndarray], np.ndarray]


def _by_probe(fitted: Probe) -> Answers:
    return lambda rows: (rows @ fitted.weight.numpy().T + fitted.bias.numpy()).argmax(1)


def _by_nearest(x: np.ndarray, y: np.ndarray) -> Answers:
    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return lambda rows: y[(unit(rows) @ unit(x).T).argmax(1)]


def _finetuned_copies(bench: Bench, pool: Photos, test: Photos, fresh: Photos) -> None:
    base, judged = pool.take(np.arange(500) % 50 < 25), fresh.take(np.arange(1000) % 100 < 50)
    told: dict[str, list[float]] = {"no copies (right)": [], "30 % of test in train": []}
    real: dict[str, list[float]] = {name: [] for name in told}
    for seed in range(2):
        for name, count in zip(told, (0, 15), strict=True):
            chosen = test.take(draw(test.labels, count, seed)[0] if count else [])
            joined = [np.concatenate(pair) for pair in ((base.pixels, chosen.pixels), (base.labels, chosen.labels))]
            net = network(bench.backbone(), 10, seed)
            fit(net, adam(net), Photos(joined[0], joined[1], 10), Schedule(8, 16, seed))
            told[name].append(accuracy(net, test))
            real[name].append(accuracy(net, judged))
    lines = [(name, spread(told[name]), spread(real[name])) for name in told]
    title = "Fine-tuned for 8 epochs on 250 photos, with and without 150 copies (2 seeds)"
    table(title, ("accuracy told", "on 500 other photos"), lines)


def _found(test: Photos) -> None:
    """What headstart does with the same data: 500 training photos, 150 of them copies of test photos."""
    named: list[tuple[Split, str, str]] = [("test", str(c), f"test {i}") for i, c in enumerate(test.labels)]
    named += [("train", str(i % 10), f"train {i}") for i in range(350)]
    named += [("train", str(test.labels[i]), f"test {i}") for i in range(0, 450, 3)]
    found = _image_set(named)
    print(f"\n  headstart on 500 training and 500 test photos, 150 of them in both: {found.summary}")
    print("  " + next(note for note in found.notes if "left out" in note))


# -- selection on test --


def selection(bench: Bench, draws: int = 1000) -> None:
    """The best of many candidates on test, told as its accuracy; against choosing on val and reading test once."""
    pool = bench.photos("cifar10", "train", 50, 64)
    crowd = bench.photos("cifar10", "test", 400, 64)
    x, crowd_x = features(bench.backbone(), pool), features(bench.backbone(), crowd)
    grid = _grid(x, pool.labels, crowd_x, crowd.labels)
    heads = _heads(x, pool.labels, crowd_x, crowd.labels)
    for words, correct in (("11 L2 strengths", grid), (f"{len(heads)} = 5 seeds x 3 rates x 20 epochs", heads)):
        rows = [_bias(correct, n, draws) for n in (50, 100, 300, 1000)]
        columns = ("told - real, chosen on test", "chosen on val", "real accuracy of it", "of the one chosen on val")
        table(f"Best of {words}; {draws} draws of the test photos from 4,000", columns, rows)


def _bias(correct: np.ndarray, n: int, draws: int) -> tuple[str, ...]:
    """``correct`` [candidates, photos]: draws val and test of n photos each; real is the accuracy on all the rest."""
    rng = np.random.default_rng(0)
    greedy, honest, real, real_honest = [], [], [], []
    for _ in range(draws):
        order = rng.permutation(correct.shape[1])
        val, test, rest = (correct[:, part].mean(1) for part in (order[:n], order[n : 2 * n], order[2 * n :]))
        best, chosen = test.argmax(), val.argmax()
        greedy.append(float(test[best] - rest[best]))
        honest.append(float(test[chosen] - rest[chosen]))
        real.append(float(rest[best]))
        real_honest.append(float(rest[chosen]))
    means = (f"{statistics.mean(real):.3f}", f"{statistics.mean(real_honest):.3f}")
    return (f"{n} test photos", _signed(greedy), _signed(honest), *means)


def _signed(values: list[float]) -> str:
    return f"{statistics.mean(values):+.3f} ± {statistics.stdev(values):.3f}"


def _grid(x: np.ndarray, y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> np.ndarray:
    rows = Rows(torch.from_numpy(x))
    judged = Rows(torch.from_numpy(test_x), like=rows)
    right = []
    for together in solve(rows, torch.from_numpy(y), 10, L2_GRID):
        for _, weight, bias in together:
            right.append(torch.cat(list(judged.logits(weight, bias))).argmax(1).numpy() == test_y)
    return np.stack(right).astype(np.float64)


def _heads(x: np.ndarray, y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> np.ndarray:
    mean, scale = (t.float() for t in standardiser(torch.from_numpy(x).double()))
    rows, judged = (torch.from_numpy(x) - mean) / scale, (torch.from_numpy(test_x) - mean) / scale
    labels, out = torch.from_numpy(y), []
    for seed in range(5):
        for rate in (3e-4, 1e-3, 3e-3):
            torch.manual_seed(seed)
            head = nn.Linear(x.shape[1], 10)
            optimiser = torch.optim.Adam(head.parameters(), rate)
            for _ in range(20):
                order = torch.randperm(len(y))
                for first, last in batch_bounds(len(y), 32):
                    chosen = order[first:last]
                    optimiser.zero_grad()
                    nn.functional.cross_entropy(head(rows[chosen]), labels[chosen]).backward()
                    optimiser.step()
                with torch.no_grad():
                    out.append((head(judged).argmax(1).numpy() == test_y).astype(np.float64))
    return np.stack(out)


# -- one run --


def one_run(bench: Bench, seeds: int = 60) -> None:
    """Two ways that differ a little, each run with one seed, with three, with sixty."""
    pool, test = bench.photos("imagewoof160", "train", 50, 96), bench.photos("imagewoof160", "val", 50, 96)
    arms: dict[str, list[float]] = {"ImageNet's normalisation": [], "CIFAR's normalisation": []}
    rows = [
        [features(bench.backbone(), p, how) for p in (pool, test)] for how in (normalised(), NORMALISATIONS["CIFAR's"])
    ]
    for seed in range(seeds):
        (chosen, _), (judged, _) = draw(pool.labels, 20, seed), draw(test.labels, 20, seed)
        for name, (x, test_x) in zip(arms, rows, strict=True):
            train, val = draw(pool.labels[chosen], 15, seed)
            picked = [(x[chosen[part]], pool.labels[chosen[part]]) for part in (train, val)]
            fitted = fit_probe(picked[0], picked[1], 10)
            arms[name].append(float(right(fitted, test_x[judged], test.labels[judged]).mean()))
    compared("Probe, 15 photos per breed train, 5 choose, 20 judge, all drawn by the seed", arms)
    good, bad = (np.array(values) for values in arms.values())
    table("", ("lowest", "highest"), [(n, f"{min(v):.3f}", f"{max(v):.3f}") for n, v in arms.items()])
    triples = [(good[i : i + 3].mean(), bad[i : i + 3].mean()) for i in range(0, seeds, 3)]
    unpaired = float((bad[None] >= good[:, None])[~np.eye(seeds, dtype=bool)].mean())
    print(f"\n  One seed each, the same: the worse is at least as good in {np.mean(bad >= good):.0%} of {seeds}")
    print(f"  One seed each, not the same: in {unpaired:.0%} of {seeds * (seeds - 1)} pairs")
    print(f"  Three seeds each, the same: in {np.mean([b >= g for g, b in triples]):.0%} of {len(triples)}")
