"""The commands that judge photos before training, or between two. In: photos, or a run. Out: typer commands, for
``cli``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli_options import train_arguments, with_train_options
from headstart.cli_parts import Json, Overwrite, Quiet, loading, print_json

_OF_TRAINING = (
    "val", "test", "shots", "fraction", "head", "dropout", "strategy", "boundary", "epochs", "batch_size", "lr",
    "augment", "log", "allow_leakage",
)  # fmt: skip
_SHOWN = 3
"""Cases of a finding that are named on a terminal; the page shows them."""


@with_train_options(leave_out=(*_OF_TRAINING, "seed", "on_bad"))
def check(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for train.", show_default=False)],
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix", help="Write a CSV of the photos that are in nobody's way, and one of those left out.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Files, classes and copies only, without a network.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help=r"The page. \[default: runs/…-check.html]", rich_help_panel="Output", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    options: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Are these photos fit to learn from? Copies, wrong labels, strangers, bad files; ends with 1 if not."""
    with loading():
        from headstart.checking.checking import check as look

    asked = train_arguments(options or {})
    found = look(data, out=out, fix=fix, quick=quick, overwrite=overwrite, quiet=quiet, **asked)
    print_json(found.summary) if as_json else print(found.text(_SHOWN))
    if not found.fit:
        sys.exit(1)


COMMANDS = (check,)
