"""Photos whose names try to act on whatever shows them: a terminal, a spreadsheet, a page, Markdown, a shell. They go
through the commands; what these print and write is read as a terminal, a spreadsheet and so on would read it.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes all of these names"),
]

NASTY = (
    "two\nlines", "\x1b[31mred\x1b]0;title\x07", "bidi\u202egpj", "=cmd()", "[red]x[bold]", "[]", "$x", "@sum",
    "'=twice", "<script>alert(1)<", '"><img src=x onerror=alert(1)>', "back`tick", "pi|pe", "quo'te\"", "--help",
    "a b; touch pwned", "l" * 200, "\U0001f600\U0001f469\u200d\U0001f52c", "{{7*7}}{%", "![x](http:~evil)",
    "\rcarriage", os.fsdecode(b"caf\xe9\x9b31m"),
)  # fmt: skip
PAYLOADS = (b"\x1b[31mred", b"\x1b]0;", b"\x07", b"\x9b31m", "\u202e".encode(), b"\r")
PER_CLASS = 4
DRIVER = """
    import json, os, sys
    from headstart.cli.app import main

    for number, words in enumerate(json.load(open(sys.argv[1]))):
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{number}.{name}", os.O_WRONLY | os.O_CREAT), stream)
        sys.argv = ["headstart", *words]
        try:
            main()
        except SystemExit as end:
            open(f"{number}.code", "w").write(str(end.code or 0))
        sys.stdout.flush(), sys.stderr.flush()
