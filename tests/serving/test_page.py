"""The page at / in a real browser: by mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import csv
import http.client
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import headstart as hs
from headstart.core.files import read_rows

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser: Any, server: Any) -> Any:
    """The page, every complaint of the browser's a failure."""
    made = browser.new_page(viewport={"width": 1100, "height": 800})
    complaints: list[str] = []
    elsewhere: list[str] = []
    made.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("request", lambda asked: elsewhere.append(asked.url) if not _own(asked.url, server) else None)
    made.goto(server.address)
    made.wait_for_selector("#about:has-text('A classifier')")  # no wait_for_function: the page's policy forbids eval
    yield made
    made.close()
    assert not elsewhere
    assert not [c for c in complaints if "422" not in c]


def _own(url: str, server: Any) -> bool:
    return url.startswith((server.address, "data:", "blob:"))


def labels(page: Any) -> list[str]:
    page.wait_for_selector("#progress:text-matches('^\\\\d+ photos?$')")
    return page.eval_on_selector_all(".card .label", "found => found.map(one => one.textContent)")


def test_photos_get_bars_and_a_table(page: Any, probe_run: Path, photos: Path, tmp_path: Path) -> None:
    assert "cat, dog, owl" in page.text_content("#about")
    (tmp_path / "bad.png").write_bytes(b"not a photo")
    names = [*sorted(photos.rglob("*.png"))[::7], tmp_path / "bad.png"]
    page.set_input_files("#choose", [str(name) for name in names])
    wanted = list(hs.predict(probe_run, names))
    found = labels(page)
    assert found[:-1] == [w.label for w in wanted[:-1]]
    assert "cannot be read" in found[-1]
    assert page.locator(".card").first.locator("progress").count() == 3
    with page.expect_download() as download:
        page.click("#csv")
    download.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [name.name for name in names]
    assert float(rows[0][str(wanted[0].label)]) == pytest.approx(wanted[0].confidence, abs=1e-3)
    assert rows[-1]["problem"]
    page.click("#clear")
    assert page.locator(".card").count() == 0
    assert page.is_hidden("#results")


def test_where_it_looked_comes_and_goes(page: Any, photos: Path) -> None:
    page.set_input_files("#choose", str(next(photos.rglob("*.png"))))
    labels(page)
    page.click(".look")
    page.wait_for_selector(".heat:not([hidden])")
    assert page.get_attribute(".look", "aria-pressed") == "true"
    assert page.evaluate("document.querySelector('.heat').naturalWidth") == 32
    page.click(".look")
    assert page.get_attribute(".look", "aria-pressed") == "false"
    assert page.is_hidden(".heat")


def test_dropping_and_pasting(page: Any, photo_bytes: Callable[..., bytes]) -> None:
    give = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], kind + ".png", {type: "image/png"}));
        const event = kind === "drop" ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
                                      : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
        document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(give, [kind, list(photo_bytes())])
    assert len(labels(page)) == 2


def _file_chooser(page: Any) -> Any:
    """What Space on the field opens. On a busy machine Chromium now and then drops a key that comes before it has
    painted.
    """
    from playwright.sync_api import TimeoutError as TooLate

    for timeout in (5000, 10000, 30000):
        page.focus("#choose")
        try:
            with page.expect_file_chooser(timeout=timeout) as chooser:
                page.keyboard.press("Space")
            return chooser.value
        except TooLate:
            continue
    raise AssertionError("Space on the field opens no file chooser")


def test_by_keyboard(page: Any, photos: Path) -> None:
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert reached[:2] == ["choose", "camera"]
    _file_chooser(page).set_files(str(next(photos.rglob("*.png"))))
    labels(page)
    page.focus(".look")
    page.keyboard.press("Enter")
    page.wait_for_selector(".heat:not([hidden])")


