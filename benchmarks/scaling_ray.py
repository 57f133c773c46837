"""Trainings on Ray against the same one after the other, and what follows for more nodes.

    python benchmarks/scaling_ray.py [--jobs 6] [--epochs 20] [--price 0.04] [--out PARTS.json]
    python benchmarks/scaling_ray.py --only-simulate PARTS.json [--seconds 60] [--rate 100] [--price 0.04]

Measured here: the ratio with as many workers of one thread as the machine has cores, which should be two; the parts
of the time that more nodes do not shorten: beginning Ray, a job's way there and back, the first job of a process, the
report at the end; photos per second of one core. The trainings on Ray are the second call of this process, which has
imported headstart by then; Ray's processes have not. Simulated from these parts: trainings on 1 to 64 nodes, and a
million predictions. The digits that ship are the photos.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: each worker has one thread, here too

import torch

import headstart as hs
from headstart.core.events import Events
from headstart.core.executor import find_executor
from headstart.workflows.demo import write_digits
from headstart.workflows.shards.many import PART

sys.path.insert(0, str(Path(__file__).parent / "speed"))
from machine import in_words, machine

SLOTS = 16
"""Cores of a simulated node, and so jobs at a time."""
NODES = (1, 2, 4, 8, 16, 32, 64)
GOAL = 1.8


def echo(number: int) -> int:
    """A job that does nothing."""
    return number


@contextmanager
def cache_of_its_own(place: Path) -> Iterator[None]:
    """No feature that one side computed serves the other."""
    before = os.environ.get("HEADSTART_CACHE")
    os.environ["HEADSTART_CACHE"] = str(place)
    try:
        yield
    finally:
        os.environ.pop("HEADSTART_CACHE")
        if before is not None:
            os.environ["HEADSTART_CACHE"] = before


def compared(photos: Path, place: Path, executor: str, jobs: int, epochs: int) -> dict[str, Any]:
    """Seconds of a comparison with so many trainings of an arm, and of each of them; process times of this machine."""
    told = list[tuple[float, str]]()
    with cache_of_its_own(place / "cache"):
        began, load = time.monotonic(), os.getloadavg()[0]
        found = hs.compare(
            photos, arms=["scratch"], seeds=jobs, backbone="starter", epochs=epochs, precision="float32", device="cpu",
            test=0.6, out=place / "out", quiet=True, executor=executor,
            listener=lambda event: told.append((time.monotonic() - began, str(getattr(event, "text", "")))),
        )  # fmt: skip
        whole = time.monotonic() - began
    ends = [at for at, text in told if "seed" in text and "accuracy" in text]
    each = [result.seconds for result in found.results]
    values = [result.accuracy for result in found.results]
    return {"whole": whole, "first": ends[0], "last": ends[-1], "each": each, "values": values, "load": load}


def parts_of_ray(jobs: int = 200) -> dict[str, float]:
    """Seconds to begin Ray, of the first job of a process, and of a job's way there and back where many wait."""
    executor: Any = find_executor("ray,cpus=1")
    began = time.monotonic()
    with executor.session("cpu", Events()):
        begun = time.monotonic()
        executor.submit(abs, 0).result()
        first = time.monotonic()
        for future in [executor.submit(abs, number) for number in range(jobs)]:
            future.result()
        ended = time.monotonic()
    return {"begin": begun - began, "first_job": first - begun, "way": (ended - first) / jobs}


def photos_per_second(photos: Path, place: Path) -> float:
    """Predictions of one core, into a Parquet file, with the preparation of the network."""
    with cache_of_its_own(place / "cache"):
        run = hs.train(photos, out=place / "run", backbone="starter", strategy="probe", device="cpu", quiet=True)
        found = hs.predict_shards(run, photos, place / "shards", device="cpu", quiet=True)
    return found.computed / found.seconds


def makespan(nodes: int, slots: int, jobs: int, seconds: float, parts: dict[str, float]) -> dict[str, float]:
    """Simulate jobs of equal length on nodes: the driver hands out a job each ``way`` seconds, a process begins its
    first job after ``first_job``, and only then reads its photos (part of ``warm``).
    """
    free = [(parts["begin"] + parts["first_job"] + parts["warm"], i) for i in range(min(jobs, nodes * slots))]
    heapq.heapify(free)
    handed = last = parts["begin"]
    for _ in range(jobs):
        handed += parts["way"]
        ready, i = heapq.heappop(free)
        end = max(ready, handed) + seconds
        last = max(last, end)
        heapq.heappush(free, (end, i))
    return {"whole": last + parts["report"], "handing out": jobs * parts["way"]}


