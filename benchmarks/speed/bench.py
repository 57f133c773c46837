"""What the speed experiments share. In: a folder of photos and weights, how often to measure. Out: processes run and
timed, every timing kept, tables in Markdown.

This process imports nothing heavy: Linux counts a parent's memory at the moment of its fork into the child's peak.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

HERE = Path(__file__).parent
PEERS = frozenset({"loop", "timm", "fastai", "keras"})
HEADSTART = [sys.executable, "-c", "from headstart.cli.app import main; main()"]
Item = TypeVar("Item")


class Failed(Exception):  # noqa: N818 - it names what happened, as it is printed
    """A process that ended with an error, or measured something else than was asked."""


@dataclass(frozen=True)
class Sizes:
    """How much each experiment works on: the whole measurement by default, see ``SMALL`` for trying it."""

    passed: tuple[tuple[str, int, int], ...] = (("resnet18", 160, 640), ("resnet50", 224, 256))
    image_size: int = 160
    per_class: int = 1000
    judged_per_class: int = 200
    tutorial_epochs: int = 10
    fastai_epochs: tuple[int, ...] = (1, 3)
    keras_epochs: tuple[int, int] = (2, 1)
    epochs: int = 3
    starts: int = 5
    predict: tuple[int, ...] = (1_000, 10_000)
    growth: tuple[int, ...] = (1_000, 10_000, 100_000)
    head: tuple[int, int, int] = (100_000, 2_048, 1_000)


SMALL = Sizes(
    passed=(("resnet18", 64, 64), ("resnet50", 64, 32)),
    image_size=64,
    per_class=24,
    judged_per_class=6,
    tutorial_epochs=1,
    fastai_epochs=(1,),
    keras_epochs=(1, 1),
    epochs=2,
    starts=1,
    predict=(40, 80),
    growth=(60, 120),
    head=(600, 32, 10),
)


@dataclass(frozen=True)
class Finished:
    """A process that ended well: its wall clock, its peak resident memory (MB; None where the system does not say), and
    what it printed.
    """

    seconds: float
    peak_mb: float | None
    output: str


@dataclass
class Bench:
    """One invocation. ``without``: peers that were not asked for; ``timings``: a record per measurement (experiment,
    what, round, and its figures).
    """

    assets: Path
    scratch: Path
    drawn: Path
    rounds: int
    sizes: Sizes
    without: frozenset[str] = frozenset()
    timings: list[dict[str, Any]] = field(default_factory=list)

    def weights(self, name: str) -> str:
        """The checkpoint of a network. Raises Failed where there is none."""
        return str(_there(self.assets / "weights" / f"{name}.fp16.safetensors"))

    def data(self, name: str) -> Path:
        """A folder of photos. Raises Failed where there is none."""
        return _there(self.assets / "data" / name)

    def folder(self, name: str) -> Path:
        """A new, empty folder in the scratch folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.scratch))

    @contextmanager
    def cold(self) -> Iterator[dict[str, str]]:
        """The environment of a process that nothing was computed for yet; its cache is removed afterwards."""
        cache = self.folder("cache")
        try:
            yield {"HEADSTART_CACHE": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}
        finally:
            shutil.rmtree(cache, ignore_errors=True)

    def child(self, script: str, job: str, asked: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
        """Run a job of a sibling script in a process of its own; its answer, which is the last line that it prints."""
        words = [sys.executable, str(HERE / f"{script}.py"), json.dumps({"job": job, **asked})]
        answer: dict[str, Any] = json.loads(run(words, env).output.splitlines()[-1])
        return answer

    def headstart(self, words: Sequence[str], env: dict[str, str]) -> Finished:
        """Run the command line."""
        return run([*HEADSTART, *words], env)

    def keep(self, experiment: str, what: str, number: int, figures: dict[str, Any]) -> dict[str, Any]:
        """Record one measurement, and say on standard error that it was made; returns the record."""
        record = {"experiment": experiment, "what": what, "round": number + 1, **figures}
        self.timings.append(record)
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items() if isinstance(value, int | float))
        print(f"{experiment}, round {number + 1}, {what}: {told}", file=sys.stderr, flush=True)
        return record

    def kept(self, experiment: str, what: str) -> list[dict[str, Any]]:
        """The records of one contestant, by round."""
        return [t for t in self.timings if t["experiment"] == experiment and t["what"] == what]

    def values(self, experiment: str, what: str, figure: str) -> list[float]:
        """One figure of a contestant, by round."""
        return [t[figure] for t in self.kept(experiment, what)]


def _there(path: Path) -> Path:
    if not path.exists():
        raise Failed(f"{path} is not there.")
    return path


def run(words: Sequence[str], env: dict[str, str]) -> Finished:
    """Run a process to its end. Raises Failed, with what it wrote to standard error."""
    # No peer may fetch weights: whatever is not in the files given must fail.
    whole = {**os.environ, "HF_HUB_OFFLINE": "1", **env}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(words, env=whole, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        peak = _wait(process)
        seconds = time.perf_counter() - began
        printed, complaints = (_text(file) for file in (out, err))
    if process.returncode:
        raise Failed(f"{_shown(words)}\nended with {process.returncode}:\n{printed[-2000:]}\n{complaints[-6000:]}")
    return Finished(seconds, peak, printed)


def _wait(process: subprocess.Popen[bytes]) -> float | None:
    """Wait for a process; its peak resident memory in MB."""
    try:
        if not hasattr(os, "wait4"):
            process.wait()
            return None
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode("utf-8", "replace"))


def _shown(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text if len(text) < 1000 else f"{text[:1000]} …"


def installed(package: str) -> bool:
    """Whether a package can be imported; it is not imported here."""
    return find_spec(package) is not None


def skipped(package: str, what: str) -> bool:
    """True, with a sentence, where a peer is not installed."""
    if installed(package):
        return False
    print(f"\n{what} is left out: {package} is not installed (pip install -e '.[bench]').\n", flush=True)
    return True


def rotated(items: Sequence[Item], number: int) -> list[Item]:
    """The items in an order that differs from round to round, so that none is always first."""
    at = number % len(items)
    return [*items[at:], *items[:at]]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """``1.23 (1.10 to 1.41)``: the median and the range; the value alone where there is one."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Quotients, round by round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    print("\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n", flush=True)


def say(sentence: str) -> None:
    print(sentence, flush=True)


def expect(found: Any, wanted: Any, what: str) -> None:
    """Raises Failed unless what was measured is what was asked for."""
    if found != wanted:
        raise Failed(f"{what}: {found!r} was measured where {wanted!r} was asked for.")
