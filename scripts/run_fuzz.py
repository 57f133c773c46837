"""Feed mutations of known hostile inputs to everything that reads what strangers send, for as long as asked.

    python scripts/run_fuzz.py [--minutes 10] [--only image,form] [--seed 0]

The targets are those of tests/fuzz, which the tests try with small budgets. Each gets turns of some seconds, with
another seed each time. A finding is shrunk by hypothesis, written to fuzz-findings/, and told; the exit code is then 1.
A case of more than ten seconds is a finding too.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from fuzz.mutations import mutations  # noqa: E402 - after the path to it
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402

Target = Callable[[bytes, Path], None]
SLOW_S = 10.0
ROUND = settings(
    max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink), print_blob=False,
)  # fmt: skip


def targets() -> dict[str, tuple[Target, list[bytes]]]:
    found = {}
    for file in sorted((TESTS / "fuzz").glob("targets_*.py")):
        module = importlib.import_module(f"fuzz.{file.stem}")
        found.update({name: (target, module.CORPUS[name]) for name, target in module.TARGETS.items()})
    return found


def one_round(target: Target, corpus: list[bytes], number: int, place: Path) -> tuple[int, bytes | None, str]:
    """(cases tried, the input of a finding, its traceback)"""
    tried, last = 0, b""

    @seed(number)
    @ROUND
    @given(content=mutations(corpus))
    def attempt(content: bytes) -> None:
        nonlocal tried, last
        tried, last = tried + 1, content
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=place) as folder:
            target(content, Path(folder))
        assert time.perf_counter() - began < SLOW_S, f"one case took {time.perf_counter() - began:.0f} s"

    try:
        attempt()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - any error is what is looked for; the last case is the shrunk one
        return tried, last, traceback.format_exc(limit=-8)
    return tried, None, ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", default="", help="names of targets, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    every = targets()
    names = [name for name in asked.only.split(",") if name] or list(every)
    if wrong := set(names) - set(every):
        parser.error(f"no target {', '.join(sorted(wrong))}; there are {', '.join(every)}")
    until, number = time.monotonic() + 60 * asked.minutes, asked.seed
    cases, findings, spent = dict.fromkeys(names, 0), [], dict.fromkeys(names, 0.0)
    with tempfile.TemporaryDirectory() as place:
        while time.monotonic() < until and len(findings) < 10:
            name = min(names, key=spent.__getitem__)  # each gets the same time
            began = time.monotonic()
            tried, wrong_input, told = one_round(*every[name], number, Path(place))
            spent[name] += time.monotonic() - began
            cases[name] += tried
            number += 1
            if wrong_input is not None:
                findings.append(name)
                tell(name, wrong_input, told)
    for name in names:
        print(f"{name:12} {cases[name]:9,} cases in {spent[name]:5.0f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    seeds = f"seeds {asked.seed} to {number - 1}"
    print(f"{sum(cases.values()):,} cases, {seeds}, peak {peak:.0f} MB: {len(findings)} findings")
    sys.exit(1 if findings else 0)


def tell(name: str, content: bytes, told: str) -> None:
    folder = Path("fuzz-findings")
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}-{hashlib.blake2b(content, digest_size=4).hexdigest()}"
    file.write_bytes(content)
    print(f"\nFINDING in {name}: {content[:200]!r} (whole: {file})\n{told}", flush=True)


if __name__ == "__main__":
    main()