def simulated(parts: dict[str, float], jobs: int, seconds: float, price: float | None, what: str) -> list[str]:
    """The table of a simulation as Markdown."""
    alone = makespan(1, 1, jobs, seconds, {**parts, "begin": 0.0, "first_job": 0.0, "way": 0.0})["whole"]
    serial = parts["begin"] + parts["first_job"] + parts["warm"] + parts["report"] + jobs * parts["way"]
    lines = [
        f"\n{what}: {jobs:,} jobs of {seconds:.1f} s, {SLOTS} at a time on a node; one after the other {alone:,.0f} s."
        f" Of a whole run {serial:.1f} s cannot be divided (Amdahl: at most {alone / serial:,.0f} times as fast).\n",
        "| nodes | seconds | times as fast as one core | of the ideal | core-hours |" + (" cost |" if price else ""),
        "|---|---|---|---|---|" + ("---|" if price else ""),
    ]
    for nodes in NODES:
        whole = makespan(nodes, SLOTS, jobs, seconds, parts)["whole"]
        hours = nodes * SLOTS * whole / 3600
        cost = f" {hours * price:.2f} |" if price else ""
        faster = alone / whole
        lines.append(f"| {nodes} | {whole:,.0f} | {faster:,.1f} | {faster / nodes / SLOTS:.0%} | {hours:,.2f} |{cost}")
    return lines


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--jobs", type=int, default=6)
    asked.add_argument("--epochs", type=int, default=20)
    asked.add_argument("--price", type=float, help="of a core for an hour, in whatever currency")
    asked.add_argument("--rate", type=float, help="predictions per second of a core, in place of the measured ones")
    asked.add_argument("--seconds", type=float, help="of a training, in place of the measured ones, for the simulation")
    asked.add_argument("--only-simulate", type=Path, metavar="PARTS.json", help="with parts that an earlier call left")
    asked.add_argument("--out", type=Path, default=Path("scaling_ray.json"), help="where the parts go")
    given = asked.parse_args()
    if given.only_simulate:
        measured = json.loads(given.only_simulate.read_text(encoding="utf-8"))
    else:
        measured = measure(given.jobs, given.epochs)
        given.out.write_text(json.dumps(measured, indent=1), encoding="utf-8")
    measured["rate"] = given.rate or measured["rate"]
    tell(measured, given.price, given.seconds)


def measure(jobs: int, epochs: int) -> dict[str, Any]:
    """Everything that is measured."""
    torch.set_num_threads(1)
    place, found = Path(tempfile.mkdtemp(prefix="scaling-")), machine()
    try:
        photos = write_digits(place / "digits")
        here = compared(photos, place / "here", "local", jobs, epochs)
        there = compared(photos, place / "there", "ray,cpus=1", jobs, epochs)
        parts = parts_of_ray()
        rate = photos_per_second(photos, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return {"machine": found, "here": here, "there": there, "parts": parts, "rate": rate, "jobs": jobs}


def tell(measured: dict[str, Any], price: float | None, seconds: float | None) -> None:
    """Figures as Markdown."""
    here, there, jobs = measured["here"], measured["there"], measured["jobs"]
    print(in_words(measured["machine"]))
    apart = sum(there["each"]) / len(there["each"]) / (sum(here["each"]) / len(here["each"]))
    whole = here["whole"] / there["whole"]
    after = (here["last"] - here["first"]) / (jobs - 1) / ((there["last"] - there["first"]) / max(1, jobs - 2))
    print(f"\n{jobs} trainings, one thread each; accuracies equal: {here['values'] == there['values']}")
    print(f"- one after the other: {here['whole']:.1f} s (load before: {here['load']:.1f})")
    print(f"- on Ray, two at a time: {there['whole']:.1f} s (load before: {there['load']:.1f})")
    print(f"- whole calls: {whole:.2f} times as fast; between the first result and the last: {after:.2f} (goal {GOAL})")
    print(f"- a training took {apart:.2f} times as long beside another one as alone")
    parts = {
        **measured["parts"],
        "report": here["whole"] - here["last"],
        "warm": max(0.0, here["first"] - here["each"][0]),
    }
    print("- parts: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in parts.items()))
    seconds = seconds or sum(here["each"]) / len(here["each"])
    print(*simulated(parts, 1000, seconds, price, "A study"), sep="\n")
    per_part = PART / measured["rate"]
    what = f"A million predictions at {measured['rate']:.0f} photos/s of a core, in parts of {PART:,} photos"
    print(*simulated({**parts, "report": 1.0}, -(-1_000_000 // PART), per_part, price, what), sep="\n")


if __name__ == "__main__":
    main()
