"""A Ray cluster of two nodes on this machine, each in a network namespace of its own where that is permitted (root on
Linux); else two nodes of ``ray.cluster_utils``, which differ in ports alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstart.core import ray_cluster

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32,
}  # fmt: skip
STORE = 100 << 20
PORT = 6379
WORKING = (b"ray::there", b"ray::MapWorker")
"""How Ray names processes that do a job of headstart's."""


def namespaces_permitted() -> bool:
    """Whether ``ip netns`` works here."""
    if not shutil.which("ip"):
        return False
    name = f"hs-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made.returncode == 0


class InNamespaces:
    """Two ``ray start``: the head and another node, joined by a pair of virtual network cards."""

    kind = "network namespaces"

    def __init__(self, cpus: Sequence[int]) -> None:
        self.names = [f"hs{os.getpid()}{side}" for side in "ab"]
        self.places = [Path(tempfile.mkdtemp(prefix="hsn", dir="/tmp")) for _ in self.names]
        self.address, self.other = f"10.77.0.1:{PORT}", "10.77.0.2"
        self._wire()
        head = ["--head", f"--port={PORT}", "--include-dashboard=false", "--node-ip-address=10.77.0.1"]
        self._start(0, [*head, f"--num-cpus={cpus[0]}"], os.environ.get("PYTHONPATH", ""))
        self._joining = [f"--address={self.address}", f"--node-ip-address={self.other}", f"--num-cpus={cpus[1]}"]

    def _wire(self) -> None:
        a, b = self.names
        for words in (
            f"netns add {a}", f"netns add {b}", f"link add {a} type veth peer name {b}", f"link set {a} netns {a}",
            f"link set {b} netns {b}", f"-n {a} addr add 10.77.0.1/24 dev {a}", f"-n {b} addr add 10.77.0.2/24 dev {b}",
            *(f"-n {ns} link set {card} up" for ns in (a, b) for card in (ns, "lo")),
            *(f"-n {ns} route add default dev {ns}" for ns in (a, b)),
        ):  # fmt: skip
            subprocess.run(["ip", *words.split()], check=True, capture_output=True)

    def _start(self, side: int, words: Sequence[str], path: str) -> None:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats"]
        store = [f"--object-store-memory={STORE}", f"--temp-dir={self.places[side]}"]
        asked = [*self.within(side), *ray, *words, *(store if side == 0 else store[:1])]
        env = {**os.environ, **QUIET, "PYTHONPATH": path}
        subprocess.run(asked, env=env, check=True, capture_output=True, timeout=60)

    def within(self, side: int = 0) -> list[str]:
        """What a command line begins with, to run on a node."""
        return ["ip", "netns", "exec", self.names[side]]

    def fresh(self, path: str) -> None:
        """The second node anew, with this PYTHONPATH."""
        self.kill(1)
        self._start(1, self._joining, path)

    def busy(self) -> bool:
        """Whether a job runs on the second node."""
        found = subprocess.run(["ip", "netns", "pids", self.names[1]], capture_output=True, text=True, check=False)
        for pid in found.stdout.split():
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(WORKING):
                    return True
        return False

    def kill(self, side: int) -> None:
        """End every process of a node at once."""
        found = subprocess.run(["ip", "netns", "pids", self.names[side]], capture_output=True, text=True, check=False)
        for pid in map(int, found.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for side, name in enumerate(self.names):
            for _ in range(2):  # a process may have begun another one meanwhile
                self.kill(side)
            subprocess.run(["ip", "netns", "del", name], check=False)
            shutil.rmtree(self.places[side], ignore_errors=True)


class InPorts:
    """Two nodes of one address."""

    kind = "ports"

    def __init__(self, cpus: Sequence[int]) -> None:
        ray_cluster._import_ray()
        from ray.cluster_utils import Cluster

        self.place, self._env = tempfile.mkdtemp(prefix="hsn", dir="/tmp"), dict(os.environ)
        os.environ.update(QUIET)
        how: dict[str, Any] = {"object_store_memory": STORE, "include_dashboard": False}
        self._cluster = Cluster()
        head = self._cluster.add_node(num_cpus=cpus[0], temp_dir=self.place, **how)
        self._nodes, self._second = [head], {"num_cpus": cpus[1], **how}
        self.address, self.other = self._cluster.address, str(head.node_ip_address)

    def fresh(self, path: str) -> None:
        """The second node anew, with this PYTHONPATH."""
        if len(self._nodes) > 1:
            self.kill(1)
        os.environ["PYTHONPATH"] = path
        self._nodes.append(self._cluster.add_node(**self._second))
        os.environ["PYTHONPATH"] = self._env.get("PYTHONPATH", "")

    def busy(self) -> bool:
        """Taken for granted: processes of the two nodes look alike."""
        return True

    def within(self, side: int = 0) -> list[str]:
        """What a command line begins with, to run on a node: nothing."""
        return []

    def kill(self, side: int) -> None:
        """End a node at once."""
        self._cluster.remove_node(self._nodes.pop(side), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()
        for name in QUIET:
            if name not in self._env:
                os.environ.pop(name, None)
        shutil.rmtree(self.place, ignore_errors=True)


def one_node_of_two(cpus: Sequence[int] = (1, 1)) -> InNamespaces | InPorts:
    """Start the head; ``fresh`` starts the other. HEADSTART_TEST_PORTS=1 declines namespaces."""
    kind = InNamespaces if namespaces_permitted() and not os.environ.get("HEADSTART_TEST_PORTS") else InPorts
    return kind(cpus)


def begin(nodes: InNamespaces | InPorts, words: Sequence[object], log: Path) -> subprocess.Popen[bytes]:
    """``python WORDS`` on the first node: a process whose output goes to ``log`` (.out, .err)."""
    asked = [*nodes.within(), sys.executable, *map(str, words)]
    with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
        return subprocess.Popen(asked, stdout=out, stderr=err, env={**os.environ, **QUIET})


def kill_when_busy(nodes: InNamespaces | InPorts, log: Path, process: subprocess.Popen[bytes], after: str) -> None:
    """End the second node while it has a job, once the process has said ``after``."""
    ends, err = time.monotonic() + 240, log.with_suffix(".err")
    while after not in err.read_text(encoding="utf-8") or not nodes.busy():
        assert process.poll() is None, err.read_text(encoding="utf-8")
        assert time.monotonic() < ends, err.read_text(encoding="utf-8")
        time.sleep(0.02)
    nodes.kill(1)
