"""A run folder and a repository whose author means harm: no command runs code, fetches anything or opens other files;
each ends in one message.
"""

from __future__ import annotations

import builtins
import io
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.hubs import Hub

from headstart.serving import server

Cli = Callable[..., Any]
OPTIONS = {
    "a pickle": "checkpoint_path=@PICKLE@",
    "another file": "checkpoint_path=/etc/passwd",
    "an address": "pretrained_cfg={'url':'@ADDRESS@/w.pth'},pretrained=True",
    "an overlay": "pretrained_cfg_overlay={'file':'@PICKLE@'},pretrained=True",
    "a file": "file=@PICKLE@",
    "a repository": "hf_hub_id=someone/evil,pretrained=True",
    "published weights": "pretrained=True",
    "a folder": "cache_dir=@FOLDER@",
    "many classes": "num_classes=1000000000",
    "many channels": "in_chans=1000000000",
    "a huge photo": "img_size=1000000000",
    "a script": "scriptable=True",
    "maps": "features_only=True,out_indices=(0,)",
    "a mistyped name": "pad_typ=same",
}
"""What follows ``test_vit:`` in a hostile model.json."""
NAMES = {
    "hf-hub": "hf-hub:someone/evil", "hf_hub": "hf_hub:someone/evil", "local-dir": "local-dir:@FOLDER@",
    "address": "@ADDRESS@/w.pth", "path": "@PICKLE@", "owner/name": "someone/evil",
}  # fmt: skip
BACKBONES = {**{kind: f"test_vit:{option}" for kind, option in OPTIONS.items()}, **NAMES}
COMMANDS = (
    "predict",
    "evaluate",
    "describe",
    "export",
    "explain",
    "serve",
    "push",
    "train --from",
    "forecast",
    "resume",
)


class Bomb:
    """Pickles to a call that makes a file."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.touched,)


class Trap:
    """What must not happen: ``touched`` is the file that the payload makes, ``opened`` names files that were opened."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self.touched, self.pickle = folder / "touched", folder / "payload.pth"
        torch.save({"state_dict": Bomb(self.touched)}, self.pickle)
        (folder / "config.json").write_text(json.dumps({"architecture": "test_vit"}))
        self.opened: list[str] = []
        self.connected: list[object] = []

    def backbone(self, kind: str) -> str:
        named = BACKBONES[kind].replace("@PICKLE@", str(self.pickle)).replace("@FOLDER@", str(self.folder))
        return named.replace("@ADDRESS@", self.address)

    def lay(self, run: Path, backbone: str) -> Path:
        described = json.loads((run / "model.json").read_text(encoding="utf-8"))
        described["architecture"]["backbone"] = backbone
        (run / "model.json").write_text(json.dumps(described), encoding="utf-8")
        request = json.loads((run / "request.json").read_text(encoding="utf-8"))
        request["options"] |= {"backbone": backbone, "weights": None}
        (run / "request.json").write_text(json.dumps(request), encoding="utf-8")
        return run


