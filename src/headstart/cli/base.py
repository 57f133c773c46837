"""What every command is made of: the types of its parameters, its result, and how that is shown."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

import typer

import headstart
from headstart.cli.process import speaks
from headstart.core.events import Listener, Message
from headstart.core.files import AS_IT_IS, Rows
from headstart.core.text import json_text, line, printable


def option(text: str, *flags: str, panel: str | None = None, metavar: str | None = None) -> Any:
    """An option, by its help; its flag comes from the parameter's name where none is given."""
    return typer.Option(*flags, help=text.replace("[", r"\["), rich_help_panel=panel, metavar=metavar)


def argument(metavar: str, text: str) -> Any:
    """An argument as it is called in usage, and its help. Rich would take [default: …] for markup."""
    return typer.Argument(metavar=metavar, help=text.replace("[", r"\["), show_default=False)


Json = Annotated[bool, option("Print the result as JSON on standard output.", "--json", panel="Output")]
Quiet = Annotated[bool, option("Print warnings only.", "--quiet", "-q", panel="Output")]
Out = Annotated[Path | None, option("Folder for the result. [default: runs/…]", panel="Output")]
Overwrite = Annotated[bool, option("Replace an earlier result in --out.", panel="Output")]
Config = Annotated[
    Path | None,
    option("Options from a YAML file, a run or its request.json; those given here win.", "--config", panel="Output"),
]
SaveConfig = Annotated[Path | None, option("Write the options as YAML for --config.", "--save-config", panel="Output")]
Device = Annotated[str, option("auto, cpu, cuda, cuda:1 or mps.")]
Devices = Annotated[
    int | None,
    option(
        "Number of processes of this machine that share the training. Not needed under torchrun, SLURM or"
        " Kubernetes.", panel="Machine",
    ),
]  # fmt: skip
Executor = Annotated[
    str, option("Where the work runs: local, or ray[:ADDRESS][,cpus=N][,gpus=N], several jobs at a time.")
]
Texts = list[str] | None
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
    """The end of a predict that printed its predictions, but could not read every photo."""


def load(function: str, say: Say | None = None, *subject: object) -> None:
    """Import a public function of headstart. That takes a second or two, so the command is shown first; meanwhile the
    garbage collector is off, and later it skips the libraries' objects: an eighth of the time of a short command.
    """
    if say and speaks():
        say["listener"](Message(printable(f"headstart {' '.join(map(str, (function, *subject)))} …")))
    if "torch" in sys.modules:  # an earlier command of this process loaded it
        return
    gc.disable()
    try:
        getattr(headstart, function)
    finally:
        gc.freeze()
        gc.enable()


def print_json(value: Any, indent: int | None = 1) -> None:
    """Print JSON that is valid whatever the encoding of standard output."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json_text(value, indent, ascii_only=not unicode))


def csv_output() -> Callable[[Iterable[Any]], None]:
    """Prints the rows of a CSV: as they are where a program or a file takes them, with control characters escaped where
    a terminal does.
    """
    rows = Rows(sys.stdout)
    if sys.stdout.isatty():
        return lambda row: rows.write(map(printable, row))
    if hasattr(sys.stdout, "reconfigure"):
        as_files = {"encoding": "utf-8", "newline": "\n"} if sys.platform == "win32" else {}
        sys.stdout.reconfigure(errors=AS_IT_IS, **as_files)
    return rows.write


def told(text: str) -> None:
    """Print a line on standard error."""
    print(line(text), file=sys.stderr)
