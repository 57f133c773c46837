"""docs/guides/deploy.md does what it says: its scripts are taken from the page and run."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import headstart as hs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "deploy.md"


def block(kind: str) -> str:
    """The page's one code block of a kind that is a whole program."""
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    return str(found)


@pytest.fixture
def exported(probe_run: Path, tmp_path: Path) -> Path:
    return hs.export(probe_run, out=tmp_path / "model.onnx", quiet=True).path


def test_the_python_script_runs_without_headstart(exported: Path, probe_run: Path, photos: Path) -> None:
    code = block("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    names = sorted(photos.rglob("*.png"))[:6]
    blocked = "import sys\nsys.modules['headstart'] = None\n" + code
    done = subprocess.run([sys.executable, "-c", blocked, exported, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.rsplit(" ", 2) for line in done.stdout.splitlines()]
    for (name, label, p), wanted in zip(rows, hs.predict(probe_run, names), strict=True):
        assert name == str(wanted.path)
        assert label == wanted.label
        assert float(p) == pytest.approx(wanted.confidence, abs=0.02)


@pytest.mark.slow
def test_the_page_runs_in_a_browser(exported: Path, probe_run: Path, photos: Path, tmp_path: Path, browser) -> None:
    web = os.environ.get("ONNXRUNTIME_WEB")
    if not web:
        pytest.skip("ONNXRUNTIME_WEB does not name the dist folder of the npm package onnxruntime-web")
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        shutil.copy(Path(web) / name, tmp_path)
    (tmp_path / "index.html").write_text(block("html"), encoding="utf-8")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_function("document.getElementById('answer').textContent === 'Choose a photo.'", timeout=60_000)
        for photo in sorted(photos.rglob("*.png"))[::9]:
            page.set_input_files("#file", str(photo))
            (wanted,) = hs.predict(probe_run, [photo])
            page.wait_for_function(f"document.getElementById('answer').textContent.startsWith('{wanted.label} ')")
            said = float(page.text_content("#answer").split()[-1])
            assert said == pytest.approx(wanted.confidence, abs=0.02)
    finally:
        server.shutdown()
        server.server_close()
