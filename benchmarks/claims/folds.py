"""How often the intervals of ``train --folds`` hold the truth. Out: Markdown for docs/explanation/statistics.md.

    python benchmarks/claims/folds.py [--runs 500] [--photos 300] [--folds 5,10] [--settings easy,...] [--check]
    python benchmarks/claims/folds.py --animals ASSETS      # on real photos: folds of 300, judged on 900 others

A run draws points of two Gaussian classes, divides them into folds as ``headstart train --folds`` does (stratified,
15 % of the points outside a fold left out as val), and fits logistic regression for each fold, at headstart's usual
strength of L2: choices on val are mostly that, and what they add is left out here. So the folds of many runs are fitted
at once (by Boehning's bound of the Hessian), and the accuracy of a model on new points is known exactly, from a
distribution function. The interval of the out-of-fold accuracy is compared with

    expected   the expected accuracy of such models: the mean over all runs (``plain``: for an interval of verdicts
               that are taken as independent)
    these      the mean of the accuracies of the K models of this run

Settings differ in features and in how far the classes are apart; ``wide`` has more features than points to train on;
``tails``: the distance of a point to its class has a long tail (easy and hard photos); ``uneven``: one class has nine
times the points of the other, they weigh the same in the loss, and the figure is balanced accuracy.

Prints, in percent, the expected accuracy; the shares of runs in which the 95 % interval holds each truth; the variance
of the out-of-fold accuracy about the expected one, as a part of the binomial variance; by how many points the averaged
classifier is better than the K models; and the share of runs in which it is worse than the whole interval. ``--check``
compares the solver with headstart's probe instead.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from headstart.data.folds import draw_folds
from headstart.evaluation.statistics import OUT_OF_FOLD, balanced_accuracy, wilson
from headstart.training.strengths import USUAL_L2, USUAL_L2_BALANCED

VAL, TOGETHER, STEPS = 0.15, 50, 200


@dataclass(frozen=True)
class Setting:
    """``apart``: of the classes' means; ``first``: the share of the first class; ``tails``: the degrees of freedom of
    Student's t along every axis, 0 for none.
    """

    features: int
    apart: float
    first: float = 0.5
    tails: int = 0


SETTINGS = {
    "easy": Setting(20, 3.4),
    "hard": Setting(20, 1.3),
    "many": Setting(100, 2.0),
    "wide": Setting(250, 2.6),
    "tails": Setting(100, 4.5, tails=4),
    "uneven": Setting(100, 3.5, first=0.9),
}
Heads = tuple[np.ndarray, np.ndarray]  # weights [R, K, D] and biases [R, K] of R runs


def draw(setting: Setting, runs: int, photos: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points [R, N, D] and their classes [N], the same in all runs."""
    labels = (np.arange(photos) >= round(setting.first * photos)).astype(int)
    noise = rng.normal(size=(runs, photos, setting.features))
    if setting.tails:
        noise *= np.sqrt(setting.tails / rng.chisquare(setting.tails, (runs, photos)))[:, :, None]
    noise[:, :, 0] += setting.apart * (labels - 0.5)
    return noise, labels


