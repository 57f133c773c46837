"""Long work of a project: one process per job, which goes on when the page is closed, or the server is killed.

A job is a folder, ``.studio/jobs/0007``: ``job.json`` (what was asked), ``events.jsonl`` (what it reports),
``end.json`` (how it ended), ``stop`` (a request to stop) and ``lock``, which its process holds: whether it lives is a
question to the operating system, so a killed one is never taken for running.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstart.core.child import apart, command, environment
from headstart.core.files import read_json, work_folder, write_json
from headstart.core.locks import try_lock
from headstart.errors import OptionError, RunError

STARTING_S = 60.0
"""A job without a lock counts as starting for so long: its process is importing."""
STOPPING_S = 10.0
"""After a request to stop, a process that reports nothing is ended after so long."""
LARGEST = 4 << 20
"""Bytes of events that are read at a time."""
_PROBING = threading.Lock()
WORKER = "headstart.workbench.worker"


class Jobs:
    """The jobs of one project."""

    def __init__(self, project: Path) -> None:
        self.folder = project / ".studio" / "jobs"

    def start(self, kind: str, options: Mapping[str, Any], spare: Spare | None = None) -> int:
        """Start a job; returns its number. Raises OptionError where one is running."""
        if (now := self.active()) is not None:
            raise OptionError(f"{now['kind']} is running.", "Wait until it has ended, or stop it.")
        number = max(self._numbers(), default=0) + 1
        folder = self._at(number)
        with work_folder(self.folder) as draft:
            write_json(draft / "job.json", {"kind": kind, "options": dict(options), "started": time.time()})
            try:
                draft.rename(folder)  # a job is whole or not there; the first of two servers wins
            except OSError as error:
                raise OptionError(f"Another job was started just now ({error.strerror}).", "Try again.") from None
        if spare is None or not spare.give(folder):
            _spawn([str(folder)], subprocess.DEVNULL, folder / "log.txt")
        return number

    def active(self) -> dict[str, Any] | None:
        """The job that runs, if one does."""
        last = max(self._numbers(), default=None)
        if last is None:
            return None
        found = self.about(last)
        return found if found["state"] in {"starting", "running"} else None

    def about(self, number: int) -> dict[str, Any]:
        """{"job", "kind", "options", "started", "state", …}: state is "starting", "running", "done", "failed",
        "stopped" or "interrupted" (its process is gone); of an ended job, what ``end.json`` says.

        Raises RunError where there is no such job.
        """
        folder = self._at(number)
        try:
            job = read_json(folder / "job.json")
        except FileNotFoundError:
            raise RunError(f"There is no job {number}.") from None
        return {"job": number, **job, **self._state(folder, job["started"])}

    def recent(self, most: int = 20) -> list[dict[str, Any]]:
        """The last jobs, the newest first."""
        return [self.about(number) for number in sorted(self._numbers(), reverse=True)[:most]]

    def stop(self, number: int) -> None:
        """Ask a job to stop where it can be resumed; a second time, after ``STOPPING_S``, ends its process."""
        folder = self._at(number)
        asked = folder / "stop"
        if self.about(number)["state"] not in {"starting", "running"}:
            return
        if not asked.exists():
            asked.touch()
        elif time.time() - asked.stat().st_mtime > STOPPING_S:
            with suppress(OSError, ValueError, RunError):
                os.kill(int(read_json(folder / "process.json")["pid"]), signal.SIGTERM)

    def events(self, number: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        """Events of a job from a byte of its file on, and where to go on."""
        try:
            with (self._at(number) / "events.jsonl").open("rb") as file:
                file.seek(offset)
                text = file.read(LARGEST)
        except OSError:
            return [], offset
        whole = text[: text.rfind(b"\n") + 1]  # the last line may be half-written
        return [json.loads(line) for line in whole.splitlines()], offset + len(whole)

    def _state(self, folder: Path, started: float) -> dict[str, Any]:
        with suppress(OSError, RunError):
            return dict(read_json(folder / "end.json"))
        if not (folder / "process.json").exists():  # which is written once the lock is held
            return {"state": "starting" if time.time() - started < STARTING_S else "interrupted"}
        with _PROBING:  # two probes at a time would take each other for the process
            held = try_lock(folder / "lock")
            if held is not None:
                held.release()
        if held is None:
            return {"state": "running"}
        with suppress(OSError, RunError):  # it ended just now
            return dict(read_json(folder / "end.json"))
        return {"state": "interrupted"}

    def _numbers(self) -> list[int]:
        names = (job.parent.name for job in self.folder.glob("[0-9]*/job.json"))
        return [int(name) for name in names if name.isdecimal()]  # not "0001 copy", which programs that sync make

    def last(self, kind: str) -> int | None:
        """The last job of a kind that is done."""
        found = (n for n in sorted(self._numbers(), reverse=True) if self.about(n)["kind"] == kind)
        return next((n for n in found if self.about(n)["state"] == "done"), None)

    def _at(self, number: int) -> Path:
        return self.folder / f"{number:04d}"


class Spare:
    """A process that has imported what jobs need and waits for one, so that a quick job takes a second in all."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Start one, where none waits."""
        if self.process is None or self.process.poll() is not None:
            self.process = _spawn(["wait"], subprocess.PIPE, None)

    def give(self, folder: Path) -> bool:
        """Give it a job; False where none waits."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None or process.stdin is None:
            return False
        try:
            process.stdin.write(f"{json.dumps(str(folder))}\n".encode())
            process.stdin.flush()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def _spawn(arguments: list[str], stdin: int, log: Path | None) -> subprocess.Popen[bytes]:
    """A worker apart from this process: Ctrl-C in the server's terminal, or its end, does not reach it."""
    with open(log or os.devnull, "ab") as output:
        return subprocess.Popen(
            command(WORKER, *arguments), stdin=stdin, stdout=output, stderr=output, env=environment(),
            **apart(window=False),
        )  # fmt: skip
