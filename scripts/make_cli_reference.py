"""Writes docs/reference/cli.md, the reference of the command line, from the commands as the code declares them.

``python scripts/make_cli_reference.py`` writes the file anew; ``--check`` only compares, and leaves with 1 where it
differs. Read are the annotations of the commands' own parameters, not typer's parsed commands: those change shape with
typer's version, and the page must not.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from generated import write_or_check

TARGET = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
HEAD = """\
# Command line

This page is written from the code by `make docs`; a test compares the two.

Results go to standard output, everything else (the plan, progress, notes, errors) to standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a bug in headstart, with a traceback: please report it |
| 2 | something about the request or the data: one message says what, where, and what to do |
| 130 | interrupted with Ctrl-C (143: by SIGTERM; 129: by SIGHUP): the message says how to continue |

`check` ends with 1 where photos should not be trained on as they are, and prints why.
`predict` also ends with 2 when a photo could not be read: it lists that photo and predicts the others.
With `--json`, an error is printed as `{"error": …, "exit_code": …}` on standard output too.
"""


class Parameter(NamedTuple):
    """One parameter of a command: what typer is told about it (``info``), its type and its default."""

    name: str
    info: Any
    kind: Any
    default: Any

    @property
    def is_argument(self) -> bool:
        return type(self.info).__name__ == "ArgumentInfo"


def reference() -> str:
    """The whole page as Markdown."""
    from headstart.cli.app import app

    commands = {c.name or c.callback.__name__: c.callback for c in app.registered_commands if c.callback}
    contents = [f"- [headstart {name}](#headstart-{name}): {_summary(run)}" for name, run in commands.items()]
    return "\n".join([HEAD, *contents, "", *(_section(name, run) for name, run in commands.items())]).rstrip() + "\n"


def parameters(command: Any) -> list[Parameter]:
    """The command's parameters, arguments first, in the order of its signature."""
    found = []
    for p in inspect.signature(command, eval_str=True).parameters.values():
        if get_origin(p.annotation) is Annotated:
            kind, info = get_args(p.annotation)[:2]
            default = None if p.default is inspect.Parameter.empty else p.default
            found.append(Parameter(p.name, info, kind, default))
    return sorted(found, key=lambda p: not p.is_argument)


def _section(name: str, command: Any) -> str:
    """One command: what it does, how it is called, its arguments, and a table of options per panel of its help."""
    every = parameters(command)
    arguments = [p for p in every if p.is_argument]
    call = " ".join(["headstart", name, "[OPTIONS]", *map(_placeholder, arguments)])
    lines = [f"## headstart {name}", "", inspect.cleandoc(command.__doc__ or ""), "", "```", call, "```", ""]
    if arguments:
        lines += [*_table("argument", ((f"`{_placeholder(p)}`", _words(p)) for p in arguments)), ""]
    for panel, members in _panels(p for p in every if not p.is_argument).items():
        lines += [*_table(panel, ((_spelling(p), _words(p)) for p in members)), ""]
    return "\n".join(lines)


def _summary(command: Any) -> str:
    return inspect.cleandoc(command.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _placeholder(argument: Parameter) -> str:
    """``DATA``, ``[PATTERN]`` where it may be left out, ``FILES...`` where there may be several."""
    name = str(argument.info.metavar or argument.name.upper()).strip("[]")
    name += "..." if get_origin(argument.kind) is list else ""
    return f"[{name}]" if type(None) in get_args(argument.kind) else name


def _panels(options: Iterable[Parameter]) -> dict[str, list[Parameter]]:
    """Options by the panel of ``--help`` that they stand in, in the order of first appearance."""
    grouped: dict[str, list[Parameter]] = {}
    for option in options:
        grouped.setdefault(option.info.rich_help_panel or "Options", []).append(option)
    return grouped


def _table(head: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f"| {head} | |"
    yield "|---|---|"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _spelling(option: Parameter) -> str:
    """``--shots`` INTEGER; a flag has no value. Within ``Annotated``, typer keeps the first name as the default."""
    names = ", ".join(f"`{name}`" for name in (option.info.default, *option.info.param_decls) if isinstance(name, str))
    kind = _value(option.kind)
    return f"{names} {option.info.metavar or kind}" if kind else names


def _value(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType, list):
        return _value(next(k for k in get_args(kind) if k is not type(None)))
    return {bool: "", int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def _words(parameter: Parameter) -> str:
    """Its help, and its default where the help does not say it."""
    text = re.sub(r"\\(?=\[)", "", parameter.info.help or "")
    default = parameter.default
    told = default not in (None, "", ()) and default is not False and "[default" not in text
    return f"{text} [default: {default}]" if told else text


if __name__ == "__main__":
    sys.exit(write_or_check(reference(), TARGET, sys.argv[1:]))