def fit(x: np.ndarray, y: np.ndarray, balanced: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights [B, D] and biases [B] of B logistic regressions on points [B, n, D] with classes [B, n], standardised."""
    mean, deviation = x.mean(1, keepdims=True), x.std(1, keepdims=True)
    z = np.concatenate([(x - mean) / deviation, np.ones((*x.shape[:2], 1))], 2)
    share = y.mean(1, keepdims=True)
    each = np.where(y == 1, 0.5 / share, 0.5 / (1 - share)) if balanced else np.ones(y.shape)
    n, dim = z.shape[1:]
    # With two classes the softmax has two rows of weights, one the other's negative, that share the penalty.
    l2 = (USUAL_L2_BALANCED if balanced else USUAL_L2) / 2 * np.r_[np.ones(dim - 1), 0]
    bound = np.linalg.inv((z * each[:, :, None]).transpose(0, 2, 1) @ z / (4 * n) + np.diag(l2 + 1e-9))
    w = np.zeros((len(x), dim, 1))
    for _ in range(STEPS):
        error = each * (1 / (1 + np.exp(-(z @ w)[:, :, 0])) - y)
        gradient = z.transpose(0, 2, 1) @ error[:, :, None] / n + l2[:, None] * w
        if np.abs(gradient).max() < 1e-4:
            break
        w -= bound @ gradient
    weight = w[:, :-1, 0] / deviation[:, 0]
    return weight, w[:, -1, 0] - (weight * mean[:, 0]).sum(1)


def truth(setting: Setting, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The accuracy on new points of heads [..., D]; balanced accuracy where classes are uneven."""
    normal = stats.t(setting.tails) if setting.tails else stats.norm
    length, half = np.linalg.norm(weight, axis=-1), setting.apart / 2 * weight[..., 0]
    right = normal.cdf((half - bias) / length), normal.cdf((half + bias) / length)
    first = 0.5 if uneven(setting) else setting.first
    return np.asarray(first * right[0] + (1 - first) * right[1])


def uneven(setting: Setting) -> bool:
    return setting.first != 0.5


def simulate(setting: Setting, photos: int, folds: int, runs: int) -> Iterator[dict[str, np.ndarray]]:
    """The figures of some runs at a time; of each K models."""
    for first in range(0, runs, TOGETHER):
        x, y = draw(setting, TOGETHER, photos, np.random.default_rng(first))
        # Points of a class are alike until they are drawn: every run can have the same folds.
        parts = draw_folds(list(map(str, y)), list(range(photos)), folds, VAL, 0)
        correct, weights, biases = np.zeros((TOGETHER, photos), bool), [], []
        for train, _, out in parts:
            chosen, held_out = list(train), list(out)
            weight, bias = fit(x[:, chosen], np.broadcast_to(y[chosen], (TOGETHER, len(chosen))), uneven(setting))
            correct[:, held_out] = ((x[:, held_out] @ weight[:, :, None])[:, :, 0] + bias[:, None] > 0) == y[held_out]
            weights.append(weight)
            biases.append(bias)
        heads = np.stack(weights, 1), np.stack(biases, 1)
        intervals = [(*interval(setting, row, y, OUT_OF_FOLD), *interval(setting, row, y, 1)) for row in correct]
        names = ("value", "low", "high", "", "plain low", "plain high")
        yield {
            **{name: np.array([one[i] for one in intervals]) for i, name in enumerate(names) if name},
            "these": truth(setting, *heads).mean(1),
            "average": truth(setting, heads[0].mean(1), heads[1].mean(1)),
        }


def interval(setting: Setting, correct: np.ndarray, labels: np.ndarray, inflation: float) -> tuple[float, float, float]:
    """What metrics.json holds for verdicts [N]."""
    found = wilson(int(correct.sum()), len(correct), inflation=inflation)
    if uneven(setting):
        found = balanced_accuracy(np.bincount(labels, correct), np.bincount(labels), inflation=inflation)
    return found.value, found.low, found.high


def line(name: str, photos: int, folds: int, of: dict[str, np.ndarray]) -> str:
    """A row of the table."""
    expected = of["these"].mean()
    holds = [
        ((of[f"{which}low"] <= truth) & (truth <= of[f"{which}high"])).mean()
        for which, truth in (("plain ", expected), ("", expected), ("", of["these"]))
    ]
    variance = np.square(of["value"] - expected).mean() / (expected * (1 - expected) / photos)
    gain, below = (of["average"] - of["these"]).mean(), (of["average"] < of["low"]).mean()
    shares = [f"{100 * share:.1f}" for share in (expected, *holds)]
    ratio = "–" if uneven(SETTINGS[name]) else f"{variance:.2f}"
    return (
        f"| {' | '.join(map(str, (name, photos, folds, *shares, ratio, f'{100 * gain:+.1f}', f'{100 * below:.1f}')))} |"
    )


def check() -> None:
    """Logits of both solvers, of one training each."""
    from headstart.training.linear_probe import fit_probe

    for name, setting in SETTINGS.items():
        (x,), y = draw(setting, 1, 200, np.random.default_rng(0))
        weight, bias = fit(x[None], y[None], uneven(setting))
        l2 = USUAL_L2_BALANCED if uneven(setting) else USUAL_L2
        rows = x.astype(np.float32), y
        probe = fit_probe(rows, rows, 2, (l2,), balanced=uneven(setting))
        other = probe.temperature * (x @ np.diff(probe.weight.double().numpy(), axis=0)[0] + float(probe.bias.diff()))
        print(f"{name}: logits to {np.abs(other).max():.2f}, apart by {np.abs(x @ weight[0] + bias - other).max():.5f}")


def animals(assets: Path) -> None:
    """The figures of five folds of 300 photos, and those of their average on 900 others, with its prediction sets."""
    import headstart as hs

    rows: list[tuple[Path, str, str]] = []
    for folder in sorted((assets / "data/animals").iterdir()):
        files = sorted(folder.iterdir())
        random.Random(folder.name).shuffle(files)
        rows += [(file, folder.name, "train" if i < 100 else "") for i, file in enumerate(files[:400])]
    others = [(file, label) for file, label, split in rows if not split]
    with tempfile.TemporaryDirectory() as out:
        chosen = [(str(file), label) for file, label, split in rows if split]
        run = hs.train(
            tuple(zip(*chosen, strict=True)), out=Path(out) / "run", folds=5, image_size=96, backbone="resnet18",
            weights=assets / "weights/resnet18.fp16.safetensors", quiet=True,
        )  # fmt: skip
        found = run.metrics["folds"]["accuracy"]
        print(f"out of fold {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}) of {len(chosen)} photos")
        for coverage in (0.9, 0.95):
            judged = list(zip(run.predict([file for file, _ in others], coverage=coverage), others, strict=True))
            right = np.mean([one.label == label for one, (_, label) in judged])
            held = np.mean([label in (one.labels or ()) for one, (_, label) in judged])
            print(f"on {len(others)} others {right:.3f}; sets of {coverage:g} hold the class of {held:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--photos", default="300")
    parser.add_argument("--folds", default="5,10")
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--animals", type=Path, metavar="ASSETS")
    asked = parser.parse_args()
    if asked.animals:
        return animals(asked.animals)
    if asked.check:
        return check()
    columns = ("setting", "photos", "folds", "accuracy", "plain", "expected", "these", "variance", "gain", "below")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    for name in asked.settings.split(","):
        for photos in map(int, asked.photos.split(",")):
            for folds in map(int, asked.folds.split(",")):
                parts = list(simulate(SETTINGS[name], photos, folds, asked.runs))
                joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
                print(line(name, photos, folds, joined), flush=True)


if __name__ == "__main__":
    main()
