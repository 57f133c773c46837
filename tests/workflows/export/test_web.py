"""``--format web``: a folder for any web server, whose page predicts in the browser as the classifier does."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.pages import Page
from PIL import Image

import headstart as hs
from headstart.core import download
from headstart.core.events import Events
from headstart.errors import OptionError
from headstart.workflows.export import web_runtime
from headstart.workflows.export.web import HOLDS, RUNTIME

BYTES = {web_runtime.SCRIPT: b"export const env = {};", web_runtime.BINARY: b"\0asm"}


@pytest.fixture
def run(sure_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sure_run, tmp_path / "copied"))


def make_package(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A folder as npm's package is laid out, with stand-ins for its files."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in BYTES.items()}
    patch.setattr(web_runtime, "CHECKSUMS", digests)
    for name, content in BYTES.items():
        place = folder / "dist" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_package(tmp_path / "package", monkeypatch)


@pytest.fixture(scope="module")
def made(sure_run: Path, tmp_path_factory: pytest.TempPathFactory) -> hs.Exported:
    """What an export of ``sure_run`` returned; its folder is shared, so never written to."""
    place = tmp_path_factory.mktemp("web")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(place / "cache"))
        package = make_package(place / "package", patch)
        return hs.export(sure_run, format="web", out=place / "site", web_runtime=package, quiet=True)


def version(folder: Path) -> str:
    return (folder / "sw.js").read_text(encoding="utf-8").splitlines()[0]


def packed(folder: Path, to: Path) -> Path:
    with tarfile.open(to, "w:gz") as archive:
        archive.add(folder, "package")
    return to


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a plain web server of the folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def test_the_folder_holds_all_that_the_page_needs(
    made: hs.Exported, sure_run: Path, photos: Path, tmp_path: Path
) -> None:
    import onnxruntime

    assert sorted(file.name for file in made.path.iterdir()) == sorted(HOLDS)
    assert made.bytes == sum(file.stat().st_size for file in made.path.iterdir() if file.name != "model.json")
    assert made.parity.same == made.parity.photos > 0
    assert (made.path / "ort.wasm").read_bytes() == BYTES[web_runtime.BINARY]
    said = json.loads((made.path / "model.json").read_text(encoding="utf-8"))
    assert (said["name"], said["classes"]) == (sure_run.name, ["cat", "dog", "owl"])
    assert said["figures"]["test"]["photos"] > 0
    assert said["checked"]["same"] == made.parity.same

    session = onnxruntime.InferenceSession(made.path / "model.onnx")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8))
    noise.save(tmp_path / "noise.png")
    names = [*sorted(photos.rglob("*.png"))[:4], tmp_path / "noise.png"]
    wanted = list(hs.predict(sure_run, names))
    assert wanted[-1].unknown
    for name, one in zip(names, wanted, strict=True):
        pixels = np.asarray(Image.open(name).convert("RGB"))[None]
        probabilities, distance = session.run(["probabilities", "distance"], {"images": pixels})
        assert probabilities[0] == pytest.approx(one.probabilities, abs=0.02)
        assert distance == pytest.approx([one.distance], rel=0.05)


def test_the_page_runs_no_inline_script_and_loads_nothing_from_elsewhere(made: hs.Exported) -> None:
    folder = made.path
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    assert not page.problems
    loaded = [about for tag, about in page.elements if tag in ("script", "link", "img", "video")]
    for about in loaded:
        place = about.get("src") or about.get("href") or ""
        assert place in HOLDS or place in ("", "data:,")
    assert [about["src"] for tag, about in page.elements if tag == "script"] == ["local.js", "page.js"]
    assert not [about for _, about in page.elements if any(name.startswith("on") or name == "style" for name in about)]
    (policy,) = [about["content"] for _, about in page.elements if about.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert "http" not in policy
    kept = (folder / "sw.js").read_text(encoding="utf-8").splitlines()[1]
    needed = set(HOLDS) - {"sw.js", "licences.txt"}
    assert set(json.loads(kept.removeprefix("const FILES = ").removesuffix(";"))) == needed


@pytest.mark.slow
def test_int8_is_another_version_for_browsers_that_keep_the_first(made: hs.Exported, run: Path, runtime: Path) -> None:
    small = hs.export(run, format="web", int8=True, web_runtime=runtime, quiet=True)
    assert small.path == run / "web.int8"
    assert sorted(file.name for file in small.path.iterdir()) == sorted(HOLDS)
    assert small.int8 is not None
    assert small.int8["after"]["bytes"] < small.int8["before"]["bytes"]
    assert version(small.path) != version(made.path)


def test_a_run_that_knows_no_distance_has_none(probe_run: Path, runtime: Path, tmp_path: Path) -> None:
    import onnxruntime

    folder = hs.export(probe_run, format="web", out=tmp_path / "site", web_runtime=runtime, quiet=True).path
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert [output.name for output in session.get_outputs()] == ["probabilities"]


def test_the_package_may_be_a_folder_or_a_file_of_npm(runtime: Path, tmp_path: Path) -> None:
    given = [runtime, runtime / "dist", packed(runtime, tmp_path / "onnxruntime-web.tgz")]
    for place in given:
        found = web_runtime.runtime_files(place, Events())
        assert {name: file.read_bytes() for name, file in found.items()} == BYTES


@pytest.mark.parametrize("how", ["another version", "no such file", "not a package", "an empty one"])
def test_a_package_that_is_another_is_refused_and_nothing_is_written(
    run: Path, runtime: Path, tmp_path: Path, how: str
) -> None:
    given = tmp_path / "given.tgz"
    if how == "another version":
        (runtime / "dist" / web_runtime.BINARY).write_bytes(b"another")
        packed(runtime, given)
    elif how == "not a package":
        given.write_bytes(b"nothing")
    elif how == "an empty one":
        packed(Path(shutil.copytree(runtime, tmp_path / "bare", ignore=lambda *_: ["dist"])), given)
    before = sorted(run.iterdir())
    with pytest.raises(OptionError, match="web_runtime") as told:
        hs.export(run, format="web", web_runtime=given, quiet=True)
    assert told.value.option == "web_runtime"
    assert sorted(run.iterdir()) == before


def test_the_runtime_is_downloaded_once_and_verified(
    cli: Callable[..., Any], run: Path, runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:  # fmt: skip
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    home = tmp_path / "home" / web_runtime.ADDRESS.split("/", 3)[3]
    shutil.copytree(runtime / "dist", home)
    with serving(tmp_path / "home") as address:
        monkeypatch.setenv("HEADSTART_MIRROR", address)
        (home / web_runtime.BINARY).write_bytes(b"changed on the way")
        refused(cli("export", run, "--format", "web"), "onnxruntime-web could not be fetched", "--web-runtime")
        assert not (run / "web").exists()
        shutil.copy(runtime / "dist" / web_runtime.BINARY, home)
        first = web_runtime.runtime_files(None, Events())
    monkeypatch.setenv("HEADSTART_MIRROR", "http://127.0.0.1:9")  # nothing answers there
    assert web_runtime.runtime_files(None, Events()) == first
    assert {name: file.read_bytes() for name, file in first.items()} == BYTES


def test_a_folder_with_anything_else_in_it_is_not_replaced(
    made: hs.Exported, run: Path, runtime: Path, tmp_path: Path
) -> None:
    site = Path(shutil.copytree(made.path, tmp_path / "site"))
    asked: dict[str, Any] = {"format": "web", "out": site, "web_runtime": runtime, "quiet": True}
    with pytest.raises(OptionError, match="overwrite=True"):
        hs.export(run, **asked)
    (site / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(OptionError, match=r"holiday\.jpg"):
        hs.export(run, **asked, overwrite=True)
    assert (site / "holiday.jpg").read_bytes() == b"dear"
    with pytest.raises(OptionError, match="is a file"):
        hs.export(run, **{**asked, "out": site / "holiday.jpg"}, overwrite=True)


@pytest.mark.slow
def test_the_command_replaces_its_own_folder(
    cli: Callable[..., Any], made: hs.Exported, run: Path, runtime: Path, refused: Callable[..., None], tmp_path: Path
) -> None:
    shutil.copytree(made.path, run / "web")
    (run / "web" / "model.onnx").write_bytes(b"old")
    refused(cli("export", run, "--format", "web", "--web-runtime", runtime), "--overwrite")
    refused(cli("export", run, "--web-runtime", runtime), "--web-runtime goes with")
    refused(cli("export", run, "--format", "web", "--out", tmp_path / "w", "--web-runtime", "gone.tgz"), "no such file")
    answer = cli("export", run, "--format", "web", "--web-runtime", runtime, "--json", "--quiet", "--overwrite")
    assert json.loads(answer.out)["path"] == str(run / "web")
    assert (run / "web" / "model.onnx").stat().st_size > 1000
    assert "web/sw.js" in json.loads((run / "exports.json").read_text(encoding="utf-8"))["files"]


# -- in a browser --


@pytest.fixture
def true_runtime() -> Path:
    web = os.environ.get("ONNXRUNTIME_WEB")
    if not web:
        pytest.skip("ONNXRUNTIME_WEB does not name the dist folder of the npm package onnxruntime-web")
    return Path(web)


@pytest.fixture
def site(made: hs.Exported, true_runtime: Path, tmp_path: Path) -> Path:
    """The folder with the true onnxruntime-web."""
    folder = Path(shutil.copytree(made.path, tmp_path / "site"))
    for name, file in web_runtime.runtime_files(true_runtime, Events()).items():
        shutil.copy(file, folder / RUNTIME[name])
    return folder


@contextmanager
def visited(browser: Any, address: str, **how: Any) -> Iterator[Any]:
    """The page, loaded; every complaint of the browser's, and every request elsewhere, is a failure."""
    context = browser.new_context(viewport={"width": 1100, "height": 800}, **how)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: None if _own(asked.url, address) else complaints.append(asked.url))
    page.goto(address)
    page.wait_for_selector("#about:has-text('A classifier for cat, dog, owl')", timeout=60_000)
    yield page
    context.close()
    assert not complaints


