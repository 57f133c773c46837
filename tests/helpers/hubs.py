"""A model hub on this machine: it speaks the Hugging Face hub's protocol, and serves files at any other address too."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OWNER = "someone"


class Hub:
    """Repositories in memory.

    ``files`` by repository and name; ``anywhere``: files by the end of any path. ``announced`` replaces a file's tag,
    ``announced_size`` its size in the answer to HEAD; ``git`` tags files as git does; ``status``: an answer that every
    request gets; ``asked`` logs each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.anywhere: dict[str, bytes] = {}
        self.private: dict[str, bool] = {}
        self.status: int | None = None
        self.announced: str | None = None
        self.announced_size: int | None = None
        self.git = False
        self.asked: list[str] = []
        hub = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"] or 0))
                hub.asked.append(f"POST {self.path}")
                body = json.dumps(hub.post(self.path, content)).encode()
                self.send_response(hub.status or 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.give()

            def do_HEAD(self) -> None:
                self.give()

            def give(self) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                repo, _, name = self.path.lstrip("/").partition("/resolve/main/")
                ends = (content for end, content in hub.anywhere.items() if self.path.endswith(end))
                found = hub.files.get(repo, {}).get(name, next(ends, None))
                self.send_response(hub.status or (200 if found is not None else 404))
                if found is None:
                    known = repo in hub.files or repo.startswith("timm/")
                    self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                else:
                    self.send_header("ETag", f'"{hub.announced or hub.tag(found)}"')
                    self.send_header("X-Repo-Commit", "c" * 40)
                size = hub.announced_size if self.command == "HEAD" else None
                self.send_header("Content-Length", str(len(found or b"") if size is None else size))
                self.end_headers()
                if self.command == "GET" and found:
                    self.wfile.write(found)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def tag(self, content: bytes) -> str:
        if self.git:
            return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return hashlib.sha256(content).hexdigest()

    def post(self, path: str, content: bytes) -> Any:
        if path.startswith("/api/repos/create"):
            asked = json.loads(content)
            repo = f"{asked.get('organization') or OWNER}/{asked['name']}"
            self.files.setdefault(repo, {})
            self.private[repo] = bool(asked.get("private")) or asked.get("visibility") == "private"
            return {"url": f"{self.address}/{repo}", "name": repo, "id": "0"}
        if "/preupload/" in path:
            files = json.loads(content)["files"]
            return {"files": [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in files]}
        if "/commit/" in path:
            repo = path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    self.files[repo][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return {"commitUrl": f"{self.address}/{repo}/commit/c", "commitOid": "c" * 40, "success": True}
        return {"errors": [], "warnings": []}  # of the card's header

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The hub that headstart finds, with an empty cache in ``tmp_path/hub``; published addresses lead to it too."""
    from huggingface_hub import constants

    made = Hub()
    monkeypatch.setenv("HEADSTART_MIRROR", made.address)
    monkeypatch.setenv("HF_ENDPOINT", made.address)
    monkeypatch.setenv("HF_TOKEN", "hf_for_tests")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield made
    made.close()
