"""A server in a thread: beside an event loop, with its address, ended by ``stop``."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.own import Net

import headstart as hs
from headstart.errors import OptionError

ADDRESS: Any = {"port": 0, "background": True, "quiet": True, "device": "cpu"}


def post(url: str, content: bytes) -> dict[str, Any]:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + content + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}predict", body, kind), timeout=30) as response:
        found: dict[str, Any] = json.load(response)["predictions"][0]
    return found


def test_it_answers_until_its_block_ends(probe_run: Path, photo_bytes: Callable[..., bytes]) -> None:
    threads = threading.active_count()
    with hs.serve(probe_run, **ADDRESS) as server:
        assert server.running
        assert server.url == f"http://127.0.0.1:{server.port}/"
        assert post(server.url, photo_bytes())["label"]
        assert server.url in server._repr_html_()
        with pytest.raises(OptionError, match=rf"Cannot listen on 127.0.0.1:{server.port}"):
            hs.serve(probe_run, **{**ADDRESS, "port": server.port})
    assert not server.running
    assert "stopped" in repr(server)
    with pytest.raises(urllib.error.URLError):
        post(server.url, photo_bytes())
    server.stop()  # again
    second = hs.serve(probe_run, **{**ADDRESS, "port": server.port})  # the port is free
    second.stop()
    assert threading.active_count() <= threads + 1


def test_an_error_in_the_block_stops_it_too(probe_run: Path) -> None:
    with pytest.raises(ZeroDivisionError), hs.serve(probe_run, **ADDRESS) as server:
        raise ZeroDivisionError
    assert not server.running


def test_it_runs_beside_an_event_loop_as_in_a_notebook(probe_run: Path, photo_bytes: Callable[..., bytes]) -> None:
    async def cell() -> str:
        with pytest.raises(OptionError, match=r"(?s)event loop runs here.*background=True"):
            hs.serve(probe_run, port=0)
        with hs.serve(probe_run, **ADDRESS) as server:
            return str((await asyncio.to_thread(post, server.url, photo_bytes()))["label"])

    with ThreadPoolExecutor(1) as apart:  # a browser's test may have a loop in this thread
        found = apart.submit(asyncio.run, cell()).result(60)
    assert found in hs.open_run(probe_run).classifier.classes


def test_what_is_in_memory_is_served_as_it_was(photos: Path, tmp_path: Path) -> None:
    run = hs.train(photos, out=tmp_path / "run", backbone=Net(), strategy="probe", quiet=True)
    file = sorted(photos.rglob("*.png"))[0]
    (wanted,) = run.predict([file])
    for model in (run, run.classifier):
        with hs.serve(model, **ADDRESS) as server:
            found = post(server.url, file.read_bytes())
            assert found["probabilities"] == pytest.approx(
                dict(zip(run.classifier.classes, wanted.probabilities, strict=True)), abs=1e-5
            )
            run.classifier.network.head.weight.data.neg_()  # what is served is a copy
            assert post(server.url, file.read_bytes()) == found
            run.classifier.network.head.weight.data.neg_()


def test_a_classifier_that_was_never_saved_is_served(probe_run: Path, photo_bytes: Callable[..., bytes]) -> None:
    classifier = hs.Classifier.load(probe_run, "cpu")
    classifier.home = None
    with hs.serve(classifier, **ADDRESS) as server:
        assert post(server.url, photo_bytes())["label"] in classifier.classes
