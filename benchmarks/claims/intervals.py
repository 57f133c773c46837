"""How often the intervals of ``compare`` and ``study`` hold the truth, and how often they call an equal arm better.

    python benchmarks/claims/intervals.py [--runs 1000] [--photos 300,600,3000] [--situations pool,...] [--easy]
    python benchmarks/claims/intervals.py --cifar ASSETS/data/cifar10 [...]

A run draws a data set from a population of points in four classes, some near their class and some far (easy and hard
photos); or of animals and vehicles from CIFAR-10's 60,000 photos (20 principal components of their pixels at 8 x 8). It
trains arms with 20 seeds; the first 3, 5 and 10 seeds are runs with fewer. The truth, the accuracy on new photos of
networks trained on data sets drawn anew, is the mean over 2,000 trainings, each tested on 1,000 new photos. Arms that
share a training set share its flukes, and arms that judge a photo share its difficulty.

    pool         seeds divide one pool into 70 / 15 / 15 %, as headstart does where the data has no splits
    pool-shots   the same, and 10 photos per class of the training part are used
    test-shots   a quarter of the photos is the data's own test set; seeds draw 10 per class from the rest
    test         the same test set; seeds leave out 15 % of the rest as val

Arms: linear discriminants on three views of a photo, each with its own noise in the features, which are equally good
by symmetry, and on half of the features of one view; three networks of random hidden weights, drawn anew with each
seed, also equal. ``--easy``: classes further apart.

Prints, per situation, photos and seeds, over all arms and pairs of arms: the lowest and the highest share of runs in
which the 95 % interval holds the truth, the same for Student's t over seeds, and the share of runs that call any of
three equal arms better (three differences, Holm's correction), the larger of the two kinds of arms.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import stats

from headstart.evaluation.over_seeds import accuracy_over_seeds, difference_over_seeds
from headstart.evaluation.statistics import holm

CLASSES, FEATURES, HIDDEN, SHOTS, SEEDS = 4, 20, 24, 10, (3, 5, 10, 20)
VIEWS, NETS = ("view 1", "view 2", "view 3"), ("net 1", "net 2", "net 3")
ARMS = (*VIEWS, "half", *NETS)
ALONE, PAIRS = ("view 1", "half", "net 1"), (("view 1", "view 2"), ("view 1", "half"), ("view 1", "net 1"), NETS[:2])
VEHICLES = ("airplane", "automobile", "ship", "truck")
SITUATIONS = ("pool", "pool-shots", "test-shots", "test")
TRUTH_RUNS, TRUTH_PHOTOS = 2000, 1000


@dataclass(frozen=True)
class Photos:
    """``labels`` [N], and each photo as three views [3, N, FEATURES] show it."""

    labels: np.ndarray
    views: np.ndarray


Draw = Callable[[int, np.random.Generator], Photos]


def points(apart: float, number: int, rng: np.random.Generator) -> Photos:
    """New photos. How far one is from its class has a long tail, and is the same for all views."""
    centres = apart * np.random.default_rng(11).normal(size=(CLASSES, FEATURES))
    labels = rng.integers(0, CLASSES, number)
    reach = np.sqrt(4 / rng.chisquare(4, number))[:, None]
    true = centres[labels] + reach * rng.normal(size=(number, FEATURES))
    return Photos(labels, true + 0.7 * reach * rng.normal(size=(3, number, FEATURES)))


def cifar(folder: Path) -> Draw:
    """A way to draw photos of animals and of vehicles from CIFAR-10, each at most once in a data set."""
    from PIL import Image

    labels, rows = [], []
    for file in sorted(folder.glob("*/*/*.jpg")) + sorted(folder.glob("*/*/*.png")):
        labels.append(file.parent.name in VEHICLES)
        rows.append(np.asarray(Image.open(file).convert("RGB").resize((8, 8), Image.Resampling.BOX)).ravel())
    pixels = np.array(rows, np.float64)
    pixels -= pixels.mean(0)
    _, directions = np.linalg.eigh(pixels.T @ pixels)
    features = pixels @ directions[:, -FEATURES:]
    features /= features.std(0)

    def draw(number: int, rng: np.random.Generator) -> Photos:
        which = rng.choice(len(features), number, replace=False)
        return Photos(
            np.array(labels)[which].astype(int), features[which] + 0.7 * rng.normal(size=(3, number, FEATURES))
        )

    return draw


def divided(situation: str, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """(training photos, test photos, size of the pool) of a seed."""
    number = len(labels)
    if situation.startswith("pool"):
        order, part = rng.permutation(number), round(0.15 * number)
        test, train, pool = order[:part], order[2 * part :], number
    else:
        part = number // 4
        test, rest, pool = np.arange(part), part + rng.permutation(number - part), number - part
        train = rest[round(0.15 * len(rest)) :]
    if situation.endswith("shots"):
        train = np.concatenate([train[labels[train] == label][:SHOTS] for label in np.unique(labels)])
    return train, test, pool


def judged(photos: Photos, train: np.ndarray, test: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """bool [arms, test photos]: who classified what correctly."""
    found = []
    for arm in ARMS:
        view = photos.views[VIEWS.index(arm) if arm in VIEWS else 0]
        known, asked = view[train], view[test]
        if arm == "half":
            known, asked = known[:, : FEATURES // 2], asked[:, : FEATURES // 2]
        if arm in NETS:
            into, shift = rng.normal(size=(FEATURES, HIDDEN)) / np.sqrt(FEATURES), rng.normal(size=HIDDEN)
            known, asked = np.maximum(known @ into + shift, 0), np.maximum(asked @ into + shift, 0)
        found.append(discriminated(known, photos.labels[train], asked) == photos.labels[test])
    return np.stack(found)


def discriminated(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The labels that a linear discriminant fitted to ``known`` gives ``asked``; its covariance is shrunk a little."""
    classes, labels = np.unique(labels, return_inverse=True)
    means = np.stack([known[labels == label].mean(0) for label in range(len(classes))])
    within = known - means[labels]
    spread = within.T @ within / len(known)
    spread += (0.1 * np.trace(spread) / len(spread)) * np.eye(len(spread))
    slopes = np.linalg.solve(spread, means.T)
    return classes[(asked @ slopes - 0.5 * (means.T * slopes).sum(0)).argmax(1)]


