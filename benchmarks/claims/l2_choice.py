"""How should a probe choose its L2 strength? Compares rules over seeds and shots, on cached features.

    python benchmarks/claims/l2_choice.py DATA --weights FILE [--image-size 224] [--seeds 8] [--small]

Prints, per number of shots, the mean test accuracy and log loss of: the lowest val loss; the strength with the most
correct val photos; that with the most correct photos of val and of train, each by a probe that has not seen it (which a
probe takes where val has fewer than 100); and the best in hindsight. With ``--small`` the labelled photos are few, 15 %
of them val, and classes even or uneven (1, 2 or 4 parts in turn), as somebody's first labels are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from probing import Probing, Splits, arguments

from headstart.data.schema import DEFAULT_FRACTION
from headstart.data.stratify import assign
from headstart.training.cross_validation import folds_beside
from headstart.training.linear_probe import Probe, fit_probe

Drawn = Iterator[tuple[int, Splits]]


def few(probing: Probing, per_class: int, uneven: bool) -> Drawn:
    """Labelled photos drawn from train and val together, and test as it is."""
    for seed, (classes, (train, val, test)) in enumerate(probing.draws(None)):
        x, y = (np.concatenate(both) for both in zip(train, val, strict=True))
        rng = np.random.default_rng(seed)
        parts = np.array([1, 2, 4])[(np.arange(classes) + seed) % 3] if uneven else np.full(classes, 2)
        counts = np.maximum(3, np.round(per_class * parts / parts.mean())).astype(int)
        drawn = np.concatenate([rng.permutation(np.flatnonzero(y == c))[: counts[c]] for c in range(classes)])
        shares = [1 - DEFAULT_FRACTION, DEFAULT_FRACTION]
        part = np.array(assign([str(c) for c in y[drawn]], list(range(len(drawn))), shares, seed))
        own, chosen = drawn[part == 0], drawn[part == 1]
        yield classes, ((x[own], y[own]), (x[chosen], y[chosen]), test)


def judged(probe: Probe, test: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """Accuracy and log loss."""
    logits = torch.from_numpy(test[0]) @ probe.weight.T + probe.bias
    labels = torch.from_numpy(test[1]).long()
    return float((logits.argmax(1) == labels).float().mean()), F.cross_entropy(logits, labels).item()


def compare(draws: Drawn) -> tuple[int, dict[str, np.ndarray]]:
    """The photos of val, and the mean figures of each rule."""
    found: dict[str, list[tuple[float, float]]] = {}
    for classes, (train, val, test) in draws:
        by_val = fit_probe(train, val, classes)
        lowest = min(by_val.path, key=lambda step: step.val_loss).l2
        best = max(fit_probe(train, test, classes).path, key=lambda step: step.val_accuracy).l2
        folds = folds_beside(train[1], np.arange(len(train[1])), 0, 0)
        rules = {
            "lowest val loss": fit_probe(train, val, classes, (lowest,)),
            "most val photos": by_val,
            "of val and train": fit_probe(train, val, classes, folds=folds),
            "hindsight": fit_probe(train, val, classes, (best,)),
        }
        for rule, probe in rules.items():
            found.setdefault(rule, []).append(judged(probe, test))
    return len(val[1]), {rule: np.mean(each, axis=0) for rule, each in found.items()}


def settings(probing: Probing, asked: argparse.Namespace) -> Iterator[tuple[str, Drawn]]:
    if asked.small:
        for per_class in (6, 16, 40):
            for uneven in (False, True):
                yield f"{per_class} per class, {'uneven' if uneven else 'even'}", few(probing, per_class, uneven)
    else:
        for shots in (None, 100, 10, 5):
            yield f"{shots or 'all'} per class", probing.draws(shots)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    probing = Probing(asked, {"image_size": asked.image_size})
    for name, draws in settings(probing, asked):
        val, figures = compare(draws)
        words = "   ".join(f"{rule} {accuracy:.4f} ({loss:.3f})" for rule, (accuracy, loss) in figures.items())
        print(f"{name} (val {val}): {words}", flush=True)


if __name__ == "__main__":
    main()
