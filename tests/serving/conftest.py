"""A server on the small probe run, within this process and as a process of its own."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.serving.limits import Limits


@pytest.fixture
def client(probe_run: Path) -> Iterator[Callable[..., Any]]:
    """``client(files=3, ...)``: a client of a server with these limits; ``run``: of another run than ``probe_run``."""
    from starlette.testclient import TestClient

    from headstart.serving.server import application

    opened = []

    def make(run: Path = probe_run, **limits: Any) -> Any:
        app = application(run, device="cpu", limits=Limits(**limits))
        opened.append(TestClient(app, base_url="http://localhost", raise_server_exceptions=False).__enter__())
        return opened[-1]

    yield make
    for each in opened:
        each.__exit__(None, None, None)


@pytest.fixture(scope="session")
def photo_bytes() -> Callable[..., bytes]:
    """``photo_bytes(size=(40, 30), kind="PNG")``: a file of noise."""

    def make(size: tuple[int, int] = (40, 30), kind: str = "PNG", seed: int = 0) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, kind)
        return out.getvalue()

    return make


class Server:
    """A process of ``headstart serve``; ``address`` as it printed it."""

    def __init__(self, run: Path, *words: str) -> None:
        command = [sys.executable, "-m", "headstart", "serve", str(run), "--device", "cpu", *words]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
        )
        assert self.process.stderr
        said = self.process.stderr.readline()
        found = re.search(r"http://[^\s]+", said)
        assert found, said + self.process.stderr.read()
        self.said, self.address = said, found[0]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def start_server(probe_run: Path) -> Iterator[Callable[..., Server]]:
    """``start_server("--port", "0")``: a server's process, of ``run``; it is stopped after the test."""
    started: list[Server] = []

    def start(*words: str, run: Path = probe_run) -> Server:
        started.append(Server(run, *words))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """One on a free port."""
    return start_server("--port", "0")
