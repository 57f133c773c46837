"""A Ray cluster, or a Ray of this process alone. In: an address. Out: a connection, after which nothing is left; and
whether every node can do headstart's work.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from headstart._version import __version__
from headstart.core.extras import require
from headstart.core.text import brief, first_line, listed
from headstart.errors import OptionError, RunError

SECONDS_TO_ANSWER = 20
"""How long a cluster may take to say that it is one; Ray itself tries for minutes."""
SECONDS_TO_LOOK = 90
"""How long a node may take to start a process that imports headstart."""
STORE_BYTES = 256 << 20
"""Ray's shared memory where it is of this process alone: jobs and results are small, photos are read from files."""
PASSED_ON = ("HEADSTART_CACHE", "HEADSTART_DATA", "HEADSTART_MIRROR")
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Read by Ray when it is imported."""
_TOKEN = secrets.token_hex(32)
"""Of every Ray that this process begins: Ray reads a token once and keeps it."""
_SOCKETS = 30
"""Longest name of a temporary folder in which Ray's sockets still have room: a socket's path has 107 bytes on Linux and
103 on macOS."""


@contextmanager
def connected(address: str = "") -> Iterator[Any]:
    """The package ``ray``, connected: to ``HOST:PORT``; to the cluster that runs on this machine ("auto"); or, without
    an address, to what ``RAY_ADDRESS`` names, else to a Ray that starts here and ends with the block. A connection that
    the process has already is used, and kept.

    Raises OptionError where Ray is not installed, RunError where the cluster cannot be reached.
    """
    ray = _import_ray()
    if ray.is_initialized():
        yield ray
        return
    stack, named = ExitStack(), "" if address else "RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS", "")
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    place = None
    if not address:
        stack.enter_context(_own_token())
        has_room = os.name != "posix" or len(tempfile.gettempdir()) <= _SOCKETS
        place = tempfile.mkdtemp(prefix="hs-ray-", dir=None if has_room else "/tmp")
        how |= {"include_dashboard": False, "object_store_memory": STORE_BYTES, "_temp_dir": place}
    elif address != "auto":
        _refuse_unreachable(address, named)
    try:
        _start(ray, address or "local", how)
        yield ray
    finally:
        ray.shutdown()
        if place:
            shutil.rmtree(place, ignore_errors=True)
        stack.close()


@contextmanager
def _own_token() -> Iterator[None]:
    """A Ray of this process alone takes work from nobody else; Ray itself would leave such a token in the home folder,
    which later clusters on this machine would then ask for.
    """
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    if any(name in os.environ for name in names):
        yield
        return
    os.environ["RAY_AUTH_TOKEN"] = _TOKEN
    try:
        yield
    finally:
        for name in names:  # Ray sets the mode
            os.environ.pop(name, None)


def _import_ray() -> Any:
    """The package, told to send no statistics of its use and to print nothing. Raises OptionError."""
    require("This executor", ["ray"], "ray", "executor")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    return ray


def _start(ray: Any, address: str, how: Mapping[str, Any]) -> None:
    try:
        with _silent():
            ray.init(address=address, **how)
    except Exception as error:  # noqa: BLE001 - of any kind, from a version that differs to a full disk
        words = first_line(error, 300)
        problem = f"The Ray cluster {address!r} cannot be used: {words}."
        hint = "This machine has to be a node of the cluster; docs/guides/ray.md says how."
        if address == "local":
            problem = f"Ray cannot begin on this machine: {words}."
            hint = "Is it overloaded, or its disk or memory full? Without Ray it is `executor='local'`."
        raise RunError(problem, hint, option="executor") from None
    # Ray prints what happens to its processes, on standard output too, which is the result's; ``news`` tells the user.
    with suppress(ImportError, AttributeError):
        from ray._private import worker

        worker._worker_logs_enabled = False


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing on standard error, also from Ray's C++: it tells how much it will tell."""
    try:
        before = os.dup(2)
    except OSError:  # a program without a console
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _refuse_unreachable(address: str, named: str = "") -> None:
    """Raise RunError unless a cluster answers there: Ray itself would try for minutes, and print as long. ``named``:
    the variable that has the address, where the option has none.
    """
    hint = "Is it running there, and may this machine reach it? An address is HOST:PORT, as `ray start` told it."
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        asked = named or f"`executor='ray:{brief(address)}'`"
        problem = f"{asked}: {brief(address)!r} is no HOST:PORT of a cluster."
        raise OptionError(problem, "The port is 6379 unless another was chosen; auto is the cluster of this machine.",
                          option="executor")  # fmt: skip
    where = f"{address} ({named})" if named else address
    try:
        socket.create_connection((host, int(port)), 8).close()
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise RunError(f"No Ray cluster at {where}: {said}.", hint, option="executor") from None
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
    there = {**os.environ, "RAY_ADDRESS": address}
    try:
        limit = SECONDS_TO_ANSWER
        answer = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=there, check=False)
    except subprocess.TimeoutExpired:
        problem = f"What listens at {where} has not answered as a Ray cluster within {SECONDS_TO_ANSWER} s."
        raise RunError(problem, hint, option="executor") from None
    if answer.returncode:
        last = [*(answer.stderr or answer.stdout).strip().splitlines(), "it said nothing"][-2:][0]
        raise RunError(f"The Ray cluster at {where} cannot be used: {brief(last, 300)}.", hint, option="executor")


