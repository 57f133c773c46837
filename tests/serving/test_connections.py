"""Connections that send nothing whole are closed, and never keep others out. Against a real server's sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from helpers.loops import run_apart

from headstart.serving.connections import bounded_protocol
from headstart.serving.limits import Limits


async def answers(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body of a POST, then answers."""
    if scope["type"] != "http":
        return
    while scope["method"] == "POST" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def against(limits: Limits, attack: Any) -> Any:
    """The result of ``attack(port)`` while a server with these limits runs in the same loop."""

    async def run() -> Any:
        config = uvicorn.Config(answers, http=bounded_protocol(limits), ws="none", log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        with listening() as place:
            task = asyncio.create_task(server.serve(sockets=[place]))
            while not server.started:
                await asyncio.sleep(0.01)
            try:
                return await attack(place.getsockname()[1])
            finally:
                server.should_exit = True
                await task

    return run_apart(run())


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        place.listen(1024)
        yield place


GOOD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def opened(port: int, content: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(content)
    return reader, writer


async def served(port: int) -> bytes:
    reader, writer = await opened(port, GOOD)
    try:
        return await asyncio.wait_for(reader.readuntil(b"ok"), 5)
    finally:
        writer.close()


def test_half_sent_heads_are_closed_and_keep_no_one_out() -> None:
    """More of them than there may be connections: others are answered at once, and all are closed in the end."""

    async def attack(port: int) -> list[bytes]:
        half = [await opened(port, b"GET / HTTP/1.1\r\nHost: loc") for _ in range(60)]
        for _ in range(5):
            assert (await served(port)).startswith(b"HTTP/1.1 200")
        found = []
        for reader, _ in half:
            try:
                found.append(await asyncio.wait_for(reader.read(), 5))
            except ConnectionError:
                found.append(b"")
        return found

    assert against(Limits(connections=20, head_seconds=1), attack) == [b""] * 60


@pytest.mark.parametrize("first", [b"", GOOD], ids=["new", "after a request"])
def test_bytes_that_trickle_in_do_not_prolong_it(first: bytes) -> None:
    async def attack(port: int) -> int:
        reader, writer = await opened(port, first)
        if first:
            await reader.readuntil(b"ok")
        sent = 0
        try:
            for byte in b"GET / HTTP/1.1\r\nHost: " + b"x" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                sent += 1
                await asyncio.sleep(0.05)
                if reader.at_eof():
                    break
        except ConnectionError:
            pass
        return sent

    assert against(Limits(head_seconds=0.5), attack) < 100


def test_a_body_that_never_ends_is_cut_off() -> None:
    async def attack(port: int) -> bool:
        reader, writer = await opened(port, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(200):
            writer.write(b"x")
            await asyncio.sleep(0.05)
            if reader.at_eof() or writer.transport.is_closing():
                return True
        return False

    assert against(Limits(seconds=0.5, head_seconds=0.5), attack)


def test_what_is_no_http_gets_json() -> None:
    async def attack(port: int) -> bytes:
        reader, _ = await opened(port, b"\x16\x03\x01 not http\r\n\r\n")
        return await reader.read()

    head, _, body = against(Limits(), attack).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/json" in head
    assert list(json.loads(body)) == ["error"]


def test_the_server_uses_it(server: Any, tmp_path: Path) -> None:
    """Of ``headstart serve``: JSON for what is no HTTP, and no line in its log for each."""
    host, port = server.address.removeprefix("http://").split(":")
    for _ in range(50):
        with socket.create_connection((host, int(port))) as place:
            place.sendall(b"nothing\r\n\r\n")
            place.shutdown(socket.SHUT_WR)
            found = b"".join(iter(lambda: place.recv(4096), b""))
        assert b'{"error"' in found
    server.process.terminate()
    assert len(server.process.communicate(timeout=60)[1]) < 500
