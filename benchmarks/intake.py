"""What people really have, through the command line: is each case right?

    python benchmarks/intake.py [CASES] [--only 03]

CASES is a folder of cases, each with a make.py that draws its inputs (default: $HEADSTART_ASSETS/cases, else
../shared/cases). Every input is given to headstart with the cheapest settings (a probe of the starter backbone), one
after the other, and judged by the table in intake_cases.py. Prints a line for each: case, expected, found, OK or WRONG;
of cases that the table does not know, only what was found. Leaves with 1 where one is WRONG.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from intake_cases import CASES, SKIPPED, Input, Right

CHEAP = "--backbone starter --strategy probe --image-size 32 --precision float32".split()
DRAWN = (
    "import sys; sys.path.insert(0, sys.argv[1]); from common import class_folders; class_folders(sys.argv[2], n=20)"
)
ABOUT = 0.1
"""Confidences this near are of one picture, stored in different formats."""
TABLES = (".csv", ".tsv", ".txt", ".zip", ".tar", ".gz", ".jsonl")
MINUTES = 5


class Found(NamedTuple):
    """What a command left behind: its output, and of a training the classes and the photos of each split, of a
    prediction the rows.
    """

    code: int
    output: str
    classes: tuple[str, ...] = ()
    photos: Mapping[str, int] = MappingProxyType({})
    rows: Sequence[dict[str, str]] = ()
    private: int = 0

    @property
    def said(self) -> str:
        """The first line that tells something: of a refusal, its message."""
        lines = [line.strip() for line in self.output.splitlines()]
        told = [line for line in lines if line.startswith(("headstart: ", "Error", "Traceback"))] or [
            line for line in lines if line.lower().startswith(("note", "warning"))
        ]
        return told[0][:200] if told else ""

    def __str__(self) -> str:
        classes = f"{len(self.classes)} classes ({', '.join(self.classes[:4])[:60]})" if self.classes else ""
        photos = " ".join(f"{split} {n}" for split, n in self.photos.items())
        rows = f"{len(self.rows)} rows" if self.rows else ""
        return ", ".join(part for part in (f"exit {self.code}", classes, photos, rows, self.said) if part)


def wrong(right: Right, found: Found) -> str:
    """What of an outcome is not as it should be; "" where all is."""
    text = found.output.casefold()
    sums = {name: sum(found.photos.get(one, 0) for one in name.split("+")) for name in right.photos if name != "all"}
    sums |= {"all": sum(found.photos.values())}
    amiss = [
        "a traceback" if "Traceback (most recent" in found.output else "",
        f"exit {right.code}" if found.code != right.code else "",
        f"classes {', '.join(right.classes)[:80]}"
        if right.classes and set(right.classes) != set(found.classes)
        else "",
        *(f"{split} {n}" for split, n in right.photos.items() if sums[split] != n),
        *(f"{word!r}" for word in right.words if word.casefold() not in text),
        f"{right.count} rows" if right.count and right.count != len(found.rows) else "",
        "files for all to read" if right.modes and found.private else "",
        *(_unlike(right, found) if right.rows or right.alike else ()),
    ]
    return ", ".join(filter(None, amiss))


def _unlike(right: Right, found: Found) -> Iterator[str]:
    if not found.rows:
        yield "predictions"
        return
    for name, problem in right.rows.items():
        row = next((row for row in found.rows if row["path"].endswith(f"/{name}")), None)
        if row is None or bool(row["problem"]) != bool(problem) or problem not in row["problem"]:
            yield f"{name}: {problem or 'a prediction'}"
    if right.alike:
        first = found.rows[0]
        for row in found.rows[1:]:
            same = row["label"] == first["label"] and not row["problem"]
            if not same or abs(float(row["confidence"]) - float(first["confidence"])) > ABOUT:
                yield f"{Path(row['path']).name} as {Path(first['path']).name}"


def expected(given: Input) -> str:
    return " | ".join(
        ", ".join(
            filter(
                None,
                (
                    f"exit {right.code}", ", ".join(right.classes)[:60],
                    " ".join(f"{split} {n}" for split, n in right.photos.items()), ", ".join(map(repr, right.words)),
                    ", ".join(f"{name}: {text or 'read'}" for name, text in right.rows.items()),
                    f"{right.count} rows" if right.count else "", "all alike" if right.alike else "",
                    "readable by others" if right.modes else "",
                ),
            )
        )
        for right in given.right
    )  # fmt: skip


class Bench:
    """Runs commands in a temporary folder of its own, with its own cache and home."""

    def __init__(self, cases: Path, work: Path) -> None:
        self.cases, self.work, self.number = cases, work, 0
        self.run = work / "run"

    def prepare(self) -> None:
        """The run that photos are predicted with."""
        subprocess.run([sys.executable, "-c", DRAWN, str(self.cases), str(self.work / "photos")], check=True)
        found = self.follow(Input((), (f"train {self.work / 'photos'} --out {self.run}",)), self.work, self.work)
        if found.code:
            sys.exit(f"no run to predict with: {found.output}")

    def follow(self, given: Input, data: Path, made: Path) -> Found:
        """The last step's outcome. ``made``: where the case's make.py wrote; its ``home`` is the home folder."""
        self.number += 1
        out, home = self.work / f"out{self.number}", made / "home"
        env = {**os.environ, "HEADSTART_CACHE": str(self.work / "cache"), "PYTHONUTF8": "1", "COLUMNS": "400"}
        env |= {"HOME": str(home)} if home.is_dir() else {}
        found = Found(0, "")
        if given.alias:
            data = Path(shutil.copy(data, data.with_name(given.alias)))
        places = {"DATA": str(data), "OUT": str(out), "RUN": str(self.run)}
        for step in given.steps:
            words = [re.sub(r"\b(DATA|OUT|RUN)\b", lambda m: places[m[1]], word) for word in shlex.split(step)]
            cheap = CHEAP if words[0] == "train" else []
            done = subprocess.run(
                [sys.executable, "-m", "headstart", *words, *cheap], cwd=self.work, env=env, capture_output=True,
                text=True, timeout=60 * MINUTES, errors="replace",
            )  # fmt: skip
            found = Found(done.returncode, f"{done.stderr}\n{done.stdout}", *_run(out))
            if words[0] == "predict" and "--csv" in words:
                found = found._replace(rows=list(csv.DictReader(io.StringIO(done.stdout))), output=done.stderr)
        return found


def _run(out: Path) -> tuple[tuple[str, ...], dict[str, int], list[dict[str, str]], int]:
    """Classes and photos per split of a run, no rows, and how many of its files others cannot read."""
    if not (out / "splits.csv").is_file() or not (out / "model.json").is_file():
        return (), {}, [], 0
    with open(out / "splits.csv", encoding="utf-8", newline="") as file:
        photos = Counter(row["split"] for row in csv.DictReader(file))
    classes = json.loads((out / "model.json").read_text(encoding="utf-8"))["classes"]
    private = sum(not path.stat().st_mode & 0o044 for path in out.rglob("*"))
    return tuple(map(str, classes)), dict(photos), [], private


def unknown(made: Path) -> dict[str, Input]:
    """The inputs of a case that the table does not know: what was made, and each folder, table and archive in it."""
    inside = [p.name for p in sorted(made.iterdir()) if p.is_dir() or p.name.lower().endswith(TABLES)]
    return {name: Input(()) for name in (".", *inside)}


def lines(bench: Bench, case: Path) -> Iterator[tuple[str, str]]:
    """(line to print, verdict) of each input of a case."""
    number = case.name.partition("-")[0]
    if number in SKIPPED:
        yield f"{case.name}: {SKIPPED[number]}", "SKIPPED"
        return
    made = bench.work / case.name
    try:
        subprocess.run([sys.executable, str(case / "make.py"), str(made)], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        yield f"{case.name}: make.py failed: {error.stderr.strip().splitlines()[-1]}", "WRONG"
        return
    for name, given in (CASES.get(number) or unknown(made)).items():
        what = case.name if name == "." else f"{case.name}/{name}"
        try:
            found = bench.follow(given, made / name if name != "." else made, made)
        except subprocess.TimeoutExpired:
            yield f"{what}: more than {MINUTES} minutes", "WRONG"
            continue
        amiss = [wrong(right, found) for right in given.right]
        verdict = "found" if not given.right else "OK" if "" in amiss else "WRONG"
        lacking = f"   LACKING {' | '.join(amiss)}" if verdict == "WRONG" else ""
        wanted = f"   EXPECTED {expected(given)}" if given.right else ""
        yield f"{what}{wanted}   FOUND {found}{lacking}", verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    assets = os.environ.get("HEADSTART_ASSETS") or Path(__file__).parents[2] / "shared"
    parser.add_argument("cases", nargs="?", type=Path, default=Path(assets) / "cases")
    parser.add_argument("--only", default="", help="numbers of cases, by commas")
    asked = parser.parse_args()
    only = set(filter(None, asked.only.split(",")))
    cases = [p.parent for p in sorted(asked.cases.glob("*/make.py"))]
    cases = [case for case in cases if not only or case.name.partition("-")[0] in only]
    if not cases:
        sys.exit(f"no cases in {asked.cases}")
    verdicts: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="intake-") as folder:
        bench = Bench(asked.cases, Path(folder))
        bench.prepare()
        for case in cases:
            for line, verdict in lines(bench, case):
                verdicts[verdict] += 1
                print(f"{verdict:7} {line}", flush=True)
    print(f"{', '.join(f'{n} {verdict}' for verdict, n in verdicts.items())} in {time.monotonic() - began:.0f} s")
    sys.exit(1 if verdicts["WRONG"] else 0)


if __name__ == "__main__":
    main()
