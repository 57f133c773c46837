"""``headstart serve`` as a process: it says where it is, answers, ends when told, and refuses what cannot be."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.core import extras

WITH_SIGNALS = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process at once, and asks nobody")


def post(address: str, content: bytes, name: str = "a.png") -> tuple[int, dict[str, Any]]:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode() + b'"\r\n\r\n'
    request = urllib.request.Request(
        address + "/predict", body + content + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@WITH_SIGNALS
def test_it_answers_and_ends_when_told(server: Any, photo_bytes: Callable[..., bytes]) -> None:
    assert "only this machine can connect" in server.said
    assert post(server.address, photo_bytes())[0] == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) in (0, -signal.SIGTERM)  # uvicorn ends by the signal that it was sent


def test_many_at_once_all_get_their_answer(server: Any, photo_bytes: Callable[..., bytes]) -> None:
    contents = [photo_bytes(seed=n) for n in range(8)]
    alone = [post(server.address, content)[1] for content in contents]
    found: list[tuple[int, int, Any]] = []

    def ask(n: int) -> None:
        found.extend((n, *post(server.address, contents[n])) for _ in range(5))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    for n, status, told in found:
        assert status == 200
        mine, theirs = told["predictions"][0], alone[n]["predictions"][0]
        assert mine["label"] == theirs["label"]
        assert mine["probability"] == pytest.approx(theirs["probability"], abs=1e-4)


@WITH_SIGNALS
def test_what_is_at_work_is_still_answered(server: Any, photo_bytes: Callable[..., bytes]) -> None:
    """An upload that is on its way when the server is told to stop."""
    host, port = server.address.removeprefix("http://").split(":")
    urllib.request.urlopen(
        server.address + "/healthz", timeout=60
    )  # the address is printed before the network is ready
    content = photo_bytes()
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head + content + b"\r\n--x--\r\n"
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:50])
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    connection.send(body[50:])
    response = connection.getresponse()
    assert response.status == 200
    assert json.load(response)["predictions"][0]["file"] == "a.png"
    server.process.wait(20)


def test_bytes_that_are_no_http_do_not_stop_it(server: Any, photo_bytes: Callable[..., bytes]) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    for junk in (b"\x00" * 100, b"GET", b"POST /predict HTTP/1.1\r\nContent-Length: nonsense\r\n\r\n", b"\r\n" * 1000):
        with socket.create_connection((host, int(port)), 5) as raw:
            raw.sendall(junk)
    assert post(server.address, photo_bytes())[0] == 200


def test_a_port_that_is_taken_and_a_run_that_is_none(
    cli: Callable[..., Any], refused: Callable[..., None], probe_run: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused(cli("serve", probe_run, "--port", taken.getsockname()[1]), "Cannot listen", "--port 0")
    refused(cli("serve", tmp_path, "--port", 0), "no model")
    refused(cli("serve", probe_run, "--port", 99999), "65535")
    refused(cli("serve", probe_run, "--host", "no.such.host.invalid", "--port", 0), "Cannot listen")


def test_others_are_let_in_only_when_told(start_server: Callable[..., Any]) -> None:
    assert "anyone" in start_server("--host", "0.0.0.0", "--port", "0").said


def test_a_missing_package_is_named(
    cli: Callable[..., Any], refused: Callable[..., None], probe_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "uvicorn" else object())
    refused(cli("serve", probe_run), "uvicorn", "headstart[serve]")
