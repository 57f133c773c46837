"""Published weights, fetched from a server on this machine: the right bytes, damaged bytes, no network."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save

from headstart.errors import OptionError, WeightsError
from headstart.models.factory import create
from headstart.models.providers import PROVIDERS, resolve
from headstart.models.resnet import TORCHVISION, TORCHVISION_RESNETS

from .conftest import shaken


class Home:
    """A server of files by the end of their path. ``announced`` replaces a file's SHA-256 in the hub's tag; ``asked``
    logs each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.announced: str | None = None
        self.asked: list[str] = []
        home = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                home.answer(self)

            def do_HEAD(self) -> None:
                home.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(f"{request.command} {request.path}")
        found = next((content for end, content in self.files.items() if request.path.endswith(end)), None)
        request.send_response(404 if found is None else 200)
        if found is None:
            request.send_header("X-Error-Code", "EntryNotFound")
        else:
            request.send_header("ETag", f'"{self.announced or hashlib.sha256(found).hexdigest()}"')
            request.send_header("X-Repo-Commit", "c" * 40)
        request.send_header("Content-Length", str(len(found or b"")))
        request.end_headers()
        if request.command == "GET" and found:
            request.wfile.write(found)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Home]:
    from huggingface_hub import constants

    server = Home()
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HEADSTART_MIRROR", server.address)
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.close()


def at_hand(name: str) -> bool:
    entry = resolve(name)
    return PROVIDERS.get(entry.provider).at_hand(entry)


def pickled(net: torch.nn.Module) -> bytes:
    content = io.BytesIO()
    torch.save(net.state_dict(), content)
    return content.getvalue()


def named_by_digest(monkeypatch: pytest.MonkeyPatch, content: bytes) -> str:
    """Points torchvision's resnet18 to a file that carries the digest of this content: the real one is 45 MB."""
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setitem(TORCHVISION_RESNETS, "resnet18", name)
    return name


def test_the_addresses_are_those_that_torchvision_fetches_from() -> None:
    from torchvision.models import get_model_weights

    for name, file in TORCHVISION_RESNETS.items():
        assert get_model_weights(name)["IMAGENET1K_V1"].url == TORCHVISION + file


def test_a_torchvision_file_is_fetched_once_and_kept(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    net = shaken(timm.create_model("resnet18"))
    content = pickled(net)
    name = named_by_digest(monkeypatch, content)
    home.files[name] = content
    assert not at_hand("resnet18")
    backbone = create("resnet18")
    assert at_hand("resnet18")
    assert (backbone.source, backbone.pretrained) == ("torchvision ImageNet-1k", True)
    assert torch.equal(backbone.get_parameter("conv1.weight"), net.conv1.weight)
    assert (tmp_path / "cache" / "weights" / name).is_file()
    asked = len(home.asked)
    create("resnet18")
    assert len(home.asked) == asked


def test_bytes_that_are_not_the_named_ones_are_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = pickled(timm.create_model("test_resnet"))
    name = named_by_digest(monkeypatch, content)
    home.files[name] = content[:-1] + b"x"
    with pytest.raises(WeightsError, match="the weights could not be fetched"):
        create("resnet18")
    assert not (tmp_path / "cache" / "weights" / name).exists()


def test_weights_from_the_hub_go_through_timm_and_are_kept(home: Home) -> None:
    net = shaken(timm.create_model("test_vit"))
    home.files["model.safetensors"] = save(net.state_dict())
    assert not at_hand("test_vit")
    backbone = create("test_vit")
    assert at_hand("test_vit")
    assert (backbone.source, backbone.pretrained) == (f"timm {resolve('test_vit').architecture}", True)
    assert torch.equal(backbone.state_dict()["pos_embed"], net.pos_embed)
    home.close()
    assert create("test_vit").weights_digest == backbone.weights_digest


def test_a_repository_without_safetensors(home: Home) -> None:
    net = shaken(timm.create_model("test_resnet"))
    home.files["pytorch_model.bin"] = pickled(net)
    assert torch.equal(create("test_resnet").get_parameter("conv1.0.weight"), net.conv1[0].weight)


def test_a_file_that_is_not_the_announced_one_is_deleted(home: Home, tmp_path: Path) -> None:
    home.files["model.safetensors"] = save(timm.create_model("test_vit").state_dict())
    home.announced = "0" * 64
    with pytest.raises(WeightsError, match="is damaged"):
        create("test_vit")
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.is_file() and path.stat().st_size > 1000]
    home.announced = None
    assert create("test_vit").pretrained


def test_no_network_says_what_to_do_instead(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.core.download.BACKOFF_S", 0.0)
    home.close()
    for name in ("resnet18", "test_vit"):
        with pytest.raises(WeightsError, match=r"could not be fetched(?s:.)*`weights=FILE`(?s:.)*starter"):
            create(name)


def test_an_empty_repository(home: Home) -> None:
    with pytest.raises(WeightsError, match="holds none of"):
        create("test_vit")


def test_looking_for_weights_on_this_machine_asks_nobody(home: Home) -> None:
    found = [at_hand(name) for name in ("starter", "resnet50", "test_vit", "test_vit_relpos")]
    assert found == [True, False, False, False]
    assert not home.asked


def test_a_network_that_nobody_trained(home: Home) -> None:
    with pytest.raises(OptionError, match="no pretrained weights are published"):
        PROVIDERS.get("timm").fetch(resolve("test_vit_relpos"))
    assert not home.asked
