"""The accuracy of probes of growing numbers of photos: a repeat holds a fifth of the photos out and fits probes to
nested subsets of the rest; five repeats hold every photo out once. So all sizes are tested on the same photos, and no
photo is tested on a probe that was fitted to it, to a duplicate of it or to its group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.events import OnProgress
from headstart.data.schema import DEFAULT_FRACTION
from headstart.data.stratify import assign
from headstart.training.cross_validation import folds_beside
from headstart.training.linear_probe import fit_probe
from headstart.training.strengths import L2_GRID, USUAL_L2

FOLDS = 5
ROUNDS = 2
"""How often every photo is held out, each time with other photos to learn from."""
MANY = 6000
"""Photos from which one round is enough: the uncertainty then comes from their number, not from the draw."""
MOST_SIZES = 6
REACH = 16.0
"""The largest size over the smallest: far smaller ones follow another law."""
STRENGTHS = L2_GRID[2::2]
"""Strengths tried, in decades from 0.01: a quarter of the time of a probe's whole grid, and the same accuracy within
its noise (benchmarks/claims/forecast.py measures with the whole grid)."""


@dataclass(frozen=True)
class Measured:
    """``sizes`` [S]: photos learned from, val among them, growing; ``correct`` [R, S, N]: 1 or 0 where repeat R held
    photo N out and classified it correctly or not at that size, else NaN; ``unit`` [N]: equal for photos that belong
    together.
    """

    sizes: np.ndarray
    correct: np.ndarray
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
    the photos; fewer where neighbours would differ by less than a fifth.
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

    def parts(members: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
        return np.array(assign([names[i] for i in members], [unit[i] for i in members], shares, seed))

    sizes, folds = np.array(sizes_for(labels)), folds_for(labels)
    for r in range(rounds):
        fold = np.array(assign(names, unit, [1 / folds] * folds, seed + 7919 * r))
        for f in range(folds):
            held_out, rest = np.flatnonzero(fold == f), np.flatnonzero(fold != f)
            draw = seed + 7919 * r + 101 * (f + 1)
            part = parts(rest, np.diff(np.minimum(sizes, len(rest)), prepend=0).tolist(), draw)
            for s in range(len(sizes)):
                chosen = rest[part <= s]
                val = parts(chosen, [1 - DEFAULT_FRACTION, DEFAULT_FRACTION], draw) == 1
                yield Subset(r * folds + f, s, chosen[~val], chosen[val], held_out)


def measure(
    features: np.ndarray, labels: np.ndarray, unit: Sequence[int], seed: int, progress: OnProgress = lambda *_: None
) -> Measured:
    """Fit a probe, its L2 chosen on val, for every subset, and test it on the photos held out. ``features``: [N, D]
    float32; ``labels``: [N]; ``unit``: [N], equal for photos that must stay together.
    """
    rounds = 1 if len(labels) >= MANY else ROUNDS
    sizes, repeats = sizes_for(labels), rounds * folds_for(labels)
    correct = np.full((repeats, len(sizes), len(labels)), np.nan, np.float32)
    held = np.zeros((repeats, len(sizes)))
    for done, subset in enumerate(subsets(labels, unit, seed, rounds), 1):
        found = correct_of(features, labels, subset.train, subset.val, subset.held_out, unit=unit)
        correct[subset.repeat, subset.size, subset.held_out] = found
        held[subset.repeat, subset.size] = len(subset.train) + len(subset.val)
        progress(done, held.size)
    return Measured(held.mean(0), correct, np.asarray(unit))


def correct_of(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, val: np.ndarray, held_out: np.ndarray,
    strengths: Sequence[float] = STRENGTHS, unit: Sequence[int] | None = None,
) -> np.ndarray:  # fmt: skip
    """Whether a probe of ``train`` and ``val`` classifies each photo of ``held_out`` [J] correctly: bool [J]. ``unit``
    as of ``measure``; without it each photo is one.
    """
    classes = int(labels.max()) + 1
    if not len(val):  # one photo per class leaves nothing to choose by
        val, strengths = train, (USUAL_L2,)
    units = np.arange(len(labels)) if unit is None else np.asarray(unit)
    folds = folds_beside(labels[train], units[train], len(val), 0) if len(strengths) > 1 else None
    probe = fit_probe((features[train], labels[train]), (features[val], labels[val]), classes, strengths, folds=folds)
    logits = features[held_out] @ probe.weight.numpy().T + probe.bias.numpy()
    return np.asarray(logits.argmax(1) == labels[held_out])
