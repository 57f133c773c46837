"""The site of docs/: it builds without a warning, loads nothing from elsewhere, and shows all that the pages hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from helpers.scripts import script

import headstart as hs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (pip install -e '.[docs]')")
    return script("site_hooks")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name, reason="mkdocs is not installed (pip install -e '.[docs]')")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "HEADSTART_REPOSITORY": ""}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_python_reference_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert page == script("make_api_reference").reference(), "run make docs"
    assert not [name for name in hs.__all__ if name != "__version__" and f"| `hs.{name}` |" not in page]


def test_check_tells_a_page_that_drifted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_or_check = script("generated").write_or_check
    page = tmp_path / "api.md"
    assert write_or_check("text", page, ["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert write_or_check("text", page, []) == 0
    assert write_or_check("text", page, ["--check"]) == 0


@pytest.mark.parametrize(
    ("text", "home", "uri", "wanted"),
    [
        ("[a](docs/guides/check.md#x)", "README.md", "overview.md", "[a](guides/check.md#x)"),
        ("[a](../README.md#python)", "docs/tutorial.md", "tutorial.md", "[a](overview.md#python)"),
        ("[a](../../README.md)", "docs/reference/glossary.md", "reference/glossary.md", "[a](../overview.md)"),
        ("![a](docs/images/report.png)", "README.md", "overview.md", "![a](images/report.png)"),
        ("[a](docs/decisions)", "README.md", "overview.md", "[a](decisions/index.md)"),
        ("[a](../notebooks)", "docs/install.md", "install.md", "a"),
        ("[a](https://example.org/b.md)", "README.md", "overview.md", "[a](https://example.org/b.md)"),
        ("[a](#python)", "README.md", "overview.md", "[a](#python)"),
    ],
)
def test_links_lead_to_the_pages_of_the_site(hooks: ModuleType, text: str, home: str, uri: str, wanted: str) -> None:
    assert hooks.relinked(text, home, uri, None) == wanted


def test_a_link_to_what_is_no_page_leads_to_the_repository(hooks: ModuleType) -> None:
    found = hooks.relinked("[a](../notebooks)", "docs/install.md", "install.md", "https://example.org/me/it")
    assert found == "[a](https://example.org/me/it/tree/HEAD/notebooks)"


def test_code_blocks_are_left_as_they_are(hooks: ModuleType) -> None:
    text = "[a](x)\n```md\n[a](x)\n```\n[a](x)\n"
    assert hooks.outside_code(text, str.upper) == "[A](X)\n```md\n[a](x)\n```\n[A](X)\n"


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_has_every_page(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("")
        at = site / ("" if name.name == "README" else name) / "index.html"
        assert at.is_file(), name
    for name in ("overview", "contributing", "security", "changes", "decisions"):
        assert (site / name / "index.html").is_file()


@pytest.mark.slow
def test_pages_load_nothing_from_another_host(site: Path) -> None:
    loads = r"<(?:script|img|iframe|source|video)[^>]+src=\"?(?:https?:)?//|<link[^>]+href=\"?(?:https?:)?//"
    assert not [p for p in site.rglob("*.html") if re.search(loads, p.read_text(encoding="utf-8"))]
    assert not [p for p in site.rglob("*.css") if re.search(r"url\(\"?(?:https?:)?//", p.read_text(encoding="utf-8"))]


@pytest.mark.slow
def test_lists_tables_and_code_are_what_a_repository_page_shows(site: Path) -> None:
    """The site's Markdown is not the repository's: a list without an empty line before it, say, is none there."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("")
        if name.parts[0] == "reference" and name.name in ("api", "extending"):
            continue  # what docstrings say is added there
        wanted = markdown.render(page.read_text(encoding="utf-8"))
        at = site / ("" if name.name == "README" else name) / "index.html"
        shown = at.read_text(encoding="utf-8").partition("<article")[2].partition("</article>")[0]
        for tag in ("li", "table", "tr", "pre", "h2", "h3", "strong", "img"):
            count = len(re.findall(rf"<{tag}[ >]", shown))
            assert count == len(re.findall(rf"<{tag}[ >]", wanted)), f"{name}: {tag}"


@pytest.mark.slow
def test_the_python_reference_documents_parameters(site: Path) -> None:
    page = (site / "reference" / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("headstart.workflows.train.train.train", "headstart.workflows.predict.predict"):
        assert f'id="{name}"' in page
    assert "Returns" in page
    assert "Raises" in page