def _own(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


def predicted(page: Any) -> list[dict[str, Any]]:
    page.wait_for_selector("#progress:text-matches('^\\\\d+ photos?$')", timeout=60_000)
    rows: list[dict[str, Any]] = page.evaluate("rows")
    return rows


@pytest.mark.slow
def test_the_page_answers_as_the_classifier_does(
    site: Path, sure_run: Path, photos: Path, browser: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    coarse.resize((1200, 900), Image.Resampling.BICUBIC).save(tmp_path / "large.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.open(sorted(photos.rglob("*.png"))[0]).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    layered = Image.new("RGBA", (50, 40), (200, 30, 30, 255))
    layered.paste((0, 0, 0, 0), (0, 0, 25, 40))
    layered.save(tmp_path / "transparent.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    drawn = sorted(photos.rglob("*.png"))[::3]
    names = [*drawn, *(tmp_path / name for name in ("large.png", "turned.jpg", "transparent.png", "bad.png"))]
    wanted = list(hs.predict(sure_run, names))
    with serving(site) as address, visited(browser, address) as page:
        page.set_input_files("#choose", [str(name) for name in names])
        rows = predicted(page)
        assert page.locator(".card").first.locator("progress").count() == 3
        assert page.locator(".card .unknown:not([hidden])").count() == sum(bool(one.unknown) for one in wanted)
        page.click("#clear")
        assert page.is_hidden("#results")
    assert "cannot be read" in rows[-1]["problem"]
    for row, one in zip(rows[:-1], wanted[:-1], strict=True):
        assert (row["file"], row["label"], row["unknown"]) == (one.path.name, one.label, one.unknown)
        assert list(row["probabilities"].values()) == pytest.approx(one.probabilities, abs=0.02)
        assert row["distance"] == pytest.approx(one.distance, rel=0.1)


@pytest.mark.slow
def test_the_page_gives_a_photo_any_number_of_labels(
    several_run: Path, true_runtime: Path, browser: Any, tmp_path: Path
) -> None:
    made = hs.export(several_run, format="web", out=tmp_path / "site", web_runtime=true_runtime, quiet=True)
    names = sorted((several_run.parent / "photos").iterdir())[:8]
    wanted = [one.labels for one in hs.predict(several_run, names)]
    assert {len(labels or ()) for labels in wanted} >= {0, 2}
    with serving(made.path) as address, visited(browser, address) as page:
        assert "any number of them per photo" in page.text_content("#about")
        page.set_input_files("#choose", [str(name) for name in names])
        rows = predicted(page)
        shown = [card.strip() for card in page.locator(".card .label").all_text_contents()]
    assert [tuple(row["labels"]) for row in rows] == wanted
    assert shown == [", ".join(labels or ()) or "no label" for labels in wanted]


@pytest.mark.slow
def test_the_page_works_without_a_network_after_the_first_visit(site: Path, photos: Path, browser: Any) -> None:
    with serving(site) as address, visited(browser, address) as page:
        page.wait_for_selector("#offline:not([hidden])", timeout=60_000)
        page.context.set_offline(True)
        page.reload()
        page.wait_for_selector("#about:has-text('A classifier')", timeout=60_000)
        page.set_input_files("#choose", str(next(photos.rglob("*.png"))))
        assert predicted(page)[0]["label"] in ("cat", "dog", "owl")


@pytest.mark.slow
def test_the_camera_has_live_bars(site: Path, browser: Any) -> None:
    with serving(site) as address, visited(browser, address, permissions=["camera"]) as page:
        page.focus("#camera")
        page.keyboard.press("Enter")
        page.wait_for_selector("#live-bars progress", timeout=60_000)
        assert page.text_content("#live-label") in ("cat", "dog", "owl")
        assert page.evaluate("document.activeElement.id") == "shoot"
        page.keyboard.press("Enter")
        assert predicted(page)[0]["file"] == "camera-1.jpg"
        page.click("#stop")
        assert page.is_hidden("#viewfinder")
        assert page.evaluate("document.activeElement.id") == "camera"


@pytest.mark.slow
def test_a_page_that_is_opened_as_a_file_says_what_it_needs(site: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.wait_for_selector("#message:has-text('web server')")
    page.close()
