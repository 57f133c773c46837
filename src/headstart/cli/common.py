"""Types of parameters and results that several commands share."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

import typer

from headstart.core.events import Listener, Message

Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.", rich_help_panel="Output")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings only.", rich_help_panel="Output")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help=r"Folder for the result. \[default: runs/…]", rich_help_panel="Output", show_default=False
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result in --out.", rich_help_panel="Output")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, as headstart train makes it.", show_default=False)
]


class Say(TypedDict):
    """The arguments that make a function of headstart report on the command's console, and nowhere else."""

    quiet: bool
    listener: Listener


class Shown(NamedTuple):
    """The result of a command: its text, what ``--json`` prints, a command that may come next, the exit code."""

    text: str
    summary: Any
    next: str = ""
    code: int = 0


class SomeUnread(SystemExit):
    """The end of a predict that answered, but not for every photo."""


@contextmanager
def loading(say: Say | None = None, words: str = "") -> Iterator[None]:
    """Around imports: no garbage is collected while libraries load, nor looked for among their objects later. That was
    an eighth of the work of a short command.

    ``words`` are said first: imports take a second or two in which nothing else could be.
    """
    if say and words:
        say["listener"](Message(f"headstart {words} …"))
    if "torch" in sys.modules:  # an earlier command of this process loaded it
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))
