"""A studio as a process of its own, as its users start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STARTED_S = 60


class Studio:
    """A running ``headstart studio``; ``kill`` and ``start`` again keep the port."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "headstart", "studio", "--projects", str(self.home), "--port", str(self.port)]
        # A group of its own: Windows sends Ctrl-Break to a whole group.
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        self.process = subprocess.Popen(
            [*command, "--no-browser"], stderr=subprocess.PIPE, text=True, creationflags=flags
        )
        assert self.process.stderr
        line = self.process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + self.process.stderr.read()
        self.port = int(found[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def kill(self) -> None:
        """As a crash would: no handler of its own runs."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr
        self.process.stderr.close()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM if os.name != "nt" else signal.CTRL_BREAK_EVENT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        assert self.process.stderr
        self.process.stderr.close()


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path / "projects")
    yield made
    made.stop()


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Waits until a function returns something true, and returns it."""

    def wait(ask: Callable[[], Any], seconds: float = 120) -> Any:
        ends = time.monotonic() + seconds
        while not (found := ask()):
            assert time.monotonic() < ends, "nothing came of it"
            time.sleep(0.1)
        return found

    return wait
