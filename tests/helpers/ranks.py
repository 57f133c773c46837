"""Several processes of one command, as torchrun starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

SECONDS = 300


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start(
    words: Sequence[object], ranks: Sequence[int], size: int, port: int, more: Mapping[str, str] | None = None
) -> list[subprocess.Popen[str]]:
    """These ranks of ``size`` processes of ``python -m headstart``, or of a script that ``words`` begin with."""
    module = () if str(words[0]).endswith(".py") else ("-m", "headstart")
    command = [sys.executable, *module, *map(str, words)]
    found = []
    for rank in ranks:
        variables = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment = {"HEADSTART_WAIT": "100", **os.environ, **variables, **place, **(more or {})}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        found.append(subprocess.Popen(command, env=environment, text=True, **pipes))  # type: ignore[call-overload]
    return found


def ended(processes: Sequence[subprocess.Popen[str]]) -> list[Ended]:
    """How they ended; what does not end is killed, and fails."""
    try:
        said = [one.communicate(timeout=SECONDS) for one in processes]
    finally:
        for one in processes:
            one.kill()
    return [Ended(one.returncode, *texts) for one, texts in zip(processes, said, strict=True)]


def together(words: Sequence[object], size: int, more: Mapping[str, str] | None = None) -> list[Ended]:
    """All of them, to their end."""
    return ended(start(words, range(size), size, free_port(), more))
