"""Fine-tuning beside a probe: five sets of photos, three numbers of photos, three seeds. In: photos and weights. Out: a
file of rows, one per training, which later calls continue; and the table that it makes.

    python benchmarks/claims/fine_tuning.py ASSETS [--sets cifar10,...] [--shots 10,100,all] [--seeds 3] [--minutes M]
    python benchmarks/claims/fine_tuning.py --table

ASSETS as CONTRIBUTING.md describes it. Every seed draws other photos; where a set brings no test (animals, trashnet)
it draws the test photos too, and imagewoof lends its val as test. Few shots of CIFAR are judged on 4,000 of its
10,000 test photos. ``--minutes`` ends the call before a training that would begin later. Nothing is chosen on test:
all settings are the plan's own.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

ROWS = Path(__file__).parent / "fine_tuning.jsonl"
SETS = ("animals", "imagewoof160", "cifar10", "cifar100", "trashnet")
STRATEGIES = ("probe", "lp-ft")
SETTINGS = ("image_size", "epochs", "batch_size", "lr_backbone", "augment", "stages")
HEADER = ("network", "photos", "per class", "seeds", "probe", "lp-ft", "difference (standard error)", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path, nargs="?")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--shots", default="10,100,all", help="photos per class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--table", action="store_true", help="print the table of the rows and end")
    asked = parser.parse_args()
    if not asked.table:
        measure(asked, time.monotonic() + 60 * asked.minutes)
    table(read(asked.rows))


def measure(asked: argparse.Namespace, until: float) -> None:
    """Add what the file lacks, the cheap cells first."""
    done = {(r["network"], r["set"], r["shots"], r["seed"], r["strategy"]) for r in read(asked.rows)}
    wanted = [
        (asked.network, name, shots, seed, strategy)
        for shots in asked.shots.split(",") for seed in range(asked.seeds)
        for name in asked.sets.split(",") for strategy in asked.strategies.split(",")
    ]  # fmt: skip
    for cell in wanted:
        if cell in done:
            continue
        if time.monotonic() > until:
            return
        row = dict(zip(("network", "set", "shots", "seed", "strategy"), cell, strict=True)) | train(asked.assets, *cell)
        with asked.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def train(assets: Path, network: str, name: str, shots: str, seed: int, strategy: str) -> dict[str, Any]:
    """What one training came to."""
    import headstart as hs
    from headstart.inference.device import find_machine

    with tempfile.TemporaryDirectory() as out:
        run = hs.train(
            photos(assets, name, shots, seed, Path(out)), out=Path(out) / "run", backbone=network,
            weights=assets / f"weights/{network}.fp16.safetensors", strategy=strategy, seed=seed,
            shots=None if shots == "all" else int(shots), quiet=True, leakage="keep",
        )  # fmt: skip
    judged, training = run.metrics["test"], run.metrics["training"]
    return {
        "accuracy": judged["accuracy"]["value"],
        "seconds": round(training["seconds"]["training"], 1),
        "settings": {name: getattr(run.plan, name) for name in SETTINGS},
        "decision": training.get("decision", ""),
        "machine": find_machine().words,
    }


def photos(assets: Path, name: str, shots: str, seed: int, out: Path) -> Path:
    """Where the set's photos are. imagewoof has train and val only: its val becomes test, and val comes from train.
    CIFAR's are drawn from before they are read, where few are needed: twice the shots, and 4,000 of test.
    """
    folder = assets / "data" / name
    if name == "imagewoof160":
        for split, as_split in (("train", "train"), ("val", "test")):
            shutil.copytree(folder / split, out / name / as_split)
        return out / name
    if not name.startswith("cifar") or shots == "all":
        return folder
    classes = sorted(path.name for path in (folder / "train").iterdir())
    numbers = {"train": 2 * int(shots), "test": 4000 // len(classes)}
    with (out / "drawn.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "split"))
        for split, number in numbers.items():
            for label in classes:
                files = sorted((folder / split / label).iterdir())
                random.Random(f"{seed} {label}" if split == "train" else label).shuffle(files)
                rows.writerows((path, label, split) for path in files[:number])
    return out / "drawn.csv"


def read(rows: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []


def table(rows: list[dict[str, Any]]) -> None:
    """Means over the seeds that all strategies of a cell have."""
    cells: dict[tuple[str, str, str], dict[str, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        cells[row["network"], row["set"], row["shots"]][row["strategy"]][row["seed"]] = row
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for cell, of in cells.items():
        seeds = sorted(of["probe"].keys() & of["lp-ft"].keys())
        if not seeds:
            continue
        probe, tuned = (np.array([of[s][seed]["accuracy"] for seed in seeds]) for s in STRATEGIES)
        gains = tuned - probe
        error = f"{gains.std(ddof=1) / len(seeds) ** 0.5:.3f}" if len(seeds) > 1 else "–"
        seconds = np.mean([of["lp-ft"][seed]["seconds"] for seed in seeds])
        figures = (f"{probe.mean():.3f}", f"{tuned.mean():.3f}", f"{gains.mean():+.3f} ({error})", f"{seconds:.0f}")
        print(f"| {' | '.join((*cell, str(len(seeds)), *figures))} |")


if __name__ == "__main__":
    main()