@pytest.fixture
def trap(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    """Its opened files and connections are watched until the test ends, and then nothing may have happened."""
    (tmp_path / "evil").mkdir()
    made = Trap(tmp_path / "evil", hub.address)
    content = io.BytesIO()
    torch.save({"state_dict": Bomb(made.touched)}, content)
    hub.anywhere |= {".pth": content.getvalue(), "evil/resolve/main/pytorch_model.bin": content.getvalue()}
    connect, opening = socket.socket.connect, builtins.open

    def watched(one: socket.socket, address: object, /) -> None:
        made.connected.append(address)
        return connect(one, address)  # type: ignore[arg-type]

    def seen(file: Any, *more: Any, **options: Any) -> Any:
        if str(file).startswith((str(made.folder), "/etc/passwd")):
            made.opened.append(str(file))
        return opening(file, *more, **options)

    monkeypatch.setattr(socket.socket, "connect", watched)
    monkeypatch.setattr(builtins, "open", seen)
    monkeypatch.setattr(io, "open", seen)
    yield made
    monkeypatch.undo()
    assert not made.touched.exists()
    assert made.opened == []
    assert not [line for line in hub.asked if "evil" in line or ".pth" in line]


@pytest.fixture
def run(probe_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(probe_run, tmp_path / "run"))


@pytest.fixture
def command(cli: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``command("predict", place)`` runs a command on a run or repository."""
    photo = next(photos.rglob("*.png"))
    monkeypatch.setattr(server, "listen", lambda *_: pytest.fail("it serves"))

    def do(name: str, place: object) -> Any:
        words: dict[str, tuple[object, ...]] = {
            "predict": ("predict", place, photo), "evaluate": ("evaluate", place, photos),
            "describe": ("describe", place), "export": ("export", place, "--format", "torch", "--photos", photo),
            "explain": ("explain", place, photo), "serve": ("serve", place), "push": ("push", place, "someone/copy"),
            "train --from": ("train", photos, "--from", place, "--strategy", "probe", "--out", tmp_path / "next"),
            "forecast": ("forecast", photos, "--from", place), "resume": ("train", "--resume", place),
        }  # fmt: skip
        return cli(*words[name])

    return do


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_hostile_run_folder(
    trap: Trap, run: Path, hub: Hub, command: Callable[..., Any], refused: Callable[..., None], kind: str
) -> None:
    trap.lay(run, trap.backbone(kind))
    for name in COMMANDS:
        if name == "resume":
            (run / "report.html").unlink()  # a training that was interrupted
        refused(command(name, run), "takes no option" if kind in OPTIONS else "not known")
    assert trap.connected == []
    assert hub.asked == []
    assert not (run.parent / "next").exists()


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_hostile_repository(
    trap: Trap, run: Path, hub: Hub, command: Callable[..., Any], refused: Callable[..., None], kind: str
) -> None:
    trap.lay(run, trap.backbone(kind))
    hub.files["someone/pets"] = {
        name: (run / name).read_bytes() for name in ("model.json", "model.safetensors", "certainty.safetensors")
    }
    for name in ("predict", "evaluate", "describe", "explain", "serve", "train --from", "forecast"):
        refused(command(name, "hf:someone/pets"), "takes no option" if kind in OPTIONS else "not known")
    assert {line.rpartition("/")[2] for line in hub.asked} <= set(hub.files["someone/pets"])
    assert {address[1] for address in trap.connected} <= {hub.server.server_port}  # type: ignore[index]


@pytest.mark.parametrize("kind", BACKBONES)
def test_what_is_typed_is_refused_too(
    trap: Trap, cli: Cli, photos: Path, refused: Callable[..., None], kind: str
) -> None:
    answer = cli("train", photos, "--backbone", trap.backbone(kind), "--out", trap.folder.parent / "next")
    refused(answer, "takes no option" if kind in OPTIONS else "not known")
    assert trap.connected == []


def test_the_trap_works(trap: Trap) -> None:
    """A payload that is read without care touches its file: else the tests above would prove nothing."""
    torch.load(trap.pickle, weights_only=False)
    assert trap.touched.exists()
    trap.touched.unlink()
    assert trap.opened
    trap.opened.clear()


@pytest.mark.parametrize("file", ["model.safetensors", "certainty.safetensors"])
def test_a_pickle_in_place_of_tensors(
    trap: Trap, run: Path, command: Callable[..., Any], refused: Callable[..., None], file: str
) -> None:
    shutil.copy(trap.pickle, run / file)
    trap.opened.clear()
    for name in COMMANDS[:-1]:
        refused(command(name, run), file)


def test_a_table_of_photos_that_leads_out_of_the_dataset(run: Path, photos: Path) -> None:
    from headstart.runs.images import run_photos

    outside = run.parent / "outside.png"
    shutil.copy(next(photos.rglob("*.png")), outside)
    whole = run_photos(run, ("train", "val", "test"))
    with (run / "splits.csv").open("a", encoding="utf-8") as file:
        for name in (outside, f"../{outside.name}", f"cat/../../{outside.name}"):
            file.write(f"{name},cat,train,{'0' * 32},\n")
    assert run_photos(run, ("train", "val", "test")) == whole


def test_the_description_of_a_served_model_survives_metrics_that_are_none(run: Path) -> None:
    from headstart.inference.classifier import Classifier
    from headstart.serving.limits import Limits
    from headstart.serving.service import Service

    classifier = Classifier.load(run, "cpu")
    assert set(Service(run, classifier, Limits()).about["figures"]) == {"val", "test"}
    for content in ("[]", "5", '{"val": []}', '{"val": {"photos": NaN, "accuracy": 1}}', "[" * 10**5, ""):
        (run / "metrics.json").write_text(content)
        about = Service(run, classifier, Limits()).about  # it is read once, at the start
        assert json.dumps(about, allow_nan=False)
        assert about["figures"] == {}
