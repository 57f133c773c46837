"""What the commands share. In: nothing. Out: the types of common parameters, and how results are printed."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.", rich_help_panel="Output")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings.", rich_help_panel="Output")]
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
    Path, typer.Argument(metavar="RUN", help="The folder that headstart train made.", show_default=False)
]


class SomeUnread(SystemExit):
    """The end of a predict that answered, but not for every photo."""


@contextmanager
def loading() -> Iterator[None]:
    """Around imports: nothing looks for garbage in what libraries make while they load, now or later, since all of it
    stays. That search was an eighth of the work of a short command.
    """
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
