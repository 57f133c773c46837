"""Only who names the server rightly is answered, and a page of another site cannot use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.serving.guard import HEADERS
from headstart.serving.limits import Limits


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "[::1]:8000", "192.168.1.7", "localhost:80", "a.localhost"])
def test_addresses_and_own_names_are_answered(client: Callable[..., Any], host: str) -> None:
    assert client().get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "1.2.3.4@evil.example"],
)
def test_other_names_are_not(client: Callable[..., Any], host: str) -> None:
    """DNS rebinding: the browser of a page of evil.example asks for evil.example, wherever that name points."""
    answer = client().get("/model", headers={"host": host})
    assert (answer.status_code, list(answer.json())) == (403, ["error"])


def test_a_name_can_be_allowed(probe_run: Path) -> None:
    from starlette.testclient import TestClient

    from headstart.serving.server import application

    app = application(probe_run, device="cpu", hosts=["Photos.example"], limits=Limits())
    with TestClient(app, base_url="http://photos.example") as client:
        assert client.get("/healthz").status_code == 200
        assert client.post("/predict", headers={"origin": "https://photos.example"}).status_code == 415
        assert client.get("/healthz", headers={"host": "other.example"}).status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 415), ("http://localhost", 415), ("http://localhost:3000", 403), ("https://evil.example", 403),
        ("null", 403), ("http://[", 403), ("file://", 403),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_a_page_of_another_site_cannot_post(
    client: Callable[..., Any], path: str, origin: str | None, status: int
) -> None:
    """415: it came through, and is no form."""
    answer = client().post(path, headers={} if origin is None else {"origin": origin})
    assert answer.status_code == status, answer.text


def test_every_response_has_the_security_headers(client: Callable[..., Any], monkeypatch: Any) -> None:
    server = client()
    paths = ["/", "/page.js", "/docs", "/openapi.json", "/model", "/metrics", "/nothing"]
    answers = [*map(server.get, paths), server.post("/predict"), server.get("/", headers={"host": "evil.example"})]
    monkeypatch.setattr("headstart.serving.app.read_uploads", lambda *_: 1 / 0)
    answers.append(server.post("/predict"))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 200, 404, 415, 403, 500]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    for word in ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "object-src 'none'"):
        assert word in HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize(
    "charset", ["utf-16", "rot13", "hex", "punycode", "idna", "unicode_escape", "undefined", "x" * 999]
)
def test_a_charset_of_the_clients_choice_is_ignored(
    client: Callable[..., Any], photo_bytes: Callable[..., bytes], charset: str
) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    answer = client().post("/predict", content=head + photo_bytes() + b"\r\n--x--\r\n", headers={"content-type": kind})
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["path"] == "a.png"


def test_a_site_can_be_allowed(probe_run: Path) -> None:
    from starlette.testclient import TestClient

    from headstart.serving.server import application

    app = application(probe_run, device="cpu", origins=["https://app.example"], limits=Limits())
    with TestClient(app, base_url="http://localhost") as client:
        asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
        assert client.options("/predict", headers=asked).headers["access-control-allow-origin"] == "https://app.example"
        answer = client.post("/predict", headers={"origin": "https://app.example"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (415, "https://app.example")
        assert client.post("/predict", headers={"origin": "https://other.example"}).status_code == 403


def test_head_is_get_without_its_body(client: Callable[..., Any]) -> None:
    server = client()
    for path in ("/healthz", "/", "/model"):
        head, whole = server.head(path), server.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
    assert server.head("/nothing").status_code == 404


@pytest.mark.parametrize(
    ("name", "shown"),
    [("utf-8''K%C3%A4fer.jpg", "Käfer.jpg"), ("UTF-8'de'a%22b.jpg", "a_b.jpg"), ("utf-8''%FF.jpg", "\ufffd.jpg")],
)
def test_a_name_in_the_extended_form_is_a_file(
    client: Callable[..., Any], photo_bytes: Callable[..., bytes], name: str, shown: str
) -> None:
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename*={name}\r\n\r\n'.encode()
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = client().post("/predict", content=head + photo_bytes() + b"\r\n--x--\r\n", headers=kind)
    assert answer.json()["predictions"][0]["path"] == shown


def test_the_page_works_below_a_prefix(client: Callable[..., Any]) -> None:
    """Behind a proxy that serves it under /pets/: every link is relative."""
    import re

    server = client()
    for path in ("/", "/docs"):
        links = re.findall(r'(?:href|src)="([^"]*)"', server.get(path).text)
        assert links
        assert not [link for link in links if link.startswith("/") or link.startswith("http")]
    assert not re.findall(r'(?:fetch|send)\(["`]/', server.get("/page.js").text)
