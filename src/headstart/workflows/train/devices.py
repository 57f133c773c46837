"""``devices=N``: one training by N processes of this machine. In: the request. Out: the run that they leave.

The processes find each other as those of torchrun do. This one starts them, passes on what the first reports, and says
which one was killed; it trains nothing itself.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from headstart import errors
from headstart.core.events import EpochEnd, Event, Events, Finding, Message, Progress, Table, Warned
from headstart.core.launched import member
from headstart.errors import HeadstartError, OptionError, TrainingError
from headstart.training.trainer import EpochRow

WORKER = "headstart.workflows.train.worker"
MOST = 256
ENDING_S = 30.0
"""After the first process has ended, the others have so long."""
TOLD = (0, 1, 2, 130)
"""Exit codes of processes that have said themselves how they ended."""
_KINDS: dict[str, type] = {
    "message": Message, "warning": Warned, "table": Table, "progress": Progress, "epoch": EpochEnd, "finding": Finding,
}  # fmt: skip


def to_start(devices: int | None) -> bool:
    """Whether this process is to start others. Raises OptionError for a number that makes no sense."""
    if devices is None or member() is not None:
        return False
    if not 1 <= devices <= MOST:
        raise OptionError(f"`devices={devices}`: from 1 to {MOST}.", option="devices")
    return devices > 1


def as_json(event: Event) -> dict[str, Any]:
    """An event as a line of the pipe."""
    kind = next(name for name, one in _KINDS.items() if isinstance(event, one))
    return {"is": kind, **(asdict(event.row) if isinstance(event, EpochEnd) else asdict(event))}


def from_json(values: Mapping[str, Any]) -> Event:
    """The event of such a line."""
    fields = {name: value for name, value in values.items() if name != "is"}
    if values["is"] == "epoch":
        return EpochEnd(EpochRow(**fields))
    if values["is"] == "table":
        rows = tuple(tuple(row) for row in fields["rows"])
        return Table(fields["title"], tuple(fields["columns"]), rows)
    event: Event = _KINDS[values["is"]](**fields)
    return event


def run_on(devices: int, request: Mapping[str, Any], events: Events) -> Path:
    """Start the processes, and wait. Raises what the first of them raised, and TrainingError where one was killed."""
    processes = Processes(devices, request)
    try:
        return Path(processes.follow(events))
    finally:
        processes.end()


class Processes:
    """The processes of one training, and what the first says."""

    def __init__(self, count: int, request: Mapping[str, Any]) -> None:
        from datetime import timedelta

        import torch.distributed

        dist: Any = torch.distributed
        self.store = dist.TCPStore("127.0.0.1", 0, None, True, timeout=timedelta(seconds=10), wait_for_workers=False)
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.children = [self._start(rank, count) for rank in range(count)]
        for child in self.children:
            self._write(child, json.dumps(request))
        threading.Thread(target=self._read, args=(self.children[0].stdout,), daemon=True).start()

    def _start(self, rank: int, count: int) -> subprocess.Popen[str]:
        places = os.pathsep.join(path for path in sys.path if path)  # this process may run from a checkout
        threads = str(max(1, (os.cpu_count() or 1) // count))
        environment = {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONPATH": places} | {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.store.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
        }  # fmt: skip
        apart: dict[str, Any] = {"start_new_session": True}  # Ctrl-C reaches this process, which passes it on once
        if os.name == "nt":
            apart = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER], stdin=subprocess.PIPE, text=True, encoding="utf-8", env=environment,
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL, **apart,
        )  # fmt: skip

    def _write(self, child: subprocess.Popen[str], line: str) -> None:
        with suppress(OSError, ValueError):
            assert child.stdin is not None
            child.stdin.write(f"{line}\n")
            child.stdin.flush()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.lines.put(line)
        self.lines.put(None)

    def follow(self, events: Events) -> str:
        """Pass on events until the first process has ended: the run's folder."""
        interrupted = False
        while True:
            try:
                line = self.lines.get(timeout=0.2)
            except queue.Empty:
                self._look()
                continue
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                for child in self.children:
                    self._write(child, "stop")
                continue
            if line is None:
                raise self._killed() or TrainingError("The first process ended without a word.")
            said = json.loads(line)
            if said["is"] == "done":
                return str(said["path"])
            if said["is"] == "error":
                raise self._killed() or _error(said)
            events.send(from_json(said))

    def _look(self) -> None:
        """Tell the others at once of a process that was killed: they would find out by its silence."""
        killed = self._killed()
        with suppress(RuntimeError):
            if killed is not None and not self.store.check(["headstart/0.0/failed"]):
                said = {"rank": self._first_killed(), "host": "this machine", "problem": "it was killed."}
                self.store.set("headstart/0.0/failed", json.dumps({**said, "hint": killed.hint, "lines": []}))

    def _first_killed(self) -> int | None:
        return next((r for r, child in enumerate(self.children) if child.poll() not in (None, *TOLD)), None)

    def _killed(self) -> HeadstartError | None:
        rank = self._first_killed()
        if rank is None:
            return None
        code, child = self.children[rank].returncode, self.children[rank]
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        problem = f"Rank {rank} of {len(self.children)} (process {child.pid}) was ended {how}."
        return TrainingError(problem, "What was saved is whole: `resume` goes on with it, also with other `devices`.")

    def end(self) -> None:
        """Wait for all; what goes on then is killed."""
        end = time.monotonic() + ENDING_S
        try:
            for child in self.children:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.0, end - time.monotonic()))
        finally:
            for child in self.children:
                if child.poll() is None:
                    child.kill()
                child.wait()
                for stream in (child.stdin, child.stdout):
                    with suppress(OSError):
                        if stream is not None:
                            stream.close()


def _error(said: Mapping[str, Any]) -> HeadstartError:
    kind = getattr(errors, said["kind"], TrainingError)
    known = kind if isinstance(kind, type) and issubclass(kind, HeadstartError) else TrainingError
    return known(said["problem"], said["hint"], option=said["option"], lines=said["lines"])
