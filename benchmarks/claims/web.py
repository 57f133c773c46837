"""Whether the page of ``export --format web`` answers as ``predict`` does: docs/guides/phones.md.

    ONNXRUNTIME_WEB=…/onnxruntime-web/dist python benchmarks/claims/web.py RUN PHOTOS [NUMBER] [ENLARGED]

exports the run, opens the page in Chromium without a window (``CHROMIUM`` names it), gives it up to NUMBER (200) photos
of the folder, and compares. ENLARGED: pixels of the shorter side that photos are enlarged to, as JPEG, as from a phone.
"""

from __future__ import annotations

import functools
import http.server
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import headstart as hs


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


def answers(folder: Path, photos: list[Path]) -> tuple[list[dict[str, Any]], float]:
    """(a row per photo as the page has it, milliseconds per photo)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_selector("#about:has-text('A classifier')", timeout=120_000)
        began = time.perf_counter()
        page.set_input_files("#choose", [str(photo) for photo in photos])
        page.wait_for_selector("#progress:text-matches('^\\\\d+ photos?$')", timeout=600_000)
        seconds = time.perf_counter() - began
        rows = page.evaluate("rows")
        browser.close()
    server.shutdown()
    return rows, 1000 * seconds / len(photos)


def enlarged(photos: list[Path], short: int, folder: Path) -> list[Path]:
    made = []
    for number, photo in enumerate(photos):
        with Image.open(photo) as image:
            by = short / min(image.size)
            size = (round(image.width * by), round(image.height * by))
            large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        made.append(folder / f"{number}.jpg")
        large.save(made[-1], quality=90)
    return made


def main(run: str, photos: str, number: str = "200", short: str = "0") -> None:
    found = sorted(file for file in Path(photos).expanduser().rglob("*") if file.is_file())
    random.Random(1).shuffle(found)
    with tempfile.TemporaryDirectory() as folder:
        names = found[: int(number)]
        if int(short):
            names = enlarged(names, int(short), Path(folder))
        runtime, out = os.environ.get("ONNXRUNTIME_WEB"), Path(folder) / "site"
        site = hs.export(run, format="web", out=out, web_runtime=runtime, photos=names[:20], quiet=True).path
        rows, ms = answers(site, names)
        wanted = list(hs.predict(run, names, device="cpu"))
    pairs = [(row, one) for row, one in zip(rows, wanted, strict=True) if one.label is not None]
    same = sum(row["label"] == one.label for row, one in pairs)
    unknown = sum(row["unknown"] == one.unknown for row, one in pairs)
    largest = max(abs(row["probabilities"][c] - p) for row, one in pairs
                  for c, p in zip(row["probabilities"], one.probabilities, strict=True))  # fmt: skip
    print(f"same class for {same} of {len(pairs)}, the same mark 'unknown' for {unknown}, largest difference of a")
    print(f"probability {largest:.2g}, {ms:.0f} ms per photo")


if __name__ == "__main__":
    main(*sys.argv[1:])
