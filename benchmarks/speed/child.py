"""What the processes that are measured share. In: a job as JSON on the command line. Out: its answer as a line of JSON.

Each script imports what its job needs before the clock starts: time to import is measured by itself (``start``).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Job = Callable[[dict[str, Any]], dict[str, Any]]


def serve(jobs: dict[str, Job]) -> None:
    """Do the job of the command line, and print its answer with the peak memory of this process."""
    asked = json.loads(sys.argv[1])
    answer = jobs[asked.pop("job")](asked)
    print("\n" + json.dumps({**answer, "peak_mb": peak_mb()}), flush=True)


def peak_mb() -> float | None:
    """The largest resident memory of this process so far, in MB: pages of mapped files count too."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


class Clock:
    """The clock of a training. It runs from its making; each epoch is noted with its accuracy on the judged photos."""

    def __init__(self) -> None:
        self.began = self.mark = time.perf_counter()
        self.epochs: list[dict[str, float]] = []

    def epoch(self, accuracy: float) -> None:
        """An epoch ended, its judging included. ``seconds`` of the first holds what came before it, too."""
        now = time.perf_counter()
        self.epochs.append({"seconds": now - self.mark, "at": now - self.began, "accuracy": accuracy})
        self.mark = now

    def answer(self, judged: list[str], image_size: int, loaded: str) -> dict[str, Any]:
        """What a peer answers. ``judged``: class/file of each photo; ``loaded``: what was taken from the weights."""
        from photos import names_digest

        seconds = time.perf_counter() - self.began
        return {
            "seconds": seconds,
            "accuracy": self.epochs[-1]["accuracy"],
            "epochs": self.epochs,
            "judged": len(judged),
            "judged_digest": names_digest(judged),
            "image_size": image_size,
            "weights": loaded,
        }
