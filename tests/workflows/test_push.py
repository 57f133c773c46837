"""Models on a hub: a server on this machine that speaks the hub's protocol as its client library does."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import headstart as hs
from headstart.errors import OptionError, RunError
from headstart.inference.hub import fetched
from headstart.workflows.push import push

OWNER = "someone"


class Hub:
    """Repositories in memory; ``files`` by repository and name, ``status`` an answer that every request gets."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.status: int | None = None
        hub = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"] or 0))
                self.tell(hub.post(self.path, content))

            def do_GET(self) -> None:
                self.give()

            def do_HEAD(self) -> None:
                self.give()

            def tell(self, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(hub.status or 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def give(self) -> None:
                repo, _, name = self.path.lstrip("/").partition("/resolve/main/")
                found = hub.files.get(repo, {}).get(name)
                self.send_response(hub.status or (200 if found is not None else 404))
                if found is None:
                    self.send_header("X-Error-Code", "EntryNotFound" if repo in hub.files else "RepoNotFound")
                else:
                    self.send_header("ETag", f'"{hashlib.sha256(found).hexdigest()}"')
                    self.send_header("X-Repo-Commit", "c" * 40)
                self.send_header("Content-Length", str(len(found or b"")))
                self.end_headers()
                if self.command == "GET" and found:
                    self.wfile.write(found)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def post(self, path: str, content: bytes) -> Any:
        if path.startswith("/api/repos/create"):
            asked = json.loads(content)
            repo = f"{asked.get('organization') or OWNER}/{asked['name']}"
            self.files.setdefault(repo, {})
            self.private[repo] = bool(asked.get("private")) or asked.get("visibility") == "private"
            return {"url": f"{self.address}/{repo}", "name": repo, "id": "0"}
        if "/preupload/" in path:
            return {
                "files": [{**f, "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(content)["files"]]
            }
        if "/commit/" in path:
            repo = path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    self.files[repo][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return {"commitUrl": f"{self.address}/{repo}/commit/c", "commitOid": "c" * 40, "success": True}
        return {"errors": [], "warnings": []}  # of the card's header


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    from huggingface_hub import constants

    made = Hub()
    monkeypatch.setenv("HF_ENDPOINT", made.address)
    monkeypatch.setenv("HF_TOKEN", "hf_for_tests")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_there_and_back(hub: Hub, probe_run: Path, photos: Path, tmp_path: Path, starter: tuple[str, ...]) -> None:
    address = push(probe_run, "someone/pets", quiet=True)
    assert address == f"{hub.address}/someone/pets"
    wanted = {
        "model.json",
        "model.safetensors",
        "certainty.safetensors",
        "metrics.json",
        "plan.json",
        "history.csv",
        "README.md",
    }
    assert hub.files["someone/pets"].keys() == wanted
    paths = sorted(photos.rglob("*.png"))[:4]
    assert list(hs.predict("hf:someone/pets", paths)) == list(hs.predict(probe_run, paths))
    settings = {"precision": "float32"}
    begun = hs.train(
        photos, out=tmp_path / "next", from_run="hf:someone/pets", strategy="probe", quiet=True, settings=settings
    )
    assert begun.metrics["test"]["accuracy"] == hs.open_run(probe_run).metrics["test"]["accuracy"]


def test_what_says_how_sure_an_answer_is_comes_along(hub: Hub, sure_run: Path) -> None:
    push(sure_run, "someone/sure", quiet=True)
    paths = [sure_run.parent / "photos" / "cat" / "cat_00.png"]
    (found,) = hs.predict("hf:someone/sure", paths, coverage=0.9)
    assert found == next(hs.predict(sure_run, paths, coverage=0.9))
    assert found.distance is not None


def test_a_model_of_an_older_headstart_has_none(hub: Hub, sure_run: Path) -> None:
    push(sure_run, "someone/older", quiet=True)
    del hub.files["someone/older"]["certainty.safetensors"]
    paths = [sure_run.parent / "photos" / "cat" / "cat_00.png"]
    (found,) = hs.predict("hf:someone/older", paths)
    assert found.unknown is None
    with pytest.raises(RunError, match="older headstart"):
        hs.predict("hf:someone/older", paths, coverage=0.9)


def test_what_stays_at_home(hub: Hub, probe_run: Path, photos: Path) -> None:
    push(probe_run, "someone/pets", quiet=True)
    together = b"".join(hub.files["someone/pets"].values())
    assert str(photos).encode() not in together
    assert b"cat_00.png" not in together
    assert "command" not in json.loads(hub.files["someone/pets"]["model.json"])["provenance"]


def test_the_card_is_the_readme(hub: Hub, probe_run: Path) -> None:
    push(probe_run, "someone/pets", quiet=True)
    card = hub.files["someone/pets"]["README.md"].decode()
    header = yaml.safe_load(card.split("---")[1])
    assert header["pipeline_tag"] == "image-classification"
    assert 'hs.predict("hf:someone/pets"' in card


def test_private(hub: Hub, probe_run: Path) -> None:
    push(probe_run, "someone/secret", private=True, quiet=True)
    assert hub.private == {"someone/secret": True}


@pytest.mark.parametrize(("status", "word"), [(401, "Log in"), (403, "Log in"), (500, "could not be reached")])
def test_refusals_are_told(hub: Hub, probe_run: Path, status: int, word: str) -> None:
    hub.status = status
    with pytest.raises(RunError, match=word) as told:
        push(probe_run, "someone/pets", quiet=True)
    assert "Traceback" not in str(told.value)


def test_what_is_not_there(hub: Hub, probe_run: Path, cli: Callable[..., Any], refused: Callable[..., None]) -> None:
    refused(cli("predict", "hf:someone/nothing", "x.png"), "no someone/nothing")
    hub.files["someone/other"] = {"README.md": b"another kind of model"}
    refused(cli("describe", "hf:someone/other"), "no headstart model")
    refused(cli("push", probe_run, "not a name"), "not the name of a repository")
    refused(cli("push", probe_run / "nothing", "someone/pets"), "no model")
    with pytest.raises(OptionError):
        fetched("hf:a/b/c/d")


def test_no_network(monkeypatch: pytest.MonkeyPatch, probe_run: Path, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # it tries several times
    with pytest.raises(RunError, match="could not be reached"):
        push(probe_run, "someone/pets", quiet=True)
    with pytest.raises(RunError, match=r"could not be reached|no someone/pets"):
        fetched("hf:someone/pets")


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert fetched(tmp_path) == tmp_path
    assert fetched(str(tmp_path)) == tmp_path
