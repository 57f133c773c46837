"""Killed at any moment and started again: is the result the same, and is anything left?

    python benchmarks/kills.py [--kills 100] [--seed 0] [--only train,compare] [--keep FOLDER]

Runs every long command on a few small drawn photos: once undisturbed, then again and again with a SIGKILL at a random
moment, after which the same is started again (``train --resume``, where a run was begun) and comes to its end. What it
leaves is compared with what the undisturbed command left, bit for bit but for times and dates: weights, metrics,
tables, JSON, pictures, and what it printed. Temporary files, locks and half-made folders in the results, in the cache
and in the temporary folder are listed. Most rounds have a cache of their own; in some, several killed commands share
one. States and shards are written far more often than usual, so that kills hit their writing.

Prints a table, and each finding; leaves with 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

CHILD = """
import sys
import headstart.data.images, headstart.inference.features, headstart.training.trainer as trainer
trainer.CHECKPOINT_SECONDS, trainer.CHECKPOINT_SHARE = 0.1, 1e9
headstart.data.images.SHARD = headstart.inference.features.SHARD = 8
from headstart.cli.app import main
sys.argv[0] = "headstart"
main()
"""
TIMES = re.compile(r"seconds|created|ms|time|machine|photos_per_second|rate", re.IGNORECASE)
"""Names of what differs from run to run, in JSON and in columns of tables."""
PAGES = {".html", ".svg", ".md"}  # they hold times, and show what the other files hold
PERMANENT = ".folders.lock"  # one empty file per cache, which is never deleted
LEFT = re.compile(r"\.tmp$|\.part$|\.lock$|^\.writing-|^\.export-|^state$|^tmp")
SHARED = 0.3  # part of the rounds that share a cache
PATIENCE = 300.0


@dataclass(frozen=True)
class Command:
    """``words`` and ``again``: of the command, and of what is started after a kill; they run in the round's folder.
    ``made``: names of its results there.
    """

    name: str
    words: tuple[str, ...]
    made: tuple[str, ...] = ("out",)
    again: Callable[[Path], tuple[str, ...]] | None = None

    def repeated(self, folder: Path) -> tuple[str, ...]:
        return self.again(folder) if self.again else self.words


@dataclass
class Ended:
    code: int
    out: str
    err: str
    seconds: float


@dataclass
class Tally:
    kills: int = 0
    late: int = 0  # it had ended before
    findings: list[str] = field(default_factory=list)


def commands() -> list[Command]:
    base = ("photos", "--backbone", "starter", "--out", "out")
    short = ("--epochs", "12", "--batch-size", "8")

    def training(name: str, *more: str, photos: str = "photos") -> Command:
        words = ("train", photos, *base[1:], *more, "--json")

        def again(folder: Path) -> tuple[str, ...]:
            return ("train", "--resume", "out", "--json") if (folder / "out" / "request.json").exists() else words

        return Command(f"train {name}", words, again=again)

    def unless_finished(name: str, *words: str) -> Command:
        """A comparison: once finished, it is not begun again."""

        def again(folder: Path) -> tuple[str, ...]:
            done = (folder / "out" / "report.html").exists()
            return (*words, "--overwrite") if done else words

        return Command(name, words, again=again)

    return [
        training("probe", "--strategy", "probe"),
        training("probe on an archive", "--strategy", "probe", photos="photos.zip"),
        training("head", "--strategy", "probe", "--head", "mlp:32", *short),
        *(training(name, "--strategy", name, *short) for name in ("finetune", "partial", "lp-ft", "scratch", "auto")),
        unless_finished(
            "compare", "compare", *base, "--arms", "probe,finetune,scratch", "--seeds", "2", *short, "--json"
        ),
        Command("study", ("study", "own.yaml", "--data", "photos", "--out", "out", "--json")),
        Command("check", ("check", *base, "--fix", "clean.csv", "--overwrite", "--json"), ("out", "clean.csv")),
        Command("predict", ("predict", "run", "photos", "--csv"), ()),
        Command("evaluate", ("evaluate", "run", "photos", "--json"), ()),
        Command(
            "export",
            ("export", "run", "--out", "model.onnx", "--overwrite", "--json"),
            ("model.onnx", "model.onnx.json"),
        ),
        Command("explain", ("explain", "run", "photos/cat", "--out", "out", "--overwrite", "--json")),
        Command(
            "recommend", ("recommend", "photos", "--backbones", "starter,starter@layer2,starter@layer3", "--json"), ()
        ),
        Command("forecast", ("forecast", *base, "--overwrite", "--json")),
        Command("demo", ("demo", "--out", "out", "--json")),
    ]


RECIPE = """
name: own
images: {p: }
every_arm: {backbone: starter, epochs: 12, batch_size: 8}
arms:
  first: {strategy: finetune}
  second: {strategy: partial, from: first}
  probe: {strategy: probe, shots: [2, 4]}
