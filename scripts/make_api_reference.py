"""Writes docs/reference/api.md, the list of what ``import headstart`` offers, from the package and its docstrings.

``python scripts/make_api_reference.py`` writes the file anew; ``--check`` only compares, and leaves with 1 where it
differs. Nothing is imported but the package's own list of names: the docstrings are read from the source. On a page of
the repository the list stands alone; the site puts the whole documentation of each name where a comment names it
(scripts/site_hooks.py).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from generated import write_or_check

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference" / "api.md"
HEAD = """\
# Python

`import headstart as hs` offers the functions below: what the command line does, with the same names and options.
`import headstart` is instant, since each name is imported when it is first used. A mistake in the options or the data
raises `headstart.errors.HeadstartError` with the message that the command line prints.

This page is written from the code by `make docs`; a test compares the two. The
[overview](../../README.md#python) has an example, and [extending headstart](extending.md) describes parts of your own.
"""
GROUPS = {
    "Before training": ("photos", "check", "recommend", "forecast", "backbones"),
    "Training": ("train", "resume", "open_run", "compare", "study", "tune", "demo"),
    "Using a model": (
        "predict",
        "evaluate",
        "explain",
        "embed",
        "search",
        "suggest",
        "export",
        "serve",
        "push",
        "describe",
    ),
    "What functions return": ("Run", "Classifier", "Prediction"),
}
REST = "More"
BESIDE = {
    "Errors": "headstart.errors",
    "Events": "headstart.core.events",
    "Options of training": "headstart.training.config",
}
PARTS = {
    "headstart.errors": ("HeadstartError", "DataError", "OptionError", "RunError", "WeightsError", "DownloadError"),
    "headstart.core.events": ("Message", "Warned", "Table", "Progress", "EpochEnd", "Finding"),
    "headstart.training.config": ("TrainOptionsDict",),
}


def homes() -> dict[str, str]:
    """The public names, each with the module that it comes from; read from the package's own list."""
    tree = ast.parse((ROOT / "src" / "headstart" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_HOMES":
            found: dict[str, str] = ast.literal_eval(node.value)
            return found
    raise LookupError("src/headstart/__init__.py has no _HOMES")


def summary(module: str, name: str) -> str:
    """The first sentence of the docstring of a function or class."""
    file = ROOT / "src" / Path(*module.split("."))
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            text = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
            return text.partition(". ")[0].rstrip(".") + "." if text else ""
    raise LookupError(f"{module} has no {name}")


def reference() -> str:
    """The whole page as Markdown."""
    every = homes()
    grouped = {name for names in GROUPS.values() for name in names}
    groups = {**GROUPS, REST: tuple(name for name in every if name not in grouped)}
    lines = [HEAD]
    for title, names in groups.items():
        lines += _group(title, "hs", {name: every[name] for name in names if name in every})
    for title, module in BESIDE.items():
        lines += _group(title, module, dict.fromkeys(PARTS[module], module))
    return "\n".join(lines).rstrip() + "\n"


def _group(title: str, prefix: str, members: dict[str, str]) -> Iterator[str]:
    """A section: a table of names and summaries, and for each name the comment that the site replaces."""
    if not members:
        return
    yield from (f"## {title}", "", "| | |", "|---|---|")
    for name, module in members.items():
        yield f"| `{prefix}.{name}` | {summary(module, name)} |".replace("|  |", "| |")
    yield ""
    for name, module in members.items():
        yield from (f"<!-- ::: {module}.{name} -->", "")


if __name__ == "__main__":
    sys.exit(write_or_check(reference(), TARGET, sys.argv[1:]))
