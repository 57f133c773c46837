"""What weights in the loss, or a sampler, bring where classes are uneven: 200 training photos of some classes, 20 of
the others.

    python benchmarks/claims/imbalance.py ASSETS [--seeds 5] [--first 0] [--sets animals,...] [--strategies probe,...]

ASSETS as CONTRIBUTING.md describes it. Each seed draws other photos and makes other classes the large ones; the test
photos are even, so balanced accuracy and accuracy are the same there. Prints, per set and strategy, for each way: the
mean balanced accuracy on test with its standard deviation over the seeds, the recall of the small classes, the mean
gain over ``none`` (paired by seed, with its 95 % t interval), and the calibration error on test photos of which the
small classes have as few as in training.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import stats

import headstart as hs
from headstart.evaluation.metrics import calibration

SETS = {"animals": "data/animals", "dogs-vs-cats": "data/dogs-vs-cats/train", "trashnet": "data/trashnet",
        "imagewoof": "data/imagewoof160/train"}  # fmt: skip
PATTERN = (200, 20, 20)
TEST = 100
WAYS = ("none", "weights", "sampler", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed; 0 to 5 were used to choose the rule")
    parser.add_argument("--sets", default="animals,dogs-vs-cats,trashnet,imagewoof")
    parser.add_argument("--strategies", default="probe")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--epochs", type=int)
    asked = parser.parse_args()
    ways = asked.ways.split(",")
    with tempfile.TemporaryDirectory() as out:
        for name in asked.sets.split(","):
            seeds = range(asked.first, asked.first + asked.seeds)
            drawn = [draw(asked.assets / SETS[name], Path(out) / f"{name}-{seed}", seed) for seed in seeds]
            for strategy in asked.strategies.split(","):
                table(name, strategy, ways, list(measured(asked, drawn, strategy, ways, Path(out))))


def draw(source: Path, to: Path, seed: int) -> tuple[Path, list[str]]:
    """A folder of links with the splits train and test, and the large classes; two classes have one large."""
    classes = sorted(entry.name for entry in source.iterdir() if entry.is_dir())
    rng = np.random.default_rng(seed)
    large = []
    for number, label in enumerate(classes):
        photos = rng.permutation(sorted(os.listdir(source / label)))
        size = PATTERN[(number + seed) % min(len(PATTERN), len(classes))]
        kept = min(TEST, len(photos) - 40)
        if size == PATTERN[0]:
            large.append(label)
        for split, chosen in (("test", photos[:kept]), ("train", photos[kept : kept + size])):
            (to / split / label).mkdir(parents=True)
            for photo in chosen:
                (to / split / label / photo).symlink_to(source / label / photo)
    return to, large


Row = tuple[dict[str, float], dict[str, float], dict[str, float], dict[str, str]]


def measured(
    asked: argparse.Namespace, drawn: list[tuple[Path, list[str]]], strategy: str, ways: list[str], out: Path
) -> Iterator[Row]:
    """For each seed: way → balanced accuracy, recall of the small classes, calibration error, and what was done."""
    plain = {"image_size": asked.image_size, "epochs": asked.epochs}
    weights = None if strategy == "scratch" else asked.assets / "weights/resnet18.fp16.safetensors"
    for seed, (data, large) in enumerate(drawn):
        rows: Row = ({}, {}, {}, {})
        for way in ways:
            run = hs.train(
                data, out=out / "run", overwrite=True, quiet=True, strategy=strategy, weights=weights, seed=seed,
                balance=way, backbone="resnet18", **{k: v for k, v in plain.items() if v},
            )  # fmt: skip
            found = run.metrics["test"]
            small = [row["recall"] for row in found["report"]["classes"] if row["label"] not in large]
            rows[0][way], rows[1][way] = found["balanced_accuracy"]["value"], float(np.mean(small))
            rows[2][way], rows[3][way] = uneven_calibration(run, large), run.plan.balance
            print(f"seed {seed}, {way}: {rows[0][way]:.3f}", file=sys.stderr, flush=True)
        yield rows


def uneven_calibration(run: hs.Run, large: list[str]) -> float:
    """The calibration error on the test photos of the large classes and a tenth of those of the small ones."""
    table = run.predictions()
    table = table[table["split"] == "test"]
    nth = table.groupby("label").cumcount()
    kept = table[table["label"].isin(large) | (nth % (PATTERN[0] // PATTERN[1]) == 0)]
    correct = (kept["label"] == kept["predicted"]).to_numpy()
    return float(calibration(kept["confidence"].to_numpy(), correct)["ece"])


def table(name: str, strategy: str, ways: list[str], rows: list[Row]) -> None:
    print(f"\n{name}, {strategy}, {len(rows)} seeds", flush=True)
    print(f"{'':10}{'balanced accuracy':>20}{'small classes':>16}{'gain over none':>28}{'calibration':>20}")
    for way in ways:
        found, small, ece = (np.array([row[part][way] for row in rows]) for part in range(3))
        gain = ""
        if way != "none" and "none" in ways:
            gaps = found - np.array([row[0]["none"] for row in rows])
            ends = stats.t.interval(0.95, len(gaps) - 1, gaps.mean(), stats.sem(gaps)) if len(gaps) > 2 else ()
            gain = f"{gaps.mean():+.3f}" + (f" ({ends[0]:+.3f} to {ends[1]:+.3f})" if ends else "")
        done = "" if way != "auto" else f"   {', '.join(sorted({row[3][way] for row in rows}))}"
        print(
            f"{way:10}{found.mean():>12.3f} ± {found.std(ddof=1) if len(found) > 1 else 0:.3f}{small.mean():>16.3f}"
            f"{gain:>28}{ece.mean():>20.3f}{done}",
            flush=True,
        )


if __name__ == "__main__":
    main()
