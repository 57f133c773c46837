"""The studio in a real browser: the whole path by mouse and by keyboard, two tabs, killed processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow
LONG = 60_000  # ms: trainings on a busy machine


@pytest.fixture
def page(browser: Any, studio: Any) -> Iterator[Any]:
    """The page, every complaint of the browser's a failure."""
    context = browser.new_context(viewport={"width": 1200, "height": 820}, accept_downloads=True)
    complaints: list[str] = []
    context.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    elsewhere: list[str] = []
    own = (studio.address, "blob:", "data:")
    context.on("request", lambda asked: None if asked.url.startswith(own) else elsewhere.append(asked.url))
    made = context.new_page()
    made.set_default_timeout(30_000)
    made.goto(studio.address)
    yield made
    context.close()
    assert not elsewhere
    assert not [c for c in complaints if "ERR_CONNECTION" not in c and "ERR_INCOMPLETE" not in c and "422" not in c]


@pytest.fixture
def kinds(draw_photo: Callable[..., Path], tmp_path: Path) -> dict[str, list[str]]:
    """Twelve photos of each of two classes."""
    rng = np.random.default_rng(0)
    return {
        label: [str(draw_photo(tmp_path / "camera" / label / f"{label}{i}.png", c, rng)) for i in range(12)]
        for c, label in enumerate(("cat", "dog"))
    }