"""


# -- one process --


def environment(folder: Path, cache: Path) -> dict[str, str]:
    for place in (folder / "tmp", cache):
        place.mkdir(parents=True, exist_ok=True)
    own = {"HEADSTART_CACHE": str(cache), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return {**os.environ, **own}


def run(words: tuple[str, ...], folder: Path, cache: Path, kill_after: float | None = None) -> Ended:
    """A command in ``folder``, to its end or to its kill."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *words], cwd=folder, env=environment(folder, cache), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=PATIENCE if kill_after is None else kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    return Ended(process.returncode, out, err, time.perf_counter() - began)


# -- what is left --


def strip(value: Any) -> Any:
    """JSON without what differs from run to run."""
    if isinstance(value, dict):
        return {key: strip(one) for key, one in value.items() if not TIMES.search(key)}
    return [strip(one) for one in value] if isinstance(value, list) else value


def normal(path: Path, content: bytes) -> Any:
    if path.suffix == ".json":
        return strip(json.loads(content))
    if path.suffix == ".csv":
        head, *lines = [line.split(",") for line in content.decode().splitlines()] or [[]]
        kept = [i for i, name in enumerate(head) if not TIMES.search(name)]
        return [[line[i] for i in kept] for line in (head, *lines)]
    return content


def results(command: Command, folder: Path, cache: Path, printed: str) -> dict[str, Any]:
    """Everything that a command leaves, by name, in a form that is equal for equal results: a cache may be another."""
    try:
        text: Any = strip(json.loads(printed))
    except ValueError:
        text = printed
    if command.name == "recommend":  # its order is of speeds, where backbones are equally good
        text = {one["backbone"]: [one[score] for score in ("accuracy", "knn", "logme")] for one in text["backbones"]}
    found = {"printed": text}
    for name in command.made:
        for path in files(folder / name):
            if path.suffix not in PAGES:
                content = path.read_bytes()
                if path.suffix == ".json":  # the demo's photos lie in the cache
                    content = content.replace(str(cache).encode(), b"CACHE")
                found[str(path.relative_to(folder))] = normal(path, content)
    return found


def files(place: Path) -> Iterator[Path]:
    yield from ([place] if place.is_file() else sorted(one for one in place.rglob("*") if one.is_file()))


def leftovers(command: Command, folder: Path, cache: Path) -> set[str]:
    """Names of what should not be there, in a form that is equal from round to round."""
    found = set()
    for name, place in (("cache", cache), ("tmp", folder / "tmp"), *((made, folder / made) for made in command.made)):
        for path in place.rglob("*"):
            orphan = path.suffix == ".values" and not path.with_suffix(".index").exists()
            if path.name != PERMANENT and (name == "tmp" or LEFT.search(path.name) or orphan):
                found.add(f"{name}: {re.sub('[0-9a-f]{8,}|[0-9]+', 'N', str(path.relative_to(place)))}")
    run_folder = folder / "run"
    found |= {f"run: {path.name}" for path in run_folder.rglob("*") if LEFT.search(path.name)}
    return found


# -- rounds --


