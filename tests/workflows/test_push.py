"""Models on a hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.hubs import Hub

import headstart as hs
from headstart.errors import OptionError, RunError
from headstart.inference.hub import fetched
from headstart.workflows.push import push


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
    refused(cli("describe", "hf:someone\\other"), "no headstart model")  # a Path of Windows
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


@pytest.mark.parametrize("git", [False, True], ids=["sha256", "git's sha1"])
def test_other_bytes_than_announced_are_not_used(hub: Hub, probe_run: Path, tmp_path: Path, git: bool) -> None:
    push(probe_run, "someone/pets", quiet=True)
    hub.git = git
    hub.announced = "0" * (40 if git else 64)
    with pytest.raises(RunError, match=r"model\.json of someone/pets is damaged(?s:.)*Run the same command again"):
        fetched("hf:someone/pets")
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.is_file() and path.stat().st_size > 1000]
    hub.announced = None
    assert (fetched("hf:someone/pets") / "model.safetensors").exists()


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("git", [False, True], ids=["sha256", "git's sha1"])
def test_a_file_that_was_changed_in_the_cache_is_not_used(
    hub: Hub, probe_run: Path, monkeypatch: pytest.MonkeyPatch, git: bool, online: bool
) -> None:
    push(probe_run, "someone/pets", quiet=True)
    hub.git = git
    weights = fetched("hf:someone/pets") / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.resolve().write_bytes(content)
    if not online:
        hub.close()
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    with pytest.raises(RunError, match=r"model\.safetensors of someone/pets is damaged"):
        fetched("hf:someone/pets")
    assert not weights.exists()
    if online:
        assert (fetched("hf:someone/pets") / "model.safetensors").read_bytes() != content


def test_without_a_network_the_cache_is_used(
    hub: Hub, probe_run: Path, monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    push(probe_run, "someone/pets", quiet=True)
    del hub.files["someone/pets"]["certainty.safetensors"]  # as of an older headstart
    folder = fetched("hf:someone/pets")
    hub.close()
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    assert fetched("hf:someone/pets") == folder


def test_a_file_beyond_all_bounds_is_not_fetched(hub: Hub, probe_run: Path) -> None:
    push(probe_run, "someone/pets", quiet=True)
    hub.asked.clear()
    hub.announced_size = 10**12
    with pytest.raises(RunError, match=r"model\.json of someone/pets has 1,000,000,000,000 bytes"):
        fetched("hf:someone/pets")
    assert not [line for line in hub.asked if line.startswith("GET")]


def test_a_link_out_of_the_folder_is_not_uploaded(hub: Hub, probe_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(probe_run, tmp_path / "run"))
    (tmp_path / "secret").write_text("a key")
    (run / "history.csv").unlink()
    (run / "history.csv").symlink_to(tmp_path / "secret")
    with pytest.raises(RunError, match="leads out of the folder"):
        push(run, "someone/pets", quiet=True)
    assert not hub.files


def test_what_cannot_be_loaded_is_not_uploaded(hub: Hub, probe_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(probe_run, tmp_path / "run"))
    (run / "model.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="cannot be read"):
        push(run, "someone/pets", quiet=True)
    assert not hub.asked