def test_the_camera(browser: Any, server: Any) -> None:
    """Chromium's own picture stands in for a camera."""
    context = browser.new_context(permissions=["camera"])
    page = context.new_page()
    page.goto(server.address)
    page.click("#camera")
    while not page.evaluate("document.getElementById('video').videoWidth"):
        page.wait_for_timeout(50)
    page.click("#shoot")
    assert len(labels(page)) == 1
    page.click("#stop")
    assert page.is_hidden("#viewfinder")
    context.close()


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(browser: Any, server: Any, photos: Path, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(server.address)
    page.set_input_files("#choose", [str(p) for p in sorted(photos.rglob("*.png"))[:3]])
    labels(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrast = page.evaluate(
        """() => {
        const light = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
                .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (node) => {
            for (; node; node = node.parentElement) {
                const colour = getComputedStyle(node).backgroundColor;
                if (!/, 0\\)$|transparent/.test(colour)) return colour;
            }
            return "rgb(255, 255, 255)";
        };
        const texts = [...document.querySelectorAll("h1, h2, p, button, label, .bars span, a")]
            .filter(node => node.offsetParent && node.textContent.trim());
        return Math.min(...texts.map(node => {
            const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
        }));
    }"""
    )
    assert contrast >= 4.5
    page.close()


def test_a_photo_unlike_the_training_photos_carries_a_mark(
    browser: Any, start_server: Callable[..., Any], sure_run: Path, photo_bytes: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / "noise.png").write_bytes(photo_bytes())
    server = start_server("--port", "0", run=sure_run)
    page = browser.new_page()
    page.goto(server.address)
    page.wait_for_selector("#about:has-text('A classifier')")
    page.set_input_files(
        "#choose", [str(tmp_path / "noise.png"), str(sure_run.parent / "photos" / "cat" / "cat_00.png")]
    )
    assert all(label in ("cat", "dog", "owl") for label in labels(page))
    marks = page.locator(".card .unknown")
    assert [marks.nth(i).is_visible() for i in range(2)] == [True, False]
    with page.expect_download() as download:
        page.click("#csv")
    download.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        assert [row["unknown"] for row in csv.DictReader(file)] == ["yes", "no"]
    page.close()


def test_names_are_shown_without_tricks_and_the_table_harms_no_spreadsheet(
    browser: Any, start_server: Callable[..., Any], probe_run: Path, photos: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(probe_run, tmp_path / "run"))
    described = json.loads((run / "model.json").read_text(encoding="utf-8"))
    described["classes"] = ["file", "=1+1", "unknown"]
    (run / "model.json").write_text(json.dumps(described), encoding="utf-8")
    page = browser.new_page()
    page.goto(start_server("--port", "0", run=run).address)
    names = [
        "=cmd.png",
        "'@quoted.png",
        "tricky\u202egnp.exe.png",
        "tab\tand\x1bescape.png",
        "plain.png",
        "क्\u200dष 👩\u200d🚀.png",
    ]
    photo = next(photos.rglob("*.png")).read_bytes()
    page.set_input_files("#choose", [{"name": name, "mimeType": "image/png", "buffer": photo} for name in names])
    labels(page)
    shown = page.eval_on_selector_all(".card .file", "found => found.map(one => one.textContent)")
    assert shown == [names[0], names[1], "tricky\\u202egnp.exe.png", "tab\\x09and\\x1bescape.png", names[4], names[5]]
    assert page.eval_on_selector_all(".card .photo", "found => found.map(one => one.alt)") == shown
    with page.expect_download() as download:
        page.click("#csv")
    download.value.save_as(tmp_path / "table.csv")
    raw = (tmp_path / "table.csv").read_text(encoding="utf-8")
    assert '"\'=cmd.png"' in raw
    assert "\"''@quoted.png\"" in raw
    head, *rows = read_rows(tmp_path / "table.csv")
    assert head == ["file", "label", "probability", "p(file)", "=1+1", "p(unknown)", "problem", "unknown", "distance"]
    assert [row[0] for row in rows] == names
    assert {row[1] for row in rows} <= {"file", "=1+1", "unknown"}
    page.close()


@pytest.fixture
def proxied(server: Any) -> Iterator[tuple[str, list[str]]]:
    """The address of a proxy that serves the server below /pets/, as ingresses and notebooks do, and the paths outside
    it that were asked for.
    """
    host, outside = urlsplit(server.address).netloc, list[str]()

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith("/pets/"):
                outside.append(self.path)
                return self.send_error(404)
            ask = http.client.HTTPConnection(host)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            ask.request(self.command, self.path[5:], body or None, dict(self.headers))
            answer = ask.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.read())
            ask.close()

        do_POST = do_HEAD = do_GET  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}/pets/", outside
        proxy.shutdown()


def test_the_page_works_behind_a_proxy_below_a_path(browser: Any, proxied: tuple[str, list[str]], photos: Path) -> None:
    address, outside = proxied
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("#about:has-text('A classifier')")
    page.set_input_files("#choose", str(next(photos.rglob("*.png"))))
    assert labels(page)[0] in ("cat", "dog", "owl")
    page.click(".look")
    page.wait_for_selector(".heat:not([hidden])")
    page.close()
    assert [path for path in outside if path != "/favicon.ico"] == []


@pytest.mark.slow
def test_the_page_asks_for_the_key(
    browser: Any, start_server: Callable[..., Any], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETS_KEY", "a-key-of-thirty-characters-x30")
    server = start_server("--port", "0", "--root-path", "/pets", "--api-key", "env:PETS_KEY")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.address)
    page.wait_for_selector("#lock:not([hidden])")
    assert page.is_hidden("#drop")
    for wrong in ("wrong", "schlüssel"):
        page.fill("#key", wrong)
        page.press("#key", "Enter")
        page.wait_for_selector("#refused:not([hidden])")
    page.get_by_label("API key").fill("a-key-of-thirty-characters-x30")
    page.click("#lock button")
    page.wait_for_selector("#about:has-text('cat, dog, owl')")
    assert page.is_hidden("#lock")
    page.set_input_files("#choose", [str(next(photos.rglob("*.png")))])
    assert labels(page)[0] in ("cat", "dog", "owl")
    page.click(".look")
    page.wait_for_selector(".heat:not([hidden])")
    page.reload()
    page.wait_for_selector("#lock:not([hidden])")
    page.close()
    assert not errors