def alive(ray: Any) -> list[dict[str, Any]]:
    """Ray's description of each node that works."""
    return [node for node in ray.nodes() if node["Alive"]]


def surroundings() -> dict[str, str]:
    """What work elsewhere needs to find what it would find here: see ``settle``."""
    return {"cwd": os.getcwd(), **{name: os.environ[name] for name in PASSED_ON if name in os.environ}}


def settle(where: Mapping[str, str]) -> None:
    """Make a process of Ray's one in which relative paths mean what they mean to the caller, if it has that folder."""
    os.environ.update({name: value for name, value in where.items() if name in PASSED_ON})
    with suppress(OSError):
        os.chdir(where["cwd"])


def keep_to(threads: int, gpus: float) -> None:
    """Let a process of Ray's compute with so many threads; Ray shows it all GPUs, also if its job asked for none."""
    import torch

    torch.set_num_threads(threads)
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def check_nodes(ray: Any, nodes: Sequence[Mapping[str, Any]], paths: Sequence[str], folder: Path) -> None:
    """Raise RunError unless each node has this headstart, sees those ``paths`` that exist here, and ``folder``."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    seen_here = [path for path in dict.fromkeys(paths) if os.path.exists(path)]
    mark = folder / f".seen-by-all-{uuid.uuid4().hex[:12]}"
    mark.touch()
    try:
        look = ray.remote(look_around)
        asked = []
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = look.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
            asked.append((node, task.remote(surroundings(), seen_here, str(mark))))
        said = [(node, _answer(ray, node["NodeManagerAddress"], answer, folder)) for node, answer in asked]
        # A node may have ended meanwhile, which is no reason not to work on the others.
        left = {node["NodeID"] for node in alive(ray)} if any(words for _, words in said) else set()
        problems = [words for node, words in said if words and node["NodeID"] in left]
    finally:
        mark.unlink(missing_ok=True)
    if problems:
        hint = (
            "Every node needs this version of headstart, and the photos, weights and results at the same paths,"
            " on a shared file system; docs/guides/ray.md says how."
        )
        raise RunError("Ray's nodes cannot do this work:", hint, lines=problems)


def look_around(where: Mapping[str, str], paths: Sequence[str], mark: str) -> tuple[str, list[str], bool]:
    """On a node: (its version of headstart, the paths that it does not see, whether it sees the folder's mark)."""
    settle(where)
    return __version__, [path for path in paths if not os.path.exists(path)], os.path.exists(mark)


def _answer(ray: Any, name: str, answer: Any, folder: Path) -> str:
    """What is wrong with a node; empty where nothing is."""
    try:
        version, missing, sees = ray.get(answer, timeout=SECONDS_TO_LOOK)
    except Exception as error:  # noqa: BLE001 - Ray has many kinds
        return f"{name}: {trouble(error) or first_line(error, 300)}"
    if version != __version__:
        return f"{name} has headstart {version}; here it is {__version__}."
    if missing:
        return f"{name} does not see {listed(missing)}."
    return "" if sees else f"{name} does not see {folder}: it may have a folder of that name, but not this one."


def trouble(error: BaseException) -> str:
    """What an error of Ray's says of a node without headstart; empty for any other."""
    text = str(error)
    if "No module named 'headstart" in text:
        return "headstart is not installed there."
    missing = text.partition("No module named '")[2].partition("'")[0]
    return f"the package {missing} is not installed there." if missing else ""
