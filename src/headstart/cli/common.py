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


def option(*flags_and_help: str, panel: str | None = None, metavar: str | None = None) -> Any:
    """An option: its flags, then its help."""
    *flags, text = flags_and_help
    return typer.Option(*flags, help=_plain(text), rich_help_panel=panel, metavar=metavar)


def argument(metavar: str, text: str) -> Any:
    """An argument as it is called in usage, and its help."""
    return typer.Argument(metavar=metavar, help=_plain(text), show_default=False)


def _plain(text: str) -> str:
    """Rich would take [default: …] for markup."""
    return text.replace("[", r"\[")


Json = Annotated[bool, option("--json", "Print the result as JSON on standard output.", panel="Output")]
Quiet = Annotated[bool, option("--quiet", "-q", "Print warnings only.", panel="Output")]
Out = Annotated[Path | None, option("--out", "Folder for the result. [default: runs/…]", panel="Output")]
Overwrite = Annotated[bool, option("--overwrite", "Replace an earlier result in --out.", panel="Output")]
Device = Annotated[str, option("--device", "auto, cpu, cuda, cuda:1 or mps.")]
RunFolder = Annotated[Path, argument("RUN", "A run folder, as headstart train makes it.")]


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
