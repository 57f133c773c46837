"""What the studio costs: its start, scrolling through 10,000 photos, and the keys that it takes to mend wrong labels.

    python benchmarks/claims/studio.py start
    python benchmarks/claims/studio.py scroll
    python benchmarks/claims/studio.py labels ASSETS [--photos 1000 --wrong 50 --network resnet18]

``start`` prints the seconds from the command to the first screen, five times, in a Chromium that runs already.
``scroll`` draws 10,000 photos of 256 px, opens them in headless Chromium and scrolls for some seconds, once while the
thumbnails are made and once more: frames per second, the longest frame, and the memory (resident, of the server and its
processes) beside that of an idle studio. ``labels`` takes photos of three kinds of animals, gives some a wrong class,
looks for problems and settles every card by the keyboard as a person would who knows the right class: its number, or K
where the label is right. Keys are counted. By hand, in a file manager, one would look at each of the
photos, and move each wrong one: select it, cut, open the other folder, paste, and come back.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

MOVES = 5
"""Actions to move a file to another folder by hand."""


@contextmanager
def studio(home: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A studio on this machine; its address and its process."""
    command = [sys.executable, "-m", "headstart", "studio", "--projects", str(home), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    found = re.search(r"http://127\.0\.0\.1:\d+/", process.stderr.readline())
    assert found
    try:
        yield found[0], process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def page(address: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        place = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-gpu"])
        made = browser.new_page(viewport={"width": 1280, "height": 850}, bypass_csp=True)  # for what is awaited
        made.set_default_timeout(120_000)
        made.goto(address)
        yield made
        browser.close()


def post(address: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{address}api/projects{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.load(response)


def memory(pid: int) -> float:
    """Resident MB of a process."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


def children(pid: int) -> list[int]:
    return [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]


def start(times: int = 5) -> None:
    with page("about:blank") as seen, tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            began = time.monotonic()
            with studio(Path(folder) / str(number)) as (address, _):
                answered = time.monotonic() - began
                seen.goto(address)
                seen.locator("h1").first.wait_for()
                print(f"address after {answered:.2f} s, first screen after {time.monotonic() - began:.2f} s")


SCROLL = """seconds => new Promise(done => {
  const grid = document.querySelector(".grid"), times = [];
  const began = performance.now();
  let down = 1;
  const step = now => {
    times.push(now);
    grid.scrollTop += 60 * down;
    if (grid.scrollTop + grid.clientHeight >= grid.scrollHeight - 1) down = -1;
    if (grid.scrollTop <= 0) down = 1;
    if (now - began < 1000 * seconds) requestAnimationFrame(step);
    else done(times.slice(1).map((t, i) => t - times[i]));
  };
  requestAnimationFrame(step);
})"""


def scroll(photos: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data, home = Path(folder) / "photos", Path(folder) / "projects"
        rng = np.random.default_rng(0)
        for label in range(10):
            (data / f"class{label}").mkdir(parents=True)
        for i in range(photos):
            small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC)
            picture.save(data / f"class{i % 10}" / f"{i:05d}.jpg", quality=85)
        with studio(home) as (address, process):
            time.sleep(2)
            idle = memory(process.pid)
            began = time.monotonic()
            post(address, "", {"data": str(data)})
            print(f"{photos:,} photos opened in {time.monotonic() - began:.1f} s")
            with page(f"{address}#/photos") as seen:
                seen.locator(".cell").first.wait_for()
                for words in ("first time", "second time"):
                    frames = np.array(seen.evaluate(SCROLL, seconds))
                    rate = f"{1000 / frames.mean():.1f} frames/s (median {1000 / np.median(frames):.1f}, longest"
                    own, others = memory(process.pid) - idle, sum(map(memory, children(process.pid)))
                    cells = seen.locator(".cell").count()
                    print(f"scrolling, {words}: {rate} frame {frames.max():.0f} ms), {cells} cells in the page;")
                    print(f"  memory of the server {own:+.0f} MB beside {idle:.0f} MB idle;", end=" ")
                    print(f"of the processes that decode and that wait for a job {others:.0f} MB")


def labels(assets: Path, photos: int, wrong: int, network: str) -> None:
    rng = np.random.default_rng(0)
    every = sorted((assets / "data" / "animals").glob("*/*.jpg"))
    chosen = [every[i] for i in sorted(rng.choice(len(every), photos, replace=False))]
    classes = sorted({photo.parent.name for photo in chosen})
    given = {photo: photo.parent.name for photo in chosen}
    for i in rng.choice(photos, wrong, replace=False):
        others = [name for name in classes if name != chosen[i].parent.name]
        given[chosen[i]] = others[int(rng.integers(len(others)))]
    truth = {photo.name: photo.parent.name for photo in chosen}
    with tempfile.TemporaryDirectory() as folder:
        table, home = Path(folder) / "animals.csv", Path(folder) / "projects"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label"), *((str(p), label) for p, label in given.items())])
        weights = next((assets / "weights").glob(f"{network}*.safetensors"))
        with studio(home) as (address, _):
            post(address, "", {"data": str(table)})
            post(address, "/animals/settings", {"training": {"backbone": network, "weights": str(weights)}})
            with page(f"{address}#/animals/problems") as seen:
                keys = settle(seen, truth)
            now = _table(home / "animals" / "labels.csv")
        before = sum(label != truth[photo.name] for photo, label in given.items())
        after = sum(truth[name] != label for name, label in now.items())
        print(
            f"{photos} photos, {before} with a wrong class: {keys} keys on the cards of likely label errors leave"
            f" {after} wrong. By hand: a look at each of {photos} photos, and {MOVES * before} actions to move {before}"
            " of them."
        )


def settle(seen: Page, truth: dict[str, str]) -> int:
    """Settle every card of likely label errors; returns the number of keys and clicks."""
    seen.get_by_role("button", name="Look for problems").click()
    card = seen.locator("article.finding", has_text="label error").first
    card.wait_for(timeout=1_200_000)
    card.focus()
    pressed = 1
    names = sorted(set(truth.values()))
    while card.count():
        name = card.locator("img").first.get_attribute("alt") or ""
        given = (card.locator("figcaption").first.text_content() or "").split(name)[0].strip()
        seen.keyboard.press("k" if truth[name] == given else str(1 + names.index(truth[name])))
        pressed += 1
        card.locator(f"img[alt='{name}']").wait_for(state="detached")
    return pressed


def _table(file: Path) -> dict[str, str]:
    with file.open(newline="") as lines:
        return {Path(row["path"]).name: row["label"] for row in csv.DictReader(lines)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("start", "scroll", "labels"))
    parser.add_argument("assets", type=Path, nargs="?")
    parser.add_argument("--photos", type=int)
    parser.add_argument("--wrong", type=int, default=50)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--seconds", type=float, default=10)
    asked = parser.parse_args()
    if asked.what == "start":
        start()
    elif asked.what == "scroll":
        scroll(asked.photos or 10_000, asked.seconds)
    elif asked.assets is None:
        parser.error("labels needs ASSETS, the folder with data/ and weights/")
    else:
        labels(asked.assets.expanduser(), asked.photos or 1000, asked.wrong, asked.network)


if __name__ == "__main__":
    main()