"""


class Said(NamedTuple):
    """What a command printed."""

    words: list[str]
    code: int
    out: bytes
    err: bytes


class Work(NamedTuple):
    """A folder in which commands ran, and what each of them printed, by its name or the word that ``ran`` gives it."""

    folder: Path
    said: dict[str, Said]


def ran(folder: Path, commands: dict[str, list[str]], **environment: str) -> dict[str, Said]:
    """Run commands one after the other in one process, whose output goes to files: bytes as a pipe gets them."""
    place = folder / f"said-{len(list(folder.glob('said-*')))}"
    place.mkdir()
    (place / "commands.json").write_text(json.dumps([["headstart", *words][1:] for words in commands.values()]))
    code = textwrap.dedent(DRIVER).replace('f"{number}', f'f"{place}/{{number}}')
    places = {"HEADSTART_CACHE": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(place / "commands.json")]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **places, **environment}, timeout=240, check=False)
    assert done.returncode == 0
    said = {}
    for number, (name, words) in enumerate(commands.items()):
        out, err = ((place / f"{number}.{stream}").read_bytes() for stream in ("out", "err"))
        ended = place / f"{number}.code"
        said[name] = Said(words, int(ended.read_text()) if ended.exists() else 0, out, err)
    return said


@pytest.fixture(scope="module")
def work(draw_photo: Callable[..., Path], weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder, rng = tmp_path_factory.mktemp("nasty"), np.random.default_rng(0)
    photos = folder / os.fsdecode(b"ph\xf6tos\n=x")
    for index, name in enumerate(NASTY):
        for i in range(PER_CLASS):
            stem = name if i == 0 and len(name) < 200 else f"{i}"
            draw_photo(photos / name / f"{stem}.png", index, rng)
    (photos / NASTY[0] / "bad\n\x1b[2J.jpg").write_bytes(b"no photo")
    data, options = photos.name, ["--backbone", "starter", "--weights", str(weights)]
    commands = {
        "train": ["train", data, *options, "--strategy", "probe", "--out", "run"],
        "predict": ["predict", "run", data],
        "predict --json": ["predict", "run", data, "--jsonl"],
        "predict --csv": ["predict", "run", data, "--csv"],
        "check": ["check", data, "--quick", "--fix", "clean.csv", "--out", "check.html"],
        "check --json": ["check", data, "--quick", "--json", "--out", "again.html"],
        "evaluate": ["evaluate", "run", data],
        "explain": ["explain", "run", data, "--neighbours", "1"],
        "export": ["export", "run"],
        "compare": [
            "compare",
            data,
            *options,
            "--arms",
            "probe",
            "--seeds",
            "1",
            "--shots",
            "2",
            "--out",
            "comparison",
        ],
        "forecast": ["forecast", data, *options, "--out", "forecast.html"],
        "no run": ["predict", NASTY[1], "x"],
        "no data": ["train", "two\nlines\x1b[2J"],
        "no option": ["train", f"--{NASTY[1]}"],
        "no command": [NASTY[1]],
        "no class": ["explain", "run", data, "--class", NASTY[2]],
        "a taken name": ["train", data, *options, "--out", f"{data}/{NASTY[0]}/1.png"],
    }
    return Work(folder, ran(folder, commands))


BAD = {"predict", "predict --json", "predict --csv"} | {
    "no run", "no data", "no option", "no command", "no class", "a taken name"
}  # fmt: skip
"""They end with exit code 2."""


def table(path: Path) -> list[dict[str, str]]:
    """A CSV as docs/reference/formats.md says that it is to be read."""
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    assert not any(cell[:1] in tuple("=+-@\t\r") for row in rows for cell in row if cell)
    plain = [[cell[1:] if re.match(r"'[=+\-@\t\r']", cell) else cell for cell in row] for row in rows]
    return [dict(zip(plain[0], row, strict=True)) for row in plain[1:]]


def label(name: str) -> str:
    from headstart.data.filenames import clean_label

    return clean_label(name)


def test_every_command_does_its_work(work: Work) -> None:
    for name, said in work.said.items():
        assert said.code == (2 if name in BAD else 0), (name, said.err[-2000:])
        assert b"Traceback" not in said.err
    assert not list(work.folder.rglob("pwned"))


def test_nothing_that_is_printed_acts_on_a_terminal(work: Work) -> None:
    for name, said in work.said.items():
        for printed in (said.out, said.err):
            if name == "predict --csv" and printed is said.out:
                continue  # for a program: as it is
            text = printed.decode()  # and is UTF-8
            left = {char for char in text if char != "\n" and not char.isprintable()} - {"\u200d", "\u202f"}
            assert not left, (name, left)


def test_every_line_is_one_that_the_command_meant(work: Work) -> None:
    photos = len(NASTY) * PER_CLASS
    assert len(work.said["predict"].out.splitlines()) == photos
    answers = [json.loads(line)["label"] for line in work.said["predict --json"].out.decode().splitlines()]
    rows = len(set(answers) - {None})  # of the table of counts: below its title and head, above a note
    assert work.said["predict"].err.count(b"\n") == 1 + 2 + rows + 1
    assert rb"two\nlines/bad\n\x1b[2J.jpg: not an image" in work.said["predict"].err
    for name in ("no run", "no class", "no data"):
        assert len(work.said[name].err.splitlines()) <= 3, work.said[name].err


def test_commands_to_copy_do_nothing_else(work: Work) -> None:
    lines = [said.err.decode().splitlines()[-1] for said in work.said.values() if b"next: " in said.err]
    assert len(lines) >= 5
    (after,) = (line for line in lines if "compare" not in line and "--strategy probe" in line)
    words = after.removeprefix("next: ")
    done = subprocess.run(
        ["bash", "-c", f"headstart() {{ printf '%s\\0' \"$@\"; }}; {words}"], capture_output=True, check=True
    )
    assert done.stdout.split(b"\0")[1] == b"ph\xf6tos\n=x"


def test_json_lines_name_every_photo(work: Work) -> None:
    found = [json.loads(line) for line in work.said["predict --json"].out.decode().splitlines()]
    assert {one["path"] for one in found} == _paths(work.folder)
    assert set(found[0]["probabilities"] if found[0]["label"] else found[1]["probabilities"]) == set(map(label, NASTY))
    json.loads(work.said["check --json"].out)


def test_tables_name_every_photo(work: Work) -> None:
    (work.folder / "printed.csv").write_bytes(work.said["predict --csv"].out)
    assert {row["path"] for row in table(work.folder / "printed.csv")} == _paths(work.folder)
    root = next(path for path in work.folder.iterdir() if path.name.startswith("ph"))
    usable = {(str(path.relative_to(root)), label(path.parent.name)) for path in root.rglob("*.png")}
    splits = table(work.folder / "run" / "splits.csv")
    assert {(row["path"], row["label"]) for row in splits} == usable
    cleaned = table(work.folder / "clean.csv")
    assert {(os.path.relpath(row["path"], root.name), row["label"]) for row in cleaned} == usable
    (left_out,) = table(work.folder / "clean-left-out.csv")
    assert left_out["path"].endswith("bad\n\x1b[2J.jpg")
    predicted = table(work.folder / "run" / "predictions.csv")
    assert {row["path"] for row in predicted} < {path for path, _ in usable}
    assert all(0 <= float(row["confidence"]) <= 1 for row in predicted)


def _paths(folder: Path) -> set[str]:
    """All photos as ``predict`` names them."""
    root = next(path for path in folder.iterdir() if path.name.startswith("ph"))
    return {str(path.relative_to(folder)) for path in root.rglob("*") if path.is_file()}


def test_files_have_names_that_every_system_takes(work: Work) -> None:
    inside = [*(work.folder / "run").rglob("*"), *(work.folder / "comparison").rglob("*")]
    assert len(list((work.folder / "run" / "explained").glob("*.png"))) == len(NASTY) * PER_CLASS
    for path in inside:
        assert path.name.isprintable()
        assert not set(path.name) & set('<>:"\\|?*')
        assert len(os.fsencode(path.name)) <= 130
        assert not path.name.endswith((".", " "))


def test_files_are_utf_8_and_json_is_json(work: Work) -> None:
    for path in [*(work.folder / "run").glob("*"), *(work.folder / "comparison").rglob("*.json")]:
        if path.suffix in {".json", ".html", ".md"}:
            text = path.read_text(encoding="utf-8")
            assert path.suffix != ".json" or json.loads(text)
    held = json.loads((work.folder / "run" / "model.onnx.json").read_text(encoding="utf-8"))
    assert held["classes"] == json.loads((work.folder / "run" / "model.json").read_text(encoding="utf-8"))["classes"]


def test_the_model_card_is_the_document_that_was_meant(work: Work) -> None:
    text = (work.folder / "run" / "MODEL_CARD.md").read_text(encoding="utf-8")
    _, front, body = re.split(r"^---$", text, flags=re.MULTILINE)
    assert yaml.safe_load(front)["model-index"][0]["results"][0]["dataset"]["name"] == r"ph\xf6tos\n=x"
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    kinds = {part.type for token in tokens for part in (token, *(token.children or []))}
    assert not kinds & {"html_block", "html_inline", "image", "link_open", "hr", "softbreak", "hardbreak"}
    assert [token.type for token in tokens].count("tr_open") == 3
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", *["h2"] * 5]


PAGES = ("run/report.html", "run/explained/explained.html", "check.html", "comparison/report.html", "forecast.html")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_holds_names_as_text(work: Work, name: str, read_page: Any) -> None:
    text = (work.folder / name).read_text(encoding="utf-8")
    page = read_page(text)
    assert not page.problems
    assert "script" not in {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")], tag
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
    assert any("default-src 'none'" in one.get("content", "") for one in page.all("meta"))
    assert {char for char in text if char != "\n" and not char.isprintable()} <= {"\u202f", "\xa0", "\u200d", "\u2060"}
    if name.endswith(("explained.html", "report.html")):
        assert r"two\nlines" in page.words
        assert "<script>alert(1)<" in page.words


def test_in_a_browser_nothing_runs_and_nothing_is_fetched(work: Work, browser: Any) -> None:
    page = browser.new_page()
    heard: list[str] = []
    page.on("dialog", lambda dialog: (heard.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url) if request.url[:5] not in ("file:", "data:") else None)
    for name in PAGES:
        page.goto((work.folder / name).as_uri())
        assert page.evaluate("document.querySelectorAll('script').length") == 0
        shown = page.evaluate(
            "[...document.images].map(image => [image.loading = 'eager', image.decode()].length).length"
        )
        assert page.evaluate("getComputedStyle(document.querySelector('h1')).fontWeight") not in ("", "400")
        if shown:
            assert page.evaluate("document.images[0].decode().then(() => document.images[0].naturalWidth)") > 0
    page.close()
    assert not heard


def test_no_terminal_stops_the_work(work: Work) -> None:
    """ASCII, and Windows' Latin letters: JSON stays JSON, and no command ends in a traceback."""
    root = next(path.name for path in work.folder.iterdir() if path.name.startswith("ph"))
    commands = {
        "help": ["train", "--help"],
        "predict": ["predict", "run", root],
        "json": ["predict", "run", root, "--jsonl"],
        "csv": ["predict", "run", root, "--csv"],
        "check": ["check", root, "--quick", "--out", "check.html", "--overwrite"],
        "evaluate": ["evaluate", "run", root, "--json"],
        "no class": ["explain", "run", root, "--class", "größe"],
    }
    for encoding in ("ascii", "cp1252"):
        said = ran(work.folder, commands, PYTHONIOENCODING=encoding, LC_ALL="C")
        assert not [name for name, one in said.items() if b"Traceback" in one.err]
        assert {json.loads(line)["path"] for line in said["json"].out.decode(encoding).splitlines()} == _paths(
            work.folder
        )
        json.loads(said["evaluate"].out.decode(encoding))


def test_on_a_terminal_only_rich_moves_the_cursor(work: Work) -> None:
    """With bars, colours and tables, and a table of predictions for the eye."""
    root = next(path.name for path in work.folder.iterdir() if path.name.startswith("ph"))
    for words in (
        ["check", root, "--quick", "--out", "t.html"],
        ["predict", "run", root, "--csv"],
        ["train", root, "--from", "run", "--strategy", "probe", "--out", "t"],
    ):
        shown = _on_a_terminal([sys.executable, "-m", "headstart", *words], work.folder)
        assert b"nlines" in shown
        assert not [payload for payload in PAYLOADS[:-1] if payload in shown]
        rest = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).replace(b"\r", b"")  # Rich's own
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", rest)


def _on_a_terminal(command: list[str], folder: Path) -> bytes:
    import pty

    main, other = pty.openpty()
    places = {
        "HEADSTART_CACHE": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TERM": "xterm-256color",
    }
    with subprocess.Popen(command, cwd=folder, stdout=other, stderr=other, env={**os.environ, **places}) as running:
        os.close(other)
        shown = b""
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # Linux ends so
                break
            if not part:
                break
            shown += part
        running.wait(timeout=120)
    os.close(main)
    return shown
