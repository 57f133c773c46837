"""Takes the pictures of docs/guides/studio.md, of the sample project: ``python scripts/make_studio_pictures.py``.

They are written to docs/images/studio as WebP, light, dark and of a phone's width, and ``studio.webm``, a recording of
the whole path.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

TARGET = Path(__file__).parents[1] / "docs" / "images" / "studio"
LONG = 600_000  # ms
STEPS = ("photos", "problems", "train", "results", "try", "next", "export")
WIDE, PHONE = {"width": 1200, "height": 800}, {"width": 390, "height": 800}


def shot(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.save(TARGET / f"{name}.webp", quality=80, method=6)


def walk(page: Page, address: str, project: Path) -> None:
    """The whole path, a picture at each step."""
    page.goto(address)
    page.get_by_role("heading", name="Your projects").wait_for()
    shot(page, "home")
    page.locator("div.card").get_by_role("button", name="Open").click()
    page.locator(".cell").nth(20).wait_for()
    page.wait_for_timeout(2500)
    page.locator(".cell").nth(2).click()
    page.locator(".cell").nth(5).click(modifiers=["Shift"])
    page.wait_for_timeout(800)
    shot(page, "photos")
    page.get_by_role("button", name="Remove the class").click()  # so that there is something to label next
    page.locator(".classes button", has_text=re.compile(r"^\s*7")).click()
    page.locator(".cell").nth(1).click()
    page.locator(".cell").nth(6).click(modifiers=["Shift"])
    page.get_by_role("button", name="Remove the class").click()
    page.locator(".classes button", has_text=re.compile(r"^\s*3")).first.click()
    again = project / "photos" / "8" / "8_029.png"  # a photo that another class has, to be found
    page.locator("input[type=file]").first.set_input_files(again)
    page.wait_for_timeout(1500)
    page.get_by_role("link", name="Train").click()
    page.get_by_text("Options").click()
    page.get_by_label("Pretrained network").fill("starter")
    page.get_by_label("Strategy").select_option("probe")
    page.wait_for_timeout(500)
    page.get_by_role("link", name="Problems").click()
    page.get_by_role("button", name="Look for problems").click()
    page.locator("article.finding, main p:has-text('Nothing is wrong')").first.wait_for(timeout=LONG)
    page.wait_for_timeout(1000)
    shot(page, "problems")
    page.get_by_role("link", name="Train").click()
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("link", name="See the results").wait_for(timeout=LONG)
    shot(page, "train")
    page.get_by_role("link", name="See the results").click()
    page.locator(".confusion").wait_for()
    page.wait_for_timeout(1500)
    shot(page, "results")
    page.get_by_role("link", name="Try it").click()
    page.locator("input[type=file]").first.set_input_files(project / "photos" / "5" / "5_029.png")
    page.locator(".bars").wait_for(timeout=LONG)
    page.get_by_role("button", name="Where it looked").click()
    page.locator("img.whole[src^='data:']").wait_for(timeout=LONG)
    page.get_by_role("button", name="Nearest training photos").click()
    page.locator("figure.near").first.wait_for(timeout=LONG)
    page.wait_for_timeout(1000)
    shot(page, "try")
    page.get_by_role("link", name="Label next").click()
    page.get_by_role("button", name="Rank the photos").click()
    page.locator("article.card img.large").wait_for(timeout=LONG)
    page.wait_for_timeout(1000)
    shot(page, "next")
    page.keyboard.press("Enter")
    page.wait_for_timeout(1500)
    page.get_by_role("link", name="Export").click()
    page.get_by_label("Export").select_option("torch")
    page.get_by_role("button", name="Export").click()
    page.get_by_role("link", name="Download:").wait_for(timeout=LONG)
    shot(page, "export")


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder) / "headstart-studio"
        command = [sys.executable, "-m", "headstart", "studio", "--projects", str(home), "--port", "0", "--no-browser"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr
        found = re.search(r"http://127\.0\.0\.1:\d+/", process.stderr.readline())
        assert found
        place = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"])
        recorded: Any = {"width": 960, "height": 640}
        context = browser.new_context(viewport=WIDE, record_video_dir=folder, record_video_size=recorded)
        page = context.new_page()
        page.set_default_timeout(60_000)
        walk(page, found[0], home / "digits")
        context.close()
        if page.video:
            page.video.save_as(TARGET / "studio.webm")
        for name, scheme, size, steps in (
            ("dark", "dark", WIDE, ("photos", "results")), ("phone", "light", PHONE, STEPS),
        ):  # fmt: skip
            other = browser.new_page(color_scheme=scheme, viewport=size)
            for step in steps:
                other.goto(f"{found[0]}#/digits/{step}")
                other.locator("main").wait_for()
                other.wait_for_timeout(2500)
                shot(other, f"{step}-{name}")
        browser.close()
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
