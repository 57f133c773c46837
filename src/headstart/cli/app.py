"""The command line: results on standard output, messages on standard error, an exit code. Heavy libraries are imported
inside commands.

Exit codes: 0 done, 2 an error in the request or the data (one clear message), 130 interrupted, 1 a bug in headstart
(from check: photos that should not be trained on as they are).
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from headstart._version import __version__
from headstart.cli import data_commands, model_commands, train_commands
from headstart.cli.base import SomeUnread, print_json
from headstart.cli.messages import render
from headstart.cli.options import command
from headstart.core.text import brief, printable
from headstart.errors import HeadstartError


@contextmanager
def _cleaned() -> Iterator[None]:
    """What typer says about the command line, on which a glob puts names of files, with control characters escaped."""
    try:
        yield
    except Exception as error:
        said: Any = error
        if hasattr(said, "message") and hasattr(said, "format_message"):  # click's errors
            said.message = brief(said.message, 500)
        raise


class _Commands(TyperGroup):
    """Handles what typer would end in its own way: Ctrl-C without a message, a closed pipe as an error, words of the
    command line in its messages.
    """

    def make_context(self, *args: Any, **more: Any) -> Any:
        with _cleaned():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _cleaned():
                done = super().invoke(ctx)
            sys.stdout.flush()  # here, where a closed pipe can still be caught
            return done
        except KeyboardInterrupt:
            _fail("Interrupted.", 130)
        except BrokenPipeError:  # as with `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


app = typer.Typer(
    name="headstart",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Transfer learning for image classification: from labelled photos to a tested classifier.",
    epilog="Try it: headstart demo",
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"headstart {__version__}")
        raise typer.Exit


for _command in (
    *train_commands.COMMANDS, *data_commands.COMMANDS, *model_commands.COMMANDS, *train_commands.MORE
):  # fmt: skip
    app.command()(command(_command))


def main() -> None:
    """Run the command line; a user's mistake ends in one message, never in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character must not stop the work
    _clean_logs()
    try:
        app()
    except HeadstartError as error:
        _fail(render(str(error)), error.exit_code)
    except SystemExit as stop:
        if stop.code == 2 and "--json" in sys.argv and not isinstance(stop, SomeUnread):  # a mistyped option
            print_json({"error": "the command line was not understood: see standard error", "exit_code": 2})
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        hint = "Free some space, or choose a folder that may be written."
        _fail(f"{printable(error.filename or 'A file')}: {error.strerror}.\n  {hint}", 2)


def _clean_logs() -> None:
    """What libraries log or warn about may quote names, too."""

    class Lines(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record), keep="\n")

    if logging.lastResort:
        logging.lastResort.setFormatter(Lines())
    plain = warnings.formatwarning
    if plain.__module__ == "warnings":
        warnings.formatwarning = lambda *about, **more: printable(plain(*about, **more), keep="\n")


def _fail(message: str, code: int) -> NoReturn:
    message = printable(message, keep="\n")
    if "--json" in sys.argv:
        print_json({"error": message, "exit_code": code})
    print(f"headstart: {message}", file=sys.stderr)
    sys.exit(code)
