"""Which labels are wrong: the rule of ``headstart check`` beside cleanlab's and simple ones. Out: Markdown.

    python benchmarks/claims/label_errors.py YARDSTICKS [--assets ASSETS] [--write scores.npz]

YARDSTICKS: a folder of ``label-errors-*.npz`` (``pred_probs`` [N, C] out of sample, ``given`` and ``true`` labels), as
published with cleanlab/label-error-detection-benchmarks. Rules: precision / recall / F1 of what is flagged. Scores:
average precision of the ranking. Powers: F1 by the power of the probabilities, a constant of the rule. The rows of
cleanlab need ``pip install cleanlab``. --assets: also planted noise in photos on which no constant was chosen, judged
by probes of a ResNet-18. --write: the score of each photo, so that others can score it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from headstart.core.events import Events
from headstart.evaluation.label_errors import posterior
from headstart.training.config import TrainOptions
from headstart.training.embeddings import embed_dataset
from headstart.workflows.check.labels import WRONG, find_label_issues, judge

FILTERS = (
    "prune_by_class", "prune_by_noise_rate", "both", "confident_learning", "predicted_neq_given",
    "low_normalized_margin", "low_self_confidence",
)  # fmt: skip
SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
HALF = "resnet18"
"""Half of the files, by their names' end: a power chosen on either half is verified on the other."""
POWERS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
UNSEEN = ("imagewoof160", "dogs-vs-cats/train")
"""No constant was chosen on these; it was on animals, trashnet, CIFAR-10 and CIFAR-100."""
NOISE = (0.0, 0.05, 0.2, 0.4)
Table = dict[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("yardsticks", type=Path)
    parser.add_argument("--assets", type=Path)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    if not importlib.util.find_spec("cleanlab"):
        print("cleanlab is not installed: its rows are left out (pip install cleanlab).\n")
    flags, ranks, kept = published(asked.yardsticks)
    print("Precision / recall / F1 of the labels that are called wrong:\n")
    report(flags)
    print("\nAverage precision of the ranking:\n")
    report(ranks)
    print("\nF1 by the power of the probabilities:\n")
    report(powers(asked.yardsticks))
    if asked.write:
        np.savez_compressed(asked.write, **kept)
        print(f"\nwrote {asked.write}: {asked.write.stat().st_size / 1000:.0f} kB, the probability x 255 of each photo")
    if asked.assets:
        planted(asked.assets)


def published(folder: Path) -> tuple[dict[str, Table], dict[str, Table], dict[str, np.ndarray]]:
    """What each rule and each score reaches on each file, and the scores of ours."""
    flags: dict[str, Table] = {}
    ranks: dict[str, Table] = {}
    kept = {}
    for name, probabilities, given, bad in files(folder):
        for rule, flagged in rules(probabilities, given):
            flags.setdefault(rule, {})[name] = scored(bad, flagged)
        for score, wrong in scores(probabilities, given):
            ranks.setdefault(score, {})[name] = np.array([average_precision_score(bad, wrong)])
        kept[name] = np.rint(255 * judge(probabilities, given)[0]).astype(np.uint8)
    return flags, ranks, kept


def files(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Name, probabilities, given labels, and which of these are wrong."""
    for path in sorted(folder.glob("label-errors-*.npz")):
        with np.load(path) as data:
            given = data["given"].astype(np.int64)
            yield path.stem.removeprefix("label-errors-"), data["pred_probs"], given, given != data["true"]


def powers(folder: Path) -> dict[str, Table]:
    found: dict[str, Table] = {f"{power:g}": {} for power in POWERS}
    for name, probabilities, given, bad in files(folder):
        for power in POWERS:
            own = posterior(probabilities, given, power)[np.arange(len(given)), given]
            found[f"{power:g}"][name] = scored(bad, 1 - own > WRONG)[2:]
    return found


def scored(bad: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    return np.array(precision_recall_fscore_support(bad, flagged, average="binary", zero_division=0)[:3])


def rules(probabilities: np.ndarray, given: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield "**headstart check**", judge(probabilities, given)[0] > WRONG
    yield "headstart before: confident learning, p(label) < 0.2", earlier(probabilities, given)
    if importlib.util.find_spec("cleanlab"):
        from cleanlab.filter import find_label_issues as filtered

        share = probabilities / probabilities.sum(1, keepdims=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in FILTERS:
                yield f"cleanlab {name}", filtered(given, share, filter_by=name, n_jobs=1)


def scores(probabilities: np.ndarray, given: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield "**headstart check**", judge(probabilities, given)[0]
    yield "1 − p(label)", 1 - probabilities[np.arange(len(given)), given]
    if importlib.util.find_spec("cleanlab"):
        from cleanlab.rank import get_label_quality_scores as quality

        share = probabilities / probabilities.sum(1, keepdims=True)
        for name in SCORES:
            for adjusted in (False, True)[: 1 if "entropy" in name else 2]:  # cleanlab adjusts no entropies
                words = f"cleanlab {name}{', adjusted' * adjusted}"
                yield words, -quality(given, share, method=name, adjust_pred_probs=adjusted)


def earlier(probabilities: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The rule before docs/decisions/0044."""
    usual = np.array([probabilities[given == c, c].mean() for c in range(probabilities.shape[1])])
    sure = np.where(probabilities >= usual, probabilities, -1.0)
    own = probabilities[np.arange(len(given)), given]
    return np.asarray((sure.max(1) > 0) & (sure.argmax(1) != given) & (own < 0.2))


def report(table: dict[str, Table]) -> None:
    names = list(next(iter(table.values())))
    half = [n for n in names if n.endswith(HALF)]
    rest = [n for n in names if n not in half]
    print(f"| | {' | '.join(names)} | mean | mean of {HALF} | mean of the others |\n|---|{'---|' * (len(names) + 3)}")
    for rule, found in table.items():
        cells = [" / ".join(f"{value:.3f}".lstrip("0") for value in found[n]) for n in names]
        means = [np.mean([found[n][-1] for n in some]) for some in (names, half, rest)]
        print(f"| {rule} | {' | '.join(cells)} | {' | '.join(f'{m:.4f}'.lstrip('0') for m in means)} |", flush=True)


# -- planted noise --


def planted(assets: Path) -> None:
    weights = assets / "weights/resnet18.fp16.safetensors"
    compared: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "check": lambda p, y: judge(p, y)[0] > WRONG,
        "before": earlier,
        "answer ≠ label": lambda p, y: p.argmax(1) != y,
    }
    print("\nPlanted noise; clean: the share of photos called wrong, else F1. " + ", ".join(compared) + ":\n")
    print(f"| photos | {' | '.join('clean' if n == 0 else f'{n:.0%}' for n in NOISE)} |\n|---|{'---|' * len(NOISE)}")
    for name in UNSEEN:
        options = TrainOptions(str(assets / "data" / name), weights=str(weights))
        seen = embed_dataset(options, Events())
        for count in (100, 400, len(seen.labels)):
            if count >= 10 * len(np.unique(seen.labels)):
                cells = [_cell(seen.features, seen.labels, count, noise, list(compared.values())) for noise in NOISE]
                print(f"| {name}, {count:,} | {' | '.join(cells)} |", flush=True)


def _cell(
    features: np.ndarray, labels: np.ndarray, count: int, noise: float, compared: list[Callable[..., np.ndarray]]
) -> str:
    found, classes = [], len(np.unique(labels))
    for seed in range(5 if count <= 400 else 1):
        draw = np.random.default_rng(seed)
        chosen = np.sort(draw.permutation(len(labels))[:count])
        true = labels[chosen]
        hit = draw.permutation(count)[: round(noise * count)]
        given = true.copy()
        given[hit] = (true[hit] + draw.integers(1, classes, len(hit))) % classes
        issues = find_label_issues(features[chosen], given, classes, list(range(count)))
        flagged = [rule(issues.probabilities, given) for rule in compared]
        found.append([f.mean() if noise == 0 else scored(given != true, f)[2] for f in flagged])
    return ", ".join(f"{value:.3f}".lstrip("0") for value in np.mean(found, axis=0))


if __name__ == "__main__":
    main()