def truths(situation: str, number: int, draw: Draw) -> dict[str, float]:
    """The expected accuracy of each arm; equal arms are given their mean."""
    rng, found = np.random.default_rng(1), []
    for _ in range(TRUTH_RUNS):
        photos, new = draw(number, rng), draw(TRUTH_PHOTOS, rng)
        train, _, _ = divided(situation, photos.labels, rng)
        both = Photos(np.append(photos.labels[train], new.labels), np.hstack([photos.views[:, train], new.views]))
        found.append(judged(both, np.arange(len(train)), len(train) + np.arange(TRUTH_PHOTOS), rng).mean(1))
    mean = dict(zip(ARMS, np.mean(found, 0), strict=True))
    alike = {arm: np.mean([mean[each] for each in kind]) for kind in (VIEWS, NETS) for arm in kind}
    return {arm: float(alike.get(arm, mean[arm])) for arm in ARMS}


Held = dict[tuple[str, int], list[bool]]


def one_run(situation: str, photos: Photos, truth: dict[str, float], rng: np.random.Generator, held: Held) -> None:
    """Add to ``held``, per number of seeds, whether each interval holds its truth and each family has a false claim."""
    tested, right = [], []
    for _ in range(max(SEEDS)):
        train, test, pool = divided(situation, photos.labels, rng)
        tested.append(test)
        right.append(dict(zip(ARMS, judged(photos, train, test, rng), strict=True)))
    for seeds in SEEDS:
        ids = tested[:seeds]
        flags = {arm: [each[arm] for each in right[:seeds]] for arm in ARMS}

        def note(what: str, value: bool, seeds: int = seeds) -> None:
            held.setdefault((what, seeds), []).append(value)

        for arm in ALONE:
            found = accuracy_over_seeds(ids, flags[arm], pool)
            note(f"arm {arm}", found.low <= truth[arm] <= found.high)
            note(f"t {arm}", t_holds([each.mean() for each in flags[arm]], truth[arm]))
        for a, b in PAIRS:
            gap = difference_over_seeds(ids, flags[a], flags[b], pool)
            note(f"difference {a} {b}", gap.low <= truth[a] - truth[b] <= gap.high)
            values = [x.mean() - y.mean() for x, y in zip(flags[a], flags[b], strict=True)]
            note(f"t {a} {b}", t_holds(values, truth[a] - truth[b]))
        for kind in (VIEWS, NETS):
            p = [difference_over_seeds(ids, flags[a], flags[b], pool).p_value for a, b in combinations(kind, 2)]
            note(f"false {kind[0]}", min(holm([1.0 if each is None else each for each in p])) < 0.05)


def t_holds(values: list[float], truth: float) -> bool:
    """Whether Student's t interval over seeds holds the truth."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return bool(abs(np.mean(values) - truth) <= half)


def lines(situation: str, number: int, runs: int, draw: Draw) -> Iterator[str]:
    """The lines of the table for one situation and number of photos."""
    truth, held, rng = truths(situation, number, draw), Held(), np.random.default_rng(2)
    for _ in range(runs):
        one_run(situation, draw(number, rng), truth, rng, held)
    for seeds in SEEDS:
        shares = {what: float(np.mean(values)) for (what, n), values in held.items() if n == seeds}
        cells = []
        for kind in ("arm ", "difference ", "t "):
            of = [share for what, share in shares.items() if what.startswith(kind)]
            cells.append(f"{min(of):.3f} to {max(of):.3f}")
        wrong = max(share for what, share in shares.items() if what.startswith("false "))
        yield f"{situation:12}{number:>7,}{seeds:>7}{cells[0]:>18}{cells[1]:>18}{cells[2]:>18}{wrong:>15.3f}"
    told = ", ".join(f"{arm} {truth[arm]:.3f}" for arm in ALONE)
    yield f"{'':12}(expected accuracies: {told})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--photos", default="300,600,3000")
    parser.add_argument("--situations", default=",".join(SITUATIONS))
    parser.add_argument("--easy", action="store_true", help="classes further apart: accuracies near 1")
    parser.add_argument("--cifar", type=Path, help="a folder of CIFAR-10: real photos in place of points")
    asked = parser.parse_args()
    draw = cifar(asked.cifar) if asked.cifar else partial(points, 2.0 if asked.easy else 1.0)
    head = f"{'situation':12}{'photos':>7}{'seeds':>7}{'one arm':>18}{'differences':>18}{'Student t':>18}"
    print(f"{head}{'false better':>15}", flush=True)
    for situation in asked.situations.split(","):
        for number in map(int, asked.photos.split(",")):
            for line in lines(situation, number, asked.runs, draw):
                print(line, flush=True)


if __name__ == "__main__":
    main()
