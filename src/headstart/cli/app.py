"""The command line: results on standard output, messages on standard error, an exit code. Heavy libraries are imported
inside commands.

Exit codes: 0 done, 2 an error in the request or the data (one clear message), 130 interrupted, 1 a bug in headstart
(from check: photos that should not be trained on as they are).
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from headstart._version import __version__
from headstart.cli import data_commands, model_commands, train_commands
from headstart.cli.base import SomeUnread, print_json
from headstart.cli.messages import render
from headstart.cli.options import command
from headstart.errors import HeadstartError


class _Commands(TyperGroup):
    """Handles what typer would end in its own way: Ctrl-C without a message, a closed pipe as an error."""

    def invoke(self, ctx: Any) -> Any:
        try:
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
        _fail(f"{error.filename or 'A file'}: {error.strerror}.\n  {hint}", 2)


def _fail(message: str, code: int) -> NoReturn:
    if "--json" in sys.argv:
        print_json({"error": message, "exit_code": code})
    print(f"headstart: {message}", file=sys.stderr)
    sys.exit(code)
