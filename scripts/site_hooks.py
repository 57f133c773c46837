"""What MkDocs is told beside mkdocs.yml, so that docs/ reads the same as a site and as files of a repository.

In: the pages of docs/ and of the repository's root. Out: the site's list of pages, its navigation, and Markdown whose
links lead to pages of the site; or, for what is no page (a folder of notebooks), to the repository that
HEADSTART_REPOSITORY names, and where it names none, nowhere.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
FROM_ROOT = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changes.md",
}
DECISIONS = "decisions/index.md"
FOLDERS = {"docs/decisions": DECISIONS}
_FENCE = re.compile(r"^(`{3,}).*?^\1", flags=re.M | re.S)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?![a-z]+:|#)([^)\s#]*)(#[^)\s]*)?\)")
_OBJECT = re.compile(r"^<!-- (::: [\w.]+) -->$", flags=re.M)


def on_config(config: Any) -> Any:
    """Name the repository, and write out the entries of the navigation that stand for all other pages of a folder."""
    config.repo_url = os.environ.get("HEADSTART_REPOSITORY") or None
    named = set(_named(config.nav))
    config.nav = [_written_out(entry, named) for entry in config.nav]
    return config


def _named(nav: Any) -> list[str]:
    """Every page that a part of the navigation names."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in _named(part)]


def _written_out(section: dict[str, list[Any]], named: set[str]) -> dict[str, list[Any]]:
    """A section with the pages that its entries ``folder/*`` stand for, by name."""
    ((title, entries),) = section.items()
    pages: list[Any] = []
    for entry in entries:
        if isinstance(entry, str) and entry.endswith("/*"):
            found = sorted((ROOT / "docs").glob(f"{entry}.md"))
            pages += [at for p in found if (at := p.relative_to(ROOT / "docs").as_posix()) not in named]
        else:
            pages.append(entry)
    return {title: pages}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the repository's root, and a list of the decisions."""
    for name, at in FROM_ROOT.items():
        files.append(File.generated(config, at, content=(ROOT / name).read_text(encoding="utf-8")))
    files.append(File.generated(config, DECISIONS, content=decisions()))
    return files


def decisions() -> str:
    """The page that lists the decisions by the headings of their records."""
    lines = ["# Decisions", "", "Choices that a reader of the code would wonder about, each on half a page.", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        number, _, heading = path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ").partition(". ")
        lines.append(f"- {number}. [{heading}]({path.name})")
    return "\n".join(lines) + "\n"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead the links of a page to where the site has what they name, and put in what the code documents."""
    uri = page.file.src_uri
    home = next((name for name, at in FROM_ROOT.items() if at == uri), f"docs/{uri}")
    return _OBJECT.sub(r"\1", outside_code(markdown, lambda text: relinked(text, home, uri, config.repo_url)))


def outside_code(markdown: str, change: Any) -> str:
    """The text with the change made to all of it but its code blocks."""
    parts, end = [], 0
    for block in _FENCE.finditer(markdown):
        parts += [change(markdown[end : block.start()]), block.group()]
        end = block.end()
    return "".join([*parts, change(markdown[end:])])


def relinked(text: str, home: str, uri: str, repository: str | None) -> str:
    """The text with its relative links as the site needs them.

    Args:
        text: Markdown.
        home: the page's place in the repository.
        uri: its place on the site.
        repository: the address of the repository, for what is no page of the site.
    """

    def put(found: re.Match[str]) -> str:
        picture, words, target, anchor = found.groups()
        place = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
        at = FROM_ROOT.get(place) or FOLDERS.get(place)
        if at is None and place.startswith("docs/") and (ROOT / place).is_file():
            at = place.removeprefix("docs/")
        if at is not None:
            return f"{picture}[{words}]({posixpath.relpath(at, posixpath.dirname(uri) or '.')}{anchor or ''})"
        if (ROOT / place).exists():
            return f"[{words}]({repository}/tree/HEAD/{place})" if repository else str(words)
        return found.group()

    return _LINK.sub(put, text)
