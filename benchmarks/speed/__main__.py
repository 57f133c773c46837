"""How fast headstart is, and what a user would reach for instead.

    python benchmarks/speed ASSETS [--only pass,probe,...] [--repeats 3] [--without timm] [--small] [--out FILE]

ASSETS holds data/animals and weights/resnet18, resnet50 and mobilenetv2_100 (.fp16.safetensors). Peers that are not
installed are left out with a sentence: pip install -e ".[bench]". Tables (Markdown) go to standard output, each
measurement as it is made to standard error, and all of them to the JSON file of --out.

pass              a frozen network in float32, bf16, folded, compiled, by OpenVINO, by headstart
probe             a probe from photos to report, against a bare pass over the same photos
time-to-accuracy  whole trainings: headstart's, a PyTorch loop, timm's parts, fastai, Keras
epoch             an epoch of fine-tuning: headstart's and fastai's
partial           an epoch from layer3 or layer4 on, against one of the whole network
start             --help, import torch, the second command on the same photos
predict           many photos named: pace and memory
growth            a probe on 1,000 to 100,000 photos, and its head alone: seconds and memory

What is compared is measured in turn, in fresh processes, in an order that changes from round to round; ratios are taken
within a round. Medians over --repeats rounds, with the range. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bare_pass import frozen_pass
from bench import PEERS, SMALL, Bench, Failed, Sizes, say
from machine import in_words, machine
from process import EXPERIMENTS as PROCESSES
from training import EXPERIMENTS as TRAININGS

EVERY: dict[str, Callable[[Bench], None]] = {
    "pass": frozen_pass,
    "probe": PROCESSES["probe"],
    **TRAININGS,
    **{name: experiment for name, experiment in PROCESSES.items() if name != "probe"},
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--only", default=",".join(EVERY), help="names of experiments, by commas")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each experiment (3)")
    parser.add_argument(
        "--small", action="store_true", help="few photos of 64 px, for trying: its figures mean nothing"
    )
    parser.add_argument("--without", default="", metavar="PEER,PEER", help=f"to leave out: {', '.join(sorted(PEERS))}")
    parser.add_argument("--out", type=Path, help="a JSON file for every single timing")
    parser.add_argument("--predict", type=numbers, metavar="N,N", help="how many photos predict names")
    parser.add_argument("--growth", type=numbers, metavar="N,N", help="how many photos growth trains on")
    parser.add_argument("--head", type=numbers, metavar="N,D,C", help="photos, features and classes of the head alone")
    drawn = Path(tempfile.gettempdir()) / "headstart-drawn-photos"
    parser.add_argument("--drawn", type=Path, default=drawn, help=f"where drawn photos are kept ({drawn})")
    asked = parser.parse_args()
    unknown = set(asked.only.split(",")) - EVERY.keys()
    if unknown:
        parser.error(f"no experiment {', '.join(sorted(unknown))}: there are {', '.join(EVERY)}")
    if strange := set(filter(None, asked.without.split(","))) - PEERS:
        parser.error(f"no peer {', '.join(sorted(strange))}: there are {', '.join(sorted(PEERS))}")
    if asked.head and len(asked.head) != 3:
        parser.error("--head takes three numbers: photos, features, classes")
    return asked


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def sizes_of(asked: argparse.Namespace) -> Sizes:
    given = {name: getattr(asked, name) for name in ("predict", "growth", "head") if getattr(asked, name)}
    return replace(SMALL if asked.small else Sizes(), **given)


def main() -> int:
    asked, found, failed = arguments(), machine(), {}
    say(f"## Speed\n\n{in_words(found)}")
    if asked.small:
        say("- **Small: only to see that everything works. No figure below means anything.**")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(
            asked.assets,
            Path(scratch),
            asked.drawn,
            asked.repeats,
            sizes_of(asked),
            frozenset(asked.without.split(",")),
        )
        for name in asked.only.split(","):
            began = time.perf_counter()
            try:
                EVERY[name](bench)
            except Failed as failure:
                failed[name] = str(failure)
                say(f"\n**{name} failed**; what it said is on standard error.\n")
                print(failure, file=sys.stderr, flush=True)
            print(f"{name}: {time.perf_counter() - began:.0f} s in all", file=sys.stderr, flush=True)
            if asked.out:
                write(asked.out, found, bench, failed)
    return 1 if failed else 0


def write(out: Path, found: dict[str, Any], bench: Bench, failed: dict[str, str]) -> None:
    """Everything so far, after each experiment: what comes later may fail, or be stopped."""
    whole = {
        "machine": found,
        "repeats": bench.rounds,
        "sizes": asdict(bench.sizes),
        "timings": bench.timings,
        "failed": failed,
    }
    temporary = out.with_name(f".{out.name}.part")
    temporary.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    temporary.replace(out)


if __name__ == "__main__":
    sys.exit(main())
