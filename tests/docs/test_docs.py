"""Documents keep to the code: the CLI reference is what the code says, and nothing that documents name is missing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from helpers.scripts import script

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    return script("make_cli_reference")


@pytest.fixture(scope="module")
def commands() -> dict[str, set[str]]:
    """Every command with its options, as typer itself parses them."""
    from typer.main import get_command

    from headstart.cli.app import app

    found = get_command(app).commands  # type: ignore[attr-defined]
    return {name: {"--help", *(o for p in c.params for o in p.opts)} for name, c in found.items()}


def test_the_cli_reference_is_what_the_code_says(maker: ModuleType) -> None:
    assert (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8") == maker.reference(), "run make docs"


def test_the_cli_reference_names_every_option(maker: ModuleType, commands: dict[str, set[str]]) -> None:
    for section in re.split(r"^## headstart ", maker.reference(), flags=re.M)[1:]:
        name = section.split("\n", 1)[0]
        written = set(re.findall(r"`(--?[a-z][\w-]*)`", section))
        assert written == {o for o in commands[name] if o.startswith("-")} - {"--help"}


def test_check_tells_a_page_that_drifted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_or_check, page = script("generated").write_or_check, tmp_path / "cli.md"
    assert write_or_check("new", page, ["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert write_or_check("new", page, []) == 0
    assert write_or_check("new", page, ["--check"]) == 0
    page.write_text("old", encoding="utf-8")
    assert write_or_check("new", page, ["--check"]) == 1


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)
    assert not broken


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_documents_name_only_commands_and_options_that_exist(page: Path, commands: dict[str, set[str]]) -> None:
    wrong = []
    for command, rest in re.findall(r"\bheadstart ([a-z]+)\b([^\n`|]*)", _code(page)):
        if command not in commands:
            wrong.append(command)
            continue
        unquoted = re.sub(r'"[^"]*"', "", rest)  # what stands in quotes is an option's value
        given = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", unquoted.split("#")[0])
        wrong += [f"{command} {option}" for option in given if option not in commands[command]]
    assert not wrong


def _code(page: Path) -> str:
    """What stands in code blocks and in backticks; a command that goes on after a backslash is one line."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.M | re.S)
    blocks = [block for language, block in fenced if language in ("", "bash")]
    inline = re.findall(r"`(headstart [^`\n]+)`", re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.M | re.S))
    return "\n".join(blocks + inline).replace("\\\n", " ")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_documents_name_only_make_targets_that_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    named = set(re.findall(r"(?:^|`|&& )make ([a-z]+)", _code(page) + page.read_text(encoding="utf-8"), flags=re.M))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_documents_name_only_modules_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)`", text) + re.findall(r"(?<![\w/])(?:tests|benchmarks|scripts)/[\w/]+\.py", text)
    assert not [name for name in named if not any((at / name).is_file() for at in (ROOT, ROOT / "src" / "headstart"))]


def test_formats_names_every_file_of_a_run() -> None:
    from headstart.runs.folder import CONTENTS

    page = (ROOT / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
    assert not [name for name in CONTENTS if f"`{name}`" not in page]


def test_the_readme_has_a_row_for_every_strategy() -> None:
    from headstart.training.strategies import STRATEGIES

    rows = re.findall(r"^\| `([\w-]+)` ", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M)
    assert set(STRATEGIES.names()) <= set(rows)


def test_the_page_of_settings_has_a_row_for_each_and_names_its_values() -> None:
    from headstart.training.plan import AUTO, CHOICES, SETTINGS

    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` (.*)$", page, flags=re.M))
    assert set(SETTINGS) <= set(rows)
    words = {name: [word for word in CHOICES[name] if word != AUTO] for name in CHOICES}
    assert not [(name, word) for name, all_ in words.items() for word in all_ if f"`{word}`" not in rows[name]]


def test_decisions_are_numbered_without_gaps_and_short() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(r.name[:4]) for r in records] == list(range(1, len(records) + 1))
    long = [r.name for r in records if len(r.read_text(encoding="utf-8").splitlines()) > 25]
    assert not long


def test_the_install_never_takes_the_torch_that_torchvision_does_not_fit() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    torch = next(r for r in map(Requirement, project["dependencies"]) if r.name == "torch")
    assert torch.specifier.contains("2.12.0")
    assert not torch.specifier.contains("2.13.0")
    assert not torch.specifier.contains("2.13.0+cpu")
