"""A Ray cluster of two ``ray start`` on this machine: each in a network namespace of its own where that is permitted
(root on Linux); else with other addresses of the loopback and other ports.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32,
}  # fmt: skip
STORE = 100 << 20
MARK = "HEADSTART_TEST_NODE"
WORKING = (b"ray::there", b"ray::MapWorker")
"""How Ray names processes that do a job of headstart's."""


def namespaces_permitted() -> bool:
    """Whether ``ip netns`` works here, and is not declined by HEADSTART_TEST_PORTS=1."""
    if not shutil.which("ip") or os.environ.get("HEADSTART_TEST_PORTS"):
        return False
    name = f"hs-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made.returncode == 0


class TwoNodes:
    """The head, with one core; ``fresh`` starts the other, with one core, too. ``kind``: what parts them."""

    def __init__(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="hsn", dir="/tmp"))
        self.marks = [uuid.uuid4().hex for _ in range(2)]
        self.spaces = [f"hs{os.getpid()}{side}" for side in "ab"] if namespaces_permitted() else []
        self.kind = "network namespaces" if self.spaces else "ports"
        own, self.other = ("10.77.0.1", "10.77.0.2") if self.spaces else ("127.0.0.1", "127.0.0.2")
        port = 6379 if self.spaces else 20000 + os.getpid() % 10000
        self.address = f"{own}:{port}"
        self._wire()
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.place}"]
        self._start(0, [*head, f"--node-ip-address={own}"], os.environ.get("PYTHONPATH", ""))

    def _wire(self) -> None:
        if not self.spaces:
            return
        a, b = self.spaces
        for words in (
            f"netns add {a}", f"netns add {b}", f"link add {a} type veth peer name {b}", f"link set {a} netns {a}",
            f"link set {b} netns {b}", f"-n {a} addr add 10.77.0.1/24 dev {a}", f"-n {b} addr add 10.77.0.2/24 dev {b}",
            *(f"-n {ns} link set {card} up" for ns in (a, b) for card in (ns, "lo")),
            *(f"-n {ns} route add default dev {ns}" for ns in (a, b)),
        ):  # fmt: skip
            subprocess.run(["ip", *words.split()], check=True, capture_output=True)

    def _start(self, side: int, words: Sequence[str], path: str) -> None:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", f"--object-store-memory={STORE}"]
        env = {**os.environ, **QUIET, "PYTHONPATH": path, MARK: self.marks[side]}
        done = subprocess.run([*self.within(side), *ray, *words], env=env, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr

    def fresh(self, path: str) -> None:
        """The second node anew, with this PYTHONPATH."""
        self.kill(1)
        self._start(1, [f"--address={self.address}", f"--node-ip-address={self.other}"], path)

    def within(self, side: int = 0) -> list[str]:
        """What a command line begins with, to run on a node."""
        return ["ip", "netns", "exec", self.spaces[side]] if self.spaces else []

    def _processes(self, side: int) -> list[int]:
        """Those of a node: what ``ray start`` began has its environment."""
        mark, found = f"{MARK}={self.marks[side]}".encode(), list[int]()
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (place / "environ").read_bytes():
                    found.append(int(place.name))
        return found

    def busy(self) -> bool:
        """Whether a job runs on the second node."""
        for pid in self._processes(1):
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(WORKING):
                    return True
        return False

    def kill(self, side: int) -> None:
        """End every process of a node at once."""
        while found := self._processes(side):
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def close(self) -> None:
        for side in (1, 0):
            self.kill(side)
        for name in self.spaces:
            subprocess.run(["ip", "netns", "del", name], check=False)
        shutil.rmtree(self.place, ignore_errors=True)


def begin(nodes: TwoNodes, words: Sequence[object], log: Path) -> subprocess.Popen[bytes]:
    """``python WORDS`` on the first node: a process whose output goes to ``log`` (.out, .err)."""
    asked = [*nodes.within(), sys.executable, *map(str, words)]
    with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
        return subprocess.Popen(asked, stdout=out, stderr=err, env={**os.environ, **QUIET})


def kill_when_busy(nodes: TwoNodes, log: Path, process: subprocess.Popen[bytes], after: str) -> None:
    """End the second node while it has a job, once the process has said ``after``."""
    ends, err = time.monotonic() + 240, log.with_suffix(".err")
    while after not in err.read_text(encoding="utf-8") or not nodes.busy():
        assert process.poll() is None, err.read_text(encoding="utf-8")
        assert time.monotonic() < ends, err.read_text(encoding="utf-8")
        time.sleep(0.02)
    nodes.kill(1)
