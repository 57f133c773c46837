"""API keys: where they are read, and what a server with keys answers to whom."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import OptionError
from headstart.serving import keys
from headstart.serving.keys import read_keys

KEY, OLD = "a-key-of-thirty-characters-x30", "an-older-key-that-is-valid-still"
FREE = ("/", "/page.css", "/page.js", "/healthz", "/docs", "/openapi.json")
CLOSED = ("/model", "/metrics", "/nothing", "/healthz/", "/PAGE.js")


@pytest.fixture
def locked(probe_run: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``locked(origins=[...])``: a client of a server with two keys."""
    from starlette.testclient import TestClient

    from headstart.serving.server import application

    (tmp_path / "keys").write_text(f"{KEY}\n{OLD}\n", encoding="utf-8")
    with ExitStack() as stack:

        def make(**options: Any) -> Any:
            app = application(probe_run, device="cpu", api_key=str(tmp_path / "keys"), **options)
            return stack.enter_context(TestClient(app, base_url="http://localhost"))

        yield make


def test_without_a_key_there_is_health_and_the_empty_page(
    locked: Callable[..., Any], photo_bytes: Callable[..., bytes]
) -> None:
    server = locked()
    for path in FREE:
        answer = server.get(path)
        assert answer.status_code == server.head(path).status_code == 200, path
        assert "owl" not in answer.text  # a class of the model
    for path in CLOSED:
        answer = server.get(path)
        assert (answer.status_code, list(answer.json())) == (401, ["error"]), path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert server.head(path).status_code == 401, path
    for path in ("/predict", "/explain"):
        assert server.post(path, files={"files": photo_bytes()}).status_code == 401


def test_with_a_key_everything_is_answered(locked: Callable[..., Any], photo_bytes: Callable[..., bytes]) -> None:
    server, headers = locked(), {"X-API-Key": KEY}
    for other in ({"x-api-key": OLD}, {"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {OLD}"}):
        assert server.get("/model", headers=other).status_code == 200, other
    assert server.post("/predict", files={"files": photo_bytes()}, headers=headers).status_code == 200
    assert server.get("/model", headers=headers).json()["classes"] == ["cat", "dog", "owl"]
    assert server.get("/nothing", headers=headers).status_code == 404
    assert 'path="/model",status="200"' in server.get("/metrics", headers=headers).text


NO_KEYS: list[dict[str, Any]] = [
    {"X-API-Key": ""}, {"X-API-Key": KEY[:-1]}, {"X-API-Key": KEY + "x"}, {"X-API-Key": KEY.upper()},
    {"X-API-Key": f"{KEY}\t{OLD}"}, {"X-API-Key": b"\xe4\xff" * 9}, {"Authorization": KEY},
    {"Authorization": "Bearer"}, {"Authorization": f"Basic {KEY}"}, {"Cookie": f"X-API-Key={KEY}"},
]  # fmt: skip


def test_what_is_no_key_is_refused(locked: Callable[..., Any]) -> None:
    server = locked()
    for headers in NO_KEYS:
        assert server.get("/model", headers=headers).status_code == 401, headers


def test_a_key_in_the_address_is_none(locked: Callable[..., Any]) -> None:
    """Addresses end up in the logs of proxies."""
    assert locked().get(f"/model?key={KEY}&api_key={KEY}&X-API-Key={KEY}").status_code == 401


def test_each_key_is_compared_in_constant_time(locked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(keys, "compare_digest", compare)
    server = locked()
    for given in ("x", KEY):
        compared.clear()
        server.get("/model", headers={"X-API-Key": given})
        assert len(compared) == 2  # the second too, where the first fits
        assert {len(part) for pair in compared for part in pair} == {32}  # whatever the key's length


def test_a_page_of_an_allowed_site_may_send_its_key(locked: Callable[..., Any]) -> None:
    server = locked(origins=["https://app.example"])
    origin = {"origin": "https://app.example"}
    asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    answer = server.options("/predict", headers=asked)
    assert answer.status_code == 200
    assert "x-api-key" in answer.headers["access-control-allow-headers"].lower()
    refusal = server.post("/predict", headers=origin)
    assert (refusal.status_code, refusal.headers["access-control-allow-origin"]) == (401, "https://app.example")
    assert server.post("/predict", headers={**origin, "X-API-Key": KEY}).status_code == 415


def test_below_a_prefix_too(locked: Callable[..., Any]) -> None:
    server = locked(root_path="/pets")
    assert server.get("/pets/healthz").status_code == server.get("/pets/").status_code == 200
    assert server.get("/pets/model").status_code == server.get("/pets/healthz/../model").status_code == 401
    assert server.get("/pets/model", headers={"X-API-Key": KEY}).status_code == 200


def test_keys_come_from_a_variable_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETS_KEY", f" {KEY}\n")
    assert read_keys("env:PETS_KEY") == (KEY,)
    (tmp_path / "keys").write_bytes(f"\ufeff{KEY}\r\n\r\n{OLD}".encode())
    assert read_keys(str(tmp_path / "keys")) == (KEY, OLD)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no key"), (b" \n\n", "no key"), (b"short", "key 1 has 5 characters"),
        (KEY.encode() + b"\nnot so long", "key 2 has characters"), (b"key with spaces in it all over", "characters"),
        ("schlüssel-schlüssel-schlüssel".encode(), "characters"), (b"\xff\xd8\x00" * 20, "characters"),
        (b"x" * 70_000, "more than 64 kB"), (None, "no file"),
    ],
)  # fmt: skip
def test_a_file_of_bad_keys_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OptionError, match=words) as refusal:
        read_keys(str(path))
    assert content is None or len(content) < 5 or content.decode("latin-1") not in str(refusal.value)


def test_the_command_line_never_shows_a_key(
    cli: Callable[..., Any], refused: Callable[..., None], probe_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = cli("serve", probe_run, "--port", 0, "--api-key", KEY)  # the key itself, by mistake
    refused(answer, "--api-key", "not the key but the place of it")
    assert KEY not in str(answer)
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    refused(cli("serve", probe_run, "--port", 0, "--api-key", "env:NO_SUCH_KEY"), "--api-key", "not set")
    refused(cli("serve", probe_run, "--port", 0, "--api-key", ""), "--api-key")


def test_it_says_that_a_key_is_needed(start_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETS_KEY", KEY)
    said = start_server("--port", "0", "--host", "0.0.0.0", "--api-key", "env:PETS_KEY").said
    assert "needs a key" in said
    assert KEY not in said
