"""deploy/: the container's command and health check, and the Kubernetes example, against the real server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
KEY = "a-key-of-thirty-characters-x30"


def command(instruction: str) -> list[str]:
    found = re.search(rf"^ *{instruction} (\[.*\])$", DOCKERFILE, flags=re.M)
    assert found
    words: list[str] = json.loads(found[1])
    return words


def kubernetes() -> dict[str, Any]:
    text = (ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def container() -> dict[str, Any]:
    (found,) = kubernetes()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_the_command_serves_and_the_health_check_sees_it(start_server: Callable[..., Any], tmp_path: Path) -> None:
    """What the Kubernetes example runs in the container, with another run, key and port."""
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    words = [*command("ENTRYPOINT"), *container()["args"]]
    assert words[:3] == ["headstart", "serve", "/model"]
    server = start_server(*({"/keys/key": str(tmp_path / "key"), "8000": "0"}.get(word, word) for word in words[3:]))
    address = server.address.replace("0.0.0.0", "127.0.0.1").removesuffix("/pets/")
    answer = _asked(f"{address}/pets/model", {"Host": "example.org", "X-API-Key": KEY})  # waits until it is ready
    assert json.loads(answer)["classes"] == ["cat", "dog", "owl"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert _asked(address + container()[probe]["httpGet"]["path"], {"Host": "10.1.2.3:8000"})
    with pytest.raises(urllib.error.HTTPError, match="401"):
        _asked(f"{address}/pets/model", {"Host": "example.org"})
    python, flag, code = command("CMD")
    assert (python, flag) == ("python", "-c")
    check = [sys.executable, flag, code.replace("http://127.0.0.1:8000", address)]
    assert address in check[2]
    assert subprocess.run(check, capture_output=True).returncode == 0
    server.process.kill()
    server.process.wait()
    assert subprocess.run(check, capture_output=True).returncode != 0


def _asked(url: str, headers: dict[str, str]) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return str(answer.read().decode())


def test_the_parts_of_the_example_fit_each_other() -> None:
    found, serve = kubernetes(), container()
    pod = found["Deployment"]["spec"]["template"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == pod["metadata"]["labels"]
    assert {v["name"] for v in pod["spec"]["volumes"]} == {m["name"] for m in serve["volumeMounts"]}
    assert "/model" in {m["mountPath"] for m in serve["volumeMounts"]}
    (port,) = serve["ports"]
    assert str(port["containerPort"]) == command("ENTRYPOINT")[-1]
    (rule,) = found["Ingress"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert serve["args"][:4] == ["--root-path", path["path"], "--allow-host", rule["host"]]
    assert path["backend"]["service"]["name"] == found["Service"]["metadata"]["name"]


def test_it_is_not_root_anywhere() -> None:
    users = re.findall(r"^USER (\d+)$", DOCKERFILE, flags=re.M)
    spec = kubernetes()["Deployment"]["spec"]["template"]["spec"]
    assert users == [str(spec["securityContext"]["runAsUser"])]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert DOCKERFILE.index("USER ") < DOCKERFILE.index("ENTRYPOINT")


def test_what_is_copied_is_there_and_is_let_through() -> None:
    let_through = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, flags=re.M)]
    names = {name for line in copied for name in line}
    assert {"pyproject.toml", "src"} <= names
    for name in names:
        assert (ROOT / name).exists()
        assert f"!{name}" in let_through