def post(studio: Any, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{studio.address}api/projects{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def get(studio: Any, path: str) -> Any:
    with urllib.request.urlopen(f"{studio.address}api/projects{path}", timeout=60) as response:
        return json.load(response)


def project_of(studio: Any, kinds: dict[str, list[str]], name: str = "pets") -> Path:
    """A project with the photos of ``kinds``, quick to train, made without the page."""
    folder = Path(next(iter(kinds.values()))[0]).parents[1]
    post(studio, "", {"data": str(folder)})
    post(studio, f"/{folder.name}/settings", {"training": {"backbone": "starter", "strategy": "probe"}})
    return Path(studio.home) / folder.name


def trained(studio: Any, kinds: dict[str, list[str]], until: Any) -> Path:
    """A project with a finished run."""
    project = project_of(studio, kinds)
    post(studio, f"/{project.name}/jobs", {"kind": "train", "options": {"backbone": "starter", "strategy": "probe"}})
    until(lambda: get(studio, f"/{project.name}/jobs")["jobs"][0]["state"] not in ("starting", "running"))
    assert get(studio, f"/{project.name}/jobs")["jobs"][0]["state"] == "done"
    return project


def table(project: Path) -> dict[str, str]:
    with (project / "labels.csv").open(encoding="utf-8", newline="") as file:
        return {Path(row["path"]).name: row["label"] for row in csv.DictReader(file)}


def test_from_an_empty_folder_to_an_exported_model(page: Any, studio: Any, kinds: dict[str, list[str]]) -> None:
    page.get_by_label("Name", exact=True).fill("pets")
    page.get_by_role("button", name="Create").click()
    for label, files in kinds.items():
        page.get_by_label("Name of the class").fill(label)
        page.get_by_role("button", name="Add", exact=True).click()
        page.locator(".classes [aria-pressed=true]", has_text=label).wait_for()
        page.locator("input[type=file]").first.set_input_files(files)
        page.locator(f".classes button:has-text('{label}') .count:text-is('12')").wait_for()
    project = studio.home / "pets"
    assert sorted(table(project).values()) == ["cat"] * 12 + ["dog"] * 12
    assert all((project / "photos" / label / Path(f).name).is_file() for label, files in kinds.items() for f in files)

    page.get_by_role("link", name="Train").click()
    page.get_by_text("Options").click()
    page.get_by_label("Pretrained network").fill("starter")
    page.get_by_label("Strategy").select_option("probe")
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("link", name="See the results").click(timeout=LONG)
    assert "classified correctly" in page.locator(".headline").text_content()
    page.locator(".confusion button:enabled").first.click()
    page.locator("dialog img").first.wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("The same on the command line").click()
    assert "/labels.csv --out " in page.locator(".command code").text_content()

    page.get_by_role("link", name="Try it").click()
    page.locator("input[type=file]").first.set_input_files(kinds["dog"][0])
    page.locator(".bars li").nth(1).wait_for(timeout=LONG)
    page.get_by_role("button", name="Where it looked").click()
    page.locator("img.whole[src^='data:']").wait_for()
    page.get_by_role("button", name="Nearest training photos").click()
    page.locator("figure.near").first.wait_for(timeout=LONG)

    page.get_by_role("link", name="Export").click()
    page.get_by_label("Export").select_option("torch")
    page.get_by_role("button", name="Export").click()
    with page.expect_download(timeout=LONG) as download:
        page.get_by_role("link", name="Download:").click(timeout=LONG)
    assert download.value.suggested_filename == "model.pt2"


def test_by_keyboard_alone(page: Any, studio: Any, kinds: dict[str, list[str]], until: Any) -> None:
    project_of(studio, kinds)
    page.reload()

    def to(selector: str) -> None:
        """Tab until an element that fits has the focus."""
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    to(".projects a")
    page.keyboard.press("Enter")
    page.locator(".cell").first.wait_for()
    to(".grid")
    page.keyboard.press("Home")
    page.keyboard.press("2")  # the first photo is a dog
    project = studio.home / "camera"
    until(lambda: table(project)["cat0.png"] == "dog")
    page.keyboard.press("Control+z")
    until(lambda: table(project)["cat0.png"] == "cat")
    page.keyboard.press("Shift+End")
    page.keyboard.press("Delete")
    until(lambda: not table(project))
    page.keyboard.press("Control+z")
    until(lambda: len(table(project)) == 24)
    to("nav a[href$='/train']")
    page.keyboard.press("Enter")
    to("button.primary.big")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="See the results").wait_for(timeout=LONG)
    to("a[href$='/results'].button")
    page.keyboard.press("Enter")
    page.locator(".headline").wait_for()
    to("nav a[href$='/export']")
    page.keyboard.press("Enter")
    to("main button.primary")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Download:").wait_for(timeout=LONG)


def test_relabel_in_bulk_and_undo(page: Any, studio: Any, kinds: dict[str, list[str]], until: Any) -> None:
    project = project_of(studio, kinds)
    page.goto(f"{studio.address}#/camera")
    page.locator(".classes button", has_text="cat").click()
    page.locator(".cell").first.click()
    page.locator(".cell").nth(4).click(modifiers=["Shift"])
    page.get_by_text("5 selected").wait_for()
    page.get_by_role("button", name="2 dog").click()
    until(lambda: sorted(table(project).values()).count("dog") == 17)
    page.locator(".classes button:has-text('dog') .count:text-is('17')").wait_for()
    page.get_by_role("button", name="Undo").click()
    until(lambda: sorted(table(project).values()).count("dog") == 12)
    page.get_by_text("Undone: Labelled 5 photos dog").wait_for()


def test_two_tabs_see_each_other(page: Any, studio: Any, kinds: dict[str, list[str]]) -> None:
    project_of(studio, kinds)
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(f"{studio.address}#/camera")
        tab.locator(".cell").first.wait_for()
    page.locator(".cell").first.click()
    page.get_by_role("button", name="Leave out").click()
    other.locator(".classes button:has-text('Left out') .count:text-is('1')").wait_for()
    other.get_by_role("button", name="Undo").click()
    page.locator(".classes button:has-text('Left out') .count:text-is('0')").wait_for()


@pytest.mark.slow
def test_problems_are_settled_on_cards(
    page: Any, studio: Any, kinds: dict[str, list[str]], draw_photo: Callable[..., Path], until: Any
) -> None:
    wrong = draw_photo(Path(kinds["cat"][0]).with_name("wrong.png"), 1, np.random.default_rng(9))  # drawn as a dog
    project = project_of(studio, kinds)
    page.goto(f"{studio.address}#/camera/problems")
    page.get_by_role("button", name="Look for problems").click()
    card = page.locator("article.finding", has_text="label error").first
    card.get_by_role("button", name="It is dog").click(timeout=LONG)
    until(lambda: table(project)[wrong.name] == "dog")
    page.locator("article.finding", has=page.locator(f"img[alt='{wrong.name}']")).wait_for(state="detached")
    page.keyboard.press("Control+z")
    page.locator("article.finding", has=page.locator(f"img[alt='{wrong.name}']")).first.focus()
    page.keyboard.press("k")
    page.locator("article.finding", has=page.locator(f"img[alt='{wrong.name}']")).wait_for(state="detached")
    assert table(project)[wrong.name] == "cat"


def test_killed_server_and_worker_lose_nothing(page: Any, studio: Any, kinds: dict[str, list[str]], until: Any) -> None:
    project = project_of(studio, kinds)
    post(
        studio,
        "/camera/settings",
        {"training": {"backbone": "starter", "strategy": "finetune", "settings": {"epochs": 400}}},
    )
    page.goto(f"{studio.address}#/camera/train")
    page.get_by_role("button", name="Train", exact=True).click()
    job = project / ".studio" / "jobs" / "0001"
    until(lambda: (job / "events.jsonl").is_file() and '"epoch"' in (job / "events.jsonl").read_text())
    studio.kill()
    page.get_by_text("No connection to the studio").wait_for()
    before = (job / "events.jsonl").stat().st_size
    until(lambda: (job / "events.jsonl").stat().st_size > before)  # the training goes on
    os.kill(json.loads((job / "process.json").read_text())["pid"], signal.SIGKILL)
    studio.start()
    page.get_by_text("The training was interrupted").wait_for(timeout=LONG)
    assert len(table(project)) == 24
    page.get_by_role("button", name="Resume").click()
    second = project / ".studio" / "jobs" / "0002" / "events.jsonl"
    until(lambda: second.is_file() and '"epoch"' in second.read_text())
    epochs = [json.loads(line)["epoch"] for line in second.read_text().splitlines() if '"is": "epoch"' in line]
    assert epochs[0] > 0  # it does not begin anew
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Training: stopped").wait_for(timeout=LONG)


def test_the_camera_takes_a_burst(page: Any, studio: Any, until: Any) -> None:
    post(studio, "", {"name": "camera"})
    post(studio, "/camera/classes", {"do": "add", "name": "green"})
    page.goto(f"{studio.address}#/camera")
    page.locator(".classes button", has_text="green").click()
    page.get_by_role("button", name="Use the camera").click()
    hold = page.get_by_role("button", name="Hold to take photos")
    page.wait_for_timeout(1500)
    hold.hover()
    page.mouse.down()
    page.wait_for_timeout(1200)
    page.mouse.up()
    page.get_by_role("button", name="Close").click()
    until(lambda: len(table(studio.home / "camera")) >= 3)


def test_the_camera_is_named_live_and_its_mistake_becomes_a_photo(
    page: Any, studio: Any, kinds: dict[str, list[str]], until: Any
) -> None:
    project = trained(studio, kinds, until)
    page.goto(f"{studio.address}#/camera/try")
    page.get_by_role("button", name="Live camera").click()
    page.locator(".bars li").nth(1).wait_for(timeout=LONG)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/try") else None)
    until(lambda: page.wait_for_timeout(100) or len(asked) >= 3)  # frame after frame
    page.get_by_label("Wrong? It is:").select_option("dog")
    until(lambda: len(table(project)) == 25)
    (made,) = (name for name in table(project) if name.startswith("camera-"))
    assert table(project)[made] == "dog"


def test_forecast_and_comparison_are_one_click_each(
    page: Any, studio: Any, kinds: dict[str, list[str]], until: Any
) -> None:
    trained(studio, kinds, until)
    page.goto(f"{studio.address}#/camera/results")
    for button, expected in (("How many more photos", "expect"), ("Does pretraining help", "scratch")):
        page.get_by_role("button", name=button).click()
        done = page.locator("article.card", has_text=expected).locator("pre")
        done.wait_for(timeout=4 * LONG)
        assert expected in done.text_content()


@pytest.mark.slow
def test_label_next(page: Any, studio: Any, kinds: dict[str, list[str]], tmp_path: Path, until: Any) -> None:
    project = project_of(studio, kinds)
    ids = get(studio, "/camera/photos")["ids"]
    hidden = [*ids[4:12], *ids[16:24]]
    post(studio, "/camera/change", {"do": "label", "label": None, "ids": hidden})
    page.goto(f"{studio.address}#/camera/next")
    page.get_by_role("button", name="Rank the photos").click()
    card = page.locator("article.card")
    card.wait_for(timeout=LONG)
    truth = {Path(file).name: label for label, files in kinds.items() for file in files}
    shown = card.locator("img.large").get_attribute("alt")
    page.keyboard.press(str(1 + sorted(kinds).index(truth[shown])))
    until(lambda: table(project).get(shown) == truth[shown])
    page.locator(f"img.large[alt='{shown}']").wait_for(state="detached")
    page.keyboard.press("Control+z")
    until(lambda: shown not in table(project))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, studio: Any, kinds: dict[str, list[str]], scheme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    project_of(studio, kinds)
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)  # axe is put into the page
    page = context.new_page()
    for step in (
        "",
        "camera/photos",
        "camera/problems",
        "camera/train",
        "camera/results",
        "camera/next",
        "camera/export",
    ):
        page.goto(f"{studio.address}#/{step}")
        page.locator("main").wait_for()
        page.wait_for_timeout(500)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
    context.close()


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_cut_off_on_a_phone(browser: Any, studio: Any, kinds: dict[str, list[str]], width: int) -> None:
    project_of(studio, kinds)
    page = browser.new_page(viewport={"width": width, "height": 700})
    for step in ("", "camera/photos", "camera/problems", "camera/train", "camera/next", "camera/export"):
        page.goto(f"{studio.address}#/{step}")
        page.locator("main").wait_for()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, step
    page.close()