class Rounds:
    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.random = root, random.Random(seed)
        self.photos = draw(root / "photos")
        shutil.make_archive(str(root / "photos"), "zip", root, "photos")
        made = run(("train", *_RUN), self.fresh(with_run=False), root / "cache-of-run")
        assert made.code == 0, made.err
        shutil.move(root / "work" / "run", root / "run")
        self.undisturbed: dict[str, tuple[dict[str, Any], set[str], float]] = {}

    def fresh(self, with_run: bool = True) -> Path:
        """The round's folder, always at the same path: results name it."""
        work = self.root / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        os.symlink(self.photos, work / "photos")
        shutil.copy(self.root / "photos.zip", work)
        (work / "own.yaml").write_text(RECIPE, encoding="utf-8")
        if with_run:
            shutil.copytree(self.root / "run", work / "run")
        return work

    def wanted(self, command: Command) -> tuple[dict[str, Any], set[str], float]:
        """(results, what is left, seconds) of the command undisturbed; it runs twice, and both must agree."""
        if command.name not in self.undisturbed:
            both = []
            for _ in range(2):
                work, cache = self.fresh(), self.root / "cache"
                shutil.rmtree(cache, ignore_errors=True)
                done = run(command.words, work, cache)
                assert done.code in (0, 1), f"{command.name} ended with {done.code}: {done.err[-2000:]}"
                both.append((results(command, work, cache, done.out), leftovers(command, work, cache), done.seconds))
            if differing := differences(both[0][0], both[1][0]):
                raise SystemExit(f"{command.name} is not the same twice, undisturbed: {differing}")
            self.undisturbed[command.name] = both[1]
        return self.undisturbed[command.name]

    def kill(self, command: Command, tally: Tally) -> None:
        wanted, usual, seconds = self.wanted(command)
        work, cache = self.fresh(), self.root / "cache"
        shared = self.random.random() < SHARED
        if shared:
            cache = self.root / "shared-cache"
        else:
            shutil.rmtree(cache, ignore_errors=True)
        moment = self.random.uniform(0.25, 1.02) * seconds  # before that, libraries are imported
        first = run(command.words, work, cache, moment)
        tally.kills += 1
        tally.late += first.code != -signal.SIGKILL
        done = run(command.repeated(work), work, cache)
        where = f"{command.name}, killed after {moment:.2f} of {seconds:.2f} s{', shared cache' if shared else ''}"
        if done.code not in (0, 1):
            tally.findings.append(f"{where}: started again, it ends with {done.code}: {done.err.strip()[-600:]}")
            return
        if differing := differences(wanted, results(command, work, cache, done.out)):
            tally.findings.append(f"{where}: differs: {differing}")
        if left := leftovers(command, work, cache) - usual:
            tally.findings.append(f"{where}: left: {', '.join(sorted(left))}")
            if shared:
                shutil.rmtree(cache, ignore_errors=True)  # told once


_RUN = ("photos", "--backbone", "starter", "--strategy", "probe", "--out", "run", "--quiet")


def differences(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Names of what is not the same, and where in a JSON."""
    names = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
    return ", ".join(f"{name}{_inside(one.get(name), other.get(name))}" for name in sorted(names))


def _inside(one: Any, other: Any) -> str:
    if one is None or other is None:
        return " (missing)"
    if isinstance(one, dict) and isinstance(other, dict):
        names = [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
        return "".join(f".{key}{_inside(one.get(key), other.get(key))}" for key in sorted(names)[:3])
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return next((f"[{i}]{_inside(a, b)}" for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), "")
    return "" if isinstance(one, bytes) else f" ({str(one)[:60]} / {str(other)[:60]})"


def draw(folder: Path) -> Path:
    """Three classes of twelve photos of 48 x 40 px."""
    generator = np.random.default_rng(3)
    for label, colour in {"cat": (200, 60, 50), "dog": (60, 80, 200), "owl": (70, 170, 80)}.items():
        (folder / label).mkdir(parents=True)
        for number in range(12):
            image = Image.fromarray(generator.integers(90, 150, (40, 48, 3), dtype=np.uint8))
            left, top, side = (int(generator.integers(0, 20)) for _ in range(3))
            ImageDraw.Draw(image).rectangle((left, top, left + side + 8, top + side + 6), fill=colour)
            image.save(folder / label / f"{label}_{number:02d}.png")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="parts of names of commands, by commas")
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it")
    asked = parser.parse_args()
    chosen = [one for one in commands() if any(word in one.name for word in asked.only.split(","))]
    root = (asked.keep or Path(tempfile.mkdtemp(prefix="kills-"))).resolve()
    root.mkdir(parents=True, exist_ok=True)
    tallies = {command.name: Tally() for command in chosen}
    try:
        rounds = Rounds(root, asked.seed)
        for number in range(asked.kills):
            command = chosen[number % len(chosen)]
            before = len(tallies[command.name].findings)
            rounds.kill(command, tallies[command.name])
            for finding in tallies[command.name].findings[before:]:
                print(f"FOUND {finding}", flush=True)
            print(f"{number + 1} of {asked.kills}: {command.name}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:  # the table tells how far it came
        pass
    finally:
        if not asked.keep:
            shutil.rmtree(root, ignore_errors=True)
    print("\n| command | kills | had ended | findings |\n|---|---|---|---|")
    for name, tally in tallies.items():
        print(f"| {name} | {tally.kills} | {tally.late} | {len(tally.findings)} |")
    kills, findings = (sum(map(count, tallies.values())) for count in (lambda t: t.kills, lambda t: len(t.findings)))
    print(f"\n{kills} kills, {findings} findings.")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
