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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstart.core import ray_cluster

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32,
}  # fmt: skip
STORE = 100 << 20
PORT = 6379


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

    def __init__(self, cpus: Sequence[int], others_path: str) -> None:
        self.names = [f"hs{os.getpid()}{side}" for side in "ab"]
        self.places = [Path(tempfile.mkdtemp(prefix="hsn", dir="/tmp")) for _ in self.names]
        self.address, self.other = f"10.77.0.1:{PORT}", "10.77.0.2"
        self._wire()
        head = ["--head", f"--port={PORT}", "--include-dashboard=false", "--node-ip-address=10.77.0.1"]
        self._start(0, [*head, f"--num-cpus={cpus[0]}"], os.environ.get("PYTHONPATH", ""))
        self._start(1, [f"--address={self.address}", f"--node-ip-address={self.other}", f"--num-cpus={cpus[1]}"],
                    others_path)  # fmt: skip

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

    def __init__(self, cpus: Sequence[int], others_path: str) -> None:
        ray_cluster._import_ray()
        from ray.cluster_utils import Cluster

        self.place, self._env = tempfile.mkdtemp(prefix="hsn", dir="/tmp"), dict(os.environ)
        os.environ.update(QUIET)
        how: dict[str, Any] = {"object_store_memory": STORE, "include_dashboard": False}
        self._cluster = Cluster()
        head = self._cluster.add_node(num_cpus=cpus[0], temp_dir=self.place, **how)
        os.environ["PYTHONPATH"] = others_path
        self._nodes = [head, self._cluster.add_node(num_cpus=cpus[1], **how)]
        os.environ["PYTHONPATH"] = self._env.get("PYTHONPATH", "")
        self.address, self.other = self._cluster.address, str(self._nodes[1].node_ip_address)

    def within(self, side: int = 0) -> list[str]:
        """What a command line begins with, to run on a node: nothing."""
        return []

    def kill(self, side: int) -> None:
        """End a node at once."""
        self._cluster.remove_node(self._nodes[side], allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()
        for name in QUIET:
            if name not in self._env:
                os.environ.pop(name, None)
        shutil.rmtree(self.place, ignore_errors=True)


def two_nodes(cpus: Sequence[int] = (1, 1), others_path: str | None = None) -> InNamespaces | InPorts:
    """Start them, with so many CPUs; ``others_path``: PYTHONPATH of the second one."""
    path = os.environ.get("PYTHONPATH", "") if others_path is None else others_path
    kind = InNamespaces if namespaces_permitted() and not os.environ.get("HEADSTART_TEST_PORTS") else InPorts
    return kind(cpus, path)


def begin(nodes: InNamespaces | InPorts, words: Sequence[object], env: Mapping[str, str], log: Path) -> Any:
    """The command line of headstart on the first node: a process whose output goes to ``log`` (.out, .err)."""
    asked = [*nodes.within(), sys.executable, "-m", "headstart", *map(str, words)]
    with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
        return subprocess.Popen(asked, stdout=out, stderr=err, env={**os.environ, **QUIET, **env})


def wait_for(text: str, file: Path, process: Any, seconds: float = 90) -> None:
    """Until a text is in a file that a process writes; fails where the process ends first."""
    ends = time.monotonic() + seconds
    while text not in file.read_text(encoding="utf-8"):
        assert process.poll() is None, file.read_text(encoding="utf-8")
        assert time.monotonic() < ends, file.read_text(encoding="utf-8")
        time.sleep(0.05)
