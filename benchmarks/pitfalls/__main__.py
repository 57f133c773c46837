"""Prints the figures of pitfalls.md and measured-chance.md in docs/explanation: silent mistakes of transfer learning,
each beside the right way.

    python benchmarks/pitfalls ASSETS [name ...]

ASSETS holds data/imagewoof160, cifar10, dogs-vs-cats, animals and weights/resnet18 and resnet50 (.fp16.safetensors).
Without names all experiments run, in turn, in one process; nothing is written. ± is the standard deviation over seeds,
brackets hold the 95 % t-interval of a difference paired by seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cifar
import input
import judging
import training
from bench import MACHINE, PRECISION, Bench

EXPERIMENTS: dict[str, Callable[[Bench], None]] = {
    "normalisation": input.normalisation,
    "crops": input.crops,
    "crops-224": input.crops_224,
    "batchnorm": training.batchnorm,
    "typo": training.typo,
    "loss": training.loss,
    "last-batch": training.last_batch,
    "class-order": judging.class_order,
    "copies": judging.copies,
    "selection": judging.selection,
    "one-run": judging.one_run,
    "chance": cifar.chance,
    "study": cifar.study,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(EXPERIMENTS))
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}. Experiments: {', '.join(EXPERIMENTS)}")
    bench = Bench(asked.assets)
    print(f"{MACHINE.words}, {PRECISION}")
    for name in asked.names or EXPERIMENTS:
        print(f"\n## {name}", flush=True)
        began = time.perf_counter()
        EXPERIMENTS[name](bench)
        print(f"\n  ({time.perf_counter() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
