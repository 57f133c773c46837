"""Below a path of a proxy, whether the proxy takes the path away or not."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart.serving.guard import HEADERS


@pytest.fixture
def pets(probe_run: Path) -> Iterator[Any]:
    from starlette.testclient import TestClient

    from headstart.serving.server import application

    app = application(probe_run, device="cpu", root_path="/my/pets/")
    with TestClient(app, base_url="http://localhost", follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize("prefix", ["", "/my/pets"])
def test_every_path_works_with_and_without_the_prefix(
    pets: Any, photo_bytes: Callable[..., bytes], prefix: str
) -> None:
    for path in ("/", "/page.css", "/page.js", "/model", "/healthz", "/metrics", "/docs", "/openapi.json"):
        assert pets.get(prefix + path).status_code == 200, path
        assert pets.head(prefix + path).status_code == 200, path
    assert pets.post(f"{prefix}/predict", files={"files": photo_bytes()}).status_code == 200
    assert pets.get(f"{prefix}/my/pets/model").status_code == (404 if prefix else 200)
    assert 'headstart_requests_total{path="/predict",status="200"} 1.0' in pets.get("/metrics").text


def test_without_its_last_slash_links_would_lead_out(pets: Any) -> None:
    answer = pets.get("/my/pets")
    assert (answer.status_code, answer.headers["location"]) == (308, "/my/pets/")
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    for path in ("/my/petshop", "/my", "/my/pets/model/", "/model/"):
        assert pets.get(path).status_code == 404, path


def test_programs_are_told_the_prefix(pets: Any, client: Callable[..., Any]) -> None:
    assert pets.get("/openapi.json").json()["servers"] == [{"url": "/my/pets"}]
    assert "http://127.0.0.1:8000/my/pets/predict" in pets.get("/docs").text
    plain = client()
    assert "servers" not in plain.get("/openapi.json").json()
    assert "http://127.0.0.1:8000/predict" in plain.get("/docs").text


def test_the_guard_stands_before_the_prefix(pets: Any) -> None:
    assert pets.get("/my/pets/model", headers={"host": "evil.example"}).status_code == 403


def test_the_command_line_takes_it(start_server: Callable[..., Any]) -> None:
    address = start_server("--port", "0", "--root-path", "/pets").address
    assert address.endswith("/pets/")
    with urllib.request.urlopen(f"{address}model", timeout=60) as answer:
        assert json.load(answer)["classes"] == ["cat", "dog", "owl"]


@pytest.mark.parametrize(
    "path", ["pets", "https://a.example/pets", "//evil.example", "/a/../b", "/a b", "/a?b", "/ä", "/.", "/a%2fb"]
)
def test_what_is_no_path_is_refused(
    cli: Callable[..., Any], refused: Callable[..., None], probe_run: Path, path: str
) -> None:
    refused(cli("serve", probe_run, "--port", 0, "--root-path", path), "--root-path", "/pets")
