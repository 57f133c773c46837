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
from headstart.core.child import apart, command, environment
from headstart.core.events import EpochEnd, Event, Events, Finding, Message, Progress, Table, Warned
from headstart.core.launched import member
from headstart.core.roll import report_killed
from headstart.errors import HeadstartError, OptionError, TrainingError
from headstart.training.checkpoint import stop_on_interrupt
from headstart.training.trainer_state import EpochRow

WORKER = "headstart.workflows.train.worker"
MOST = 256
"""Processes of one machine."""
COMING = "120"
"""Seconds that they wait for each other: all were started, and on a busy machine imports take long."""
ENDING_S = 30.0
"""After the first process has ended, the others have so long."""
TOLD = (0, 1, 2, 130)
"""Exit codes of processes that have said themselves how they ended."""
_KINDS: dict[str, type] = {
    "message": Message, "warning": Warned, "table": Table, "progress": Progress, "epoch": EpochEnd, "finding": Finding,
}  # fmt: skip


def to_start(devices: int | None) -> int:
    """How many processes this one is to start. Raises OptionError for a number that makes no sense."""
    if devices is None or member() is not None:
        return 0
    if not 1 <= devices <= MOST:
        raise OptionError(f"`devices={devices}`: from 1 to {MOST}.", option="devices")
    if devices > 1 and sys.platform == "win32":  # PyTorch's store and gloo lack there what this needs
        problem = f"`devices={devices}`: training in several processes does not work on Windows."
        raise OptionError(problem, "Leave `devices` out, or train in WSL.", option="devices")
    return devices if devices > 1 else 0


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
    """Start the processes, and wait. The first Ctrl-C asks them to stop at a batch, a second one kills them.

    Raises what the first of them raised, and TrainingError where one was killed.
    """
    processes = Processes()
    try:
        with stop_on_interrupt(processes.stop):
            processes.start(devices, request)
            return Path(processes.follow(events))
    except HeadstartError:  # which the first process said: all end by themselves
        raise
    except BaseException:
        processes.kill()
        raise
    finally:
        processes.end()


class Processes:
    """The processes of one training, and what the first says. ``stop``: set it to ask them to stop."""

    def __init__(self) -> None:
        from datetime import timedelta

        import torch.distributed

        dist: Any = torch.distributed
        self.store = dist.TCPStore("127.0.0.1", 0, None, True, timeout=timedelta(seconds=10), wait_for_workers=False)
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.children: list[subprocess.Popen[str]] = []
        self.stop = threading.Event()

    def start(self, count: int, request: Mapping[str, Any]) -> None:
        """Start so many, and send them the request. Raises OSError."""
        for rank in range(count):
            self.children.append(self._start(rank, count))
        self._write(json.dumps(request))
        threading.Thread(target=self._read, args=(self.children[0].stdout,), daemon=True).start()

    def _start(self, rank: int, count: int) -> subprocess.Popen[str]:
        threads = str(max(1, (os.cpu_count() or 1) // count))
        given = {"OMP_NUM_THREADS": threads, "HEADSTART_WAIT": COMING} | environment() | {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.store.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }  # fmt: skip
        return subprocess.Popen(
            command(WORKER), stdin=subprocess.PIPE, text=True, encoding="utf-8", env=given,
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL, **apart(),  # Ctrl-C is passed on once
        )  # fmt: skip

    def _write(self, line: str) -> None:
        for child in self.children:
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
        asked = False
        while True:
            if self.stop.is_set() and not asked:
                asked = True
                self._write("stop")
            try:
                line = self.lines.get(timeout=0.2)
            except queue.Empty:
                self._look()
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
        rank = self._first_killed()
        if rank is not None:
            report_killed(self.store, rank)

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

    def kill(self) -> None:
        """End all at once."""
        for child in self.children:
            child.kill()

    def end(self) -> None:
        """Wait for all; what goes on then is killed."""
        end = time.monotonic() + ENDING_S
        try:
            for child in self.children:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.0, end - time.monotonic()))
        finally:
            for child in self.children:
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
