"""The HTTP interface: answers, and one sentence for everything that is none."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import headstart as hs
from headstart.serving.uploads import _short

Client = Callable[..., Any]


def sent(*contents: bytes, name: str = "photo.png") -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (name, content)) for content in contents]


def test_answers_are_those_of_predict(client: Client, probe_run: Path, photos: Path) -> None:
    paths = sorted(photos.rglob("*.png"))[:7]
    wanted = list(hs.predict(probe_run, paths))
    response = client().post("/predict", files=[("files", (p.name, p.read_bytes())) for p in paths])
    assert response.status_code == 200
    found = response.json()["predictions"]
    assert [f["file"] for f in found] == [p.name for p in paths]
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine["label"] == theirs.label
        assert mine["confidence"] == mine["probability"] == pytest.approx(theirs.confidence, abs=1e-4)
        assert mine["path"] == mine["file"]
        assert list(mine["probabilities"].values()) == pytest.approx(list(theirs.probabilities), abs=1e-4)
        assert list(mine["probabilities"]) == ["cat", "dog", "owl"]


def test_photos_unlike_the_training_photos_are_marked(
    client: Client, sure_run: Path, photo_bytes: Callable[..., bytes]
) -> None:
    usual = (sure_run.parent / "photos" / "cat" / "cat_00.png").read_bytes()
    server = client(run=sure_run)
    found = server.post("/predict", files=sent(photo_bytes(), usual)).json()["predictions"]
    assert [one["unknown"] for one in found] == [True, False]
    assert found[0]["distance"] > 1 > found[1]["distance"]
    assert found[0]["label"] in ("cat", "dog", "owl")
    assert "headstart_unknown_photos_total 1.0" in server.get("/metrics").text
    schema = server.get("/openapi.json").json()["components"]["schemas"]["Named"]
    assert {"unknown", "distance"} <= set(schema["required"])
    assert "out of distribution" in schema["properties"]["unknown"]["description"]
    assert "boolean or null" in server.get("/docs").text


def test_a_model_that_cannot_tell_says_null(client: Client, photo_bytes: Callable[..., bytes]) -> None:
    (found,) = client().post("/predict", files=sent(photo_bytes())).json()["predictions"]
    assert found["unknown"] is None
    assert found["distance"] is None


def test_the_model_tells_of_itself(client: Client, probe_run: Path) -> None:
    found = client().get("/model").json()
    assert found["classes"] == ["cat", "dog", "owl"]
    assert found["figures"]["test"]["photos"] == 6
    assert found["provenance"]["strategy"] == "probe"
    assert found["explains"] is True
    assert "command" not in found["provenance"]  # it names folders of this machine


def test_health_metrics_documents_and_the_page(client: Client, photo_bytes: Callable[..., bytes]) -> None:
    server = client()
    assert server.get("/healthz").json() == {"status": "ok"}
    server.post("/predict", files=sent(photo_bytes(), photo_bytes(seed=1)))
    server.post("/predict", files=sent(b"nothing"))
    server.get("/made-up/../path")
    text = server.get("/metrics").text
    assert 'headstart_requests_total{path="/predict",status="200"} 1.0' in text
    assert 'headstart_requests_total{path="/predict",status="422"} 1.0' in text
    assert 'path="other",status="404"' in text
    assert "headstart_batch_photos_count" in text
    api = server.get("/openapi.json").json()
    assert set(api["paths"]) == {"/predict", "/explain", "/model", "/healthz", "/metrics"}
    assert "multipart/form-data" in api["paths"]["/predict"]["post"]["requestBody"]["content"]
    for path in ("/", "/docs", "/page.css", "/page.js"):
        page = server.get(path)
        assert page.status_code == 200
        assert "http://" not in page.text.replace("http://127.0.0.1:8000", "")
        assert "https://" not in page.text
    assert "default-src 'self'" in server.get("/").headers["content-security-policy"]


def test_where_it_looked_is_a_picture(client: Client, photo_bytes: Callable[..., bytes]) -> None:
    server = client()
    response = server.post("/explain?label=dog", files=sent(photo_bytes()))
    assert response.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(response.content)).size == (32, 32)
    assert server.post("/explain", files=sent(photo_bytes())).status_code == 200
    assert "no class" in server.post("/explain?label=fox", files=sent(photo_bytes())).json()["error"]
    assert server.post("/explain", files=sent(photo_bytes(), photo_bytes())).status_code == 422


MANY = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415), (b"", "", 415), (b"abc", "multipart/form-data", 400),
        (b"", MANY, 422), (b"--x--\r\n", MANY, 422), (PART + b"half a photo", MANY, 422),
        (PART + b"text\r\n--x--\r\n", MANY, 422), (PART + b"\r\n--x--\r\n", MANY, 422),
        (b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nword\r\n--x--\r\n', MANY, 422),
        (PART.replace(b'"files"', b'"photos"') + b"text\r\n--x--\r\n", MANY, 422),
        (b"--x\r\n\r\n\r\n--x--\r\n", MANY, 400), (b"\xff\xfe" * 100, MANY, 400),
        (b"--x\r\nContent-Disposition: nonsense\r\n\r\na\r\n--x--\r\n", MANY, 400),
        (PART + b"a\r\n--x--\r\n", "multipart/form-data; boundary=" + "y" * 500, 400),
        (PART + b"a\r\n--x--\r\n", "multipart/form-data; charset=klingon; boundary=x", 422),
    ],
)  # fmt: skip
def test_what_is_no_upload_gets_one_sentence(client: Client, content: bytes, kind: str, status: int) -> None:
    response = client().post("/predict", content=content, headers={"Content-Type": kind})
    assert response.status_code == status, response.text
    assert response.json()["error"].endswith(".")


def test_bad_photos_are_all_named(
    client: Client,
    photo_bytes: Callable[..., bytes],
    tmp_path: Path,
    bad_files: Callable[[Path], dict[str, str | None]],
) -> None:
    expected = bad_files(tmp_path / "bad")
    server = client(pixels=1_000_000)
    for name, reason in expected.items():
        response = server.post("/predict", files=sent((tmp_path / "bad" / name).read_bytes(), name=name))
        assert response.status_code == (422 if reason else 200), (name, response.text)
        if reason:
            assert reason in response.json()["error"]
    several = [("files", ("one.png", b"1")), ("files", ("good.png", photo_bytes())), ("files", ("two.png", b"2"))]
    told = server.post("/predict", files=several).json()
    assert set(told["files"]) == {"one.png", "two.png"}
    large = server.post("/predict", files=sent(photo_bytes((1200, 1000))))
    assert "too large: 1200 x 1000" in large.json()["error"]


def test_limits(client: Client, photo_bytes: Callable[..., bytes]) -> None:
    server = client(files=3, file_mb=0.01, request_mb=0.02)
    small = photo_bytes((8, 8))
    assert server.post("/predict", files=sent(small, small, small)).status_code == 200
    many = server.post("/predict", files=sent(*[small] * 4))
    assert (many.status_code, many.json()["error"]) == (413, "At most 3 files in a request.")
    assert server.post("/predict", files=sent(b"x" * 11_000)).status_code == 413
    assert server.post("/predict", files=sent(b"x" * 30_000)).status_code == 413
    chunks = iter([PART, *[b"x" * 1000] * 30])  # without a length beforehand
    assert server.post("/predict", content=chunks, headers={"Content-Type": MANY}).status_code == 413


def test_too_busy_is_429_and_says_when(client: Client, photo_bytes: Callable[..., bytes]) -> None:
    for limits in ({"requests": 0}, {"waiting": 0}, {"memory_mb": 0.0001}):
        response = client(**limits).post("/predict", files=sent(photo_bytes()))
        assert response.status_code == 429, limits
        assert response.headers["Retry-After"] == "1"
        assert response.json()["error"].startswith("Too busy")


def test_memory_is_given_back(client: Client, photo_bytes: Callable[..., bytes]) -> None:
    server = client(memory_mb=0.05)
    for _ in range(30):
        assert server.post("/predict", files=sent(photo_bytes())).status_code == 200
        assert server.post("/predict", files=sent(b"bad")).status_code == 422


def test_nothing_is_written_to_disk(
    client: Client, photo_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was made")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    large = photo_bytes((1200, 1000))
    assert len(large) > 3_000_000
    assert client().post("/predict", files=sent(large)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404), ("GET", "/../../etc/passwd", 404), ("GET", "/page.js/../../app.py", 404),
        ("GET", "/predict", 405), ("POST", "/model", 405), ("DELETE", "/predict", 405), ("GET", "/%00", 404),
    ],
)  # fmt: skip
def test_other_requests(client: Client, method: str, path: str, status: int) -> None:
    response = client().request(method, path)
    assert response.status_code == status
    assert response.json()["error"]


def test_a_name_is_given_back_as_it_came(client: Client, photo_bytes: Callable[..., bytes]) -> None:
    for name in ("../../../etc/passwd", "größe 写真.png", "<script>alert(1)</script>", "a" * 1000):
        found = client().post("/predict", files=sent(photo_bytes(), name=name)).json()
        assert found["predictions"][0]["file"] in (name[:200], name.encode().decode("latin-1")[:200])


def test_a_defect_is_a_sentence_too(client: Client, photo_bytes: Callable[..., bytes], monkeypatch: Any) -> None:
    from headstart.serving.service import Service

    server = client()

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Service, "predict", broken)
    response = server.post("/predict", files=sent(photo_bytes()))
    assert response.status_code == 500
    assert "defect" in response.json()["error"]


@pytest.mark.parametrize(
    ("name", "short"),
    [("a.jpg", "a.jpg"), ("x" * 300 + ".jpeg", "x" * 195 + ".jpeg"), ("y" * 300, "y" * 200)],
)
def test_a_long_name_keeps_its_suffix(name: str, short: str) -> None:
    assert _short(name) == short
