"""The accuracy of probes of growing numbers of photos.

A repeat holds a fifth of the photos out and fits probes to growing subsets of the rest, each containing the one before;
five repeats hold every photo out once. So the sizes are compared on the same photos, and no photo is tested on a probe
that was fitted to it, to a duplicate of it or to its group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.data.schema import DEFAULT_FRACTION
from headstart.data.stratify import assign
from headstart.training.linear_probe import L2_GRID, USUAL_L2, fit_probe

FOLDS = 5
ROUNDS = 2
"""How often every photo is held out, each time with other photos to learn from."""
MANY = 6000
"""Photos from which one round is enough: their own number, not the draw, then limits what can be known."""
MOST_SIZES = 6
REACH = 16.0
"""The largest size over the smallest: far smaller ones follow another law, and say little of what comes."""
FEWEST = 4
"""Photos per class below which nothing is forecast."""
STRENGTHS = L2_GRID[2::2]
"""Strengths tried, in decades from 0.01: a quarter of the time of a probe's whole grid, and the same accuracy within
its noise (benchmarks/claims/forecast.py measures with the whole grid)."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Measured:
    """``sizes`` [S]: photos learned from, val among them, growing; ``right`` [R, S, N]: 1 or 0 where repeat R held
    photo N out and was right or wrong about it at that size, NaN where it did not; ``unit`` [N]: photos that belong
    together.
    """

    sizes: np.ndarray
    right: np.ndarray
    unit: np.ndarray


@dataclass(frozen=True)
class Subset:
    """One probe to fit: indices of photos to ``train`` on, to validate on and to test it on (``held_out``)."""

    repeat: int
    size: int
    train: np.ndarray
    val: np.ndarray
    held_out: np.ndarray


def sizes_for(labels: np.ndarray) -> list[int]:
    """The sizes to measure at: log-spaced from two photos per class, or a sixteenth of the largest, to four fifths of
    the photos; fewer where they would lie closer than a fifth of each other.
    """
    photos, classes = len(labels), len(np.unique(labels))
    folds = folds_for(labels)
    largest = photos * (folds - 1) // folds
    smallest = min(largest, max(2 * classes, round(largest / REACH)))
    steps = int(np.log(largest / smallest) / np.log(1.2)) if largest > smallest else 0
    return sorted({round(n) for n in np.geomspace(smallest, largest, min(MOST_SIZES, steps + 1))} | {largest})


def folds_for(labels: np.ndarray) -> int:
    """As many parts as every class has photos for, at most ``FOLDS``."""
    return int(min(FOLDS, np.bincount(labels)[np.unique(labels)].min()))


def subsets(labels: np.ndarray, unit: Sequence[int], seed: int, rounds: int) -> Iterator[Subset]:
    """Every probe to fit, repeat after repeat; drawn from ``seed``, stratified, units whole."""
    names = [str(label) for label in labels]
    sizes, folds = np.array(sizes_for(labels)), folds_for(labels)
    for r in range(rounds):
        fold = np.array(assign(names, unit, [1 / folds] * folds, seed + 7919 * r))
        for f in range(folds):
            held_out, rest = np.flatnonzero(fold == f), np.flatnonzero(fold != f)
            draw = seed + 7919 * r + 101 * (f + 1)
            part = _parts(names, unit, rest, np.diff(np.minimum(sizes, len(rest)), prepend=0).tolist(), draw)
            for s in range(len(sizes)):
                chosen = rest[part <= s]
                val = _parts(names, unit, chosen, [1 - DEFAULT_FRACTION, DEFAULT_FRACTION], draw) == 1
                yield Subset(r * folds + f, s, chosen[~val], chosen[val], held_out)


def _parts(
    names: Sequence[str], unit: Sequence[int], members: np.ndarray, shares: Sequence[float], seed: int
) -> np.ndarray:
    return np.array(assign([names[i] for i in members], [unit[i] for i in members], shares, seed))


def measure(
    features: np.ndarray, labels: np.ndarray, unit: Sequence[int], seed: int, progress: Progress = lambda *_: None
) -> Measured:
    """Fit a probe, its L2 chosen on val, for every subset, and test it on the photos held out.

    Args:
        features: [N, D] float32. labels: [N]. unit: [N], equal for photos that must not be parted.
    """
    rounds = 1 if len(labels) >= MANY else ROUNDS
    sizes, repeats = sizes_for(labels), rounds * folds_for(labels)
    right = np.full((repeats, len(sizes), len(labels)), np.nan, np.float32)
    held = np.zeros((repeats, len(sizes)))
    for done, subset in enumerate(subsets(labels, unit, seed, rounds), 1):
        found = right_answers(features, labels, subset.train, subset.val, subset.held_out)
        right[subset.repeat, subset.size, subset.held_out] = found
        held[subset.repeat, subset.size] = len(subset.train) + len(subset.val)
        progress(done, held.size)
    return Measured(held.mean(0), right, np.asarray(unit))


def right_answers(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, val: np.ndarray, judged: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
) -> np.ndarray:  # fmt: skip
    """Whether a probe of ``train`` and ``val`` classifies each photo of ``judged`` [J] correctly, bool; all indices."""
    classes = int(labels.max()) + 1
    if not len(val):  # one photo per class leaves nothing to choose by
        val, strengths = train, (USUAL_L2,)
    probe = fit_probe((features[train], labels[train]), (features[val], labels[val]), classes, strengths)
    answers = features[judged] @ probe.weight.numpy().T + probe.bias.numpy()
    return np.asarray(answers.argmax(1) == labels[judged])


def few(labels: np.ndarray) -> dict[int, int]:
    """Classes with fewer than ``FEWEST`` photos, and how many they have."""
    return {label: n for label, n in sorted(Counter(labels.tolist()).items()) if n < FEWEST}
