"""The command line: results on standard output, messages on standard error, an exit code. Heavy libraries are imported
inside commands.

Exit codes: 0 done, 2 an error in the request or the data (one clear message), 130 interrupted by Ctrl-C (143 by
SIGTERM, 129 by SIGHUP), 1 a bug in headstart (from check: photos that should not be trained on as they are).
"""

from __future__ import annotations

import errno
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from headstart._version import __version__
from headstart.cli import data_commands, model_commands, process, train_commands
from headstart.cli.base import SomeUnread, print_json
from headstart.cli.messages import render
from headstart.cli.options import command
from headstart.core.text import brief, printable
from headstart.errors import HeadstartError

_SPACE = "Free some space, or choose a folder that may be written."
_HINTS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS), _SPACE)
_HINTS[errno.EMFILE] = "Too many files are open: `ulimit -n` says how many may be."


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
    """Handles what typer would do in its own way: Ctrl-C, and words of the command line in its messages."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        with _cleaned():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _cleaned():
                done = super().invoke(ctx)
            sys.stdout.flush()  # here, where what cannot be written is told
            return done
        except KeyboardInterrupt as error:
            _end(error, "Interrupted.", 130)


app = typer.Typer(
    name="headstart",
    cls=_Commands,
    no_args_is_help=True,
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
    process.prepare()
    _clean_logs()
    try:
        app()
    except HeadstartError as error:
        _end(error, render(str(error)), error.exit_code)
    except KeyboardInterrupt as error:
        _end(error, "Interrupted.", 130)
    except SystemExit as stop:
        if stop.code == 2 and _as_json() and not isinstance(stop, SomeUnread):  # a mistyped option
            _print_error("the command line was not understood: see standard error", 2)
        _flush(stop)
        raise
    except OSError as error:
        if error.errno is None or not error.strerror:
            raise
        where = printable(error.filename or "A file")
        _fail(f"{where}: {error.strerror}.\n  {_HINTS.get(error.errno, '')}".rstrip(), 2)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _fail("There is not enough memory.\n  Free some, or choose a smaller backbone or --image-size.", 2)


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


def _end(error: BaseException, message: str, code: int) -> NoReturn:
    """End with a message that one of the processes of a training prints for all."""
    if not process.speaks(error):
        sys.exit(process.exit_code(code))
    _fail(message, code)


def _fail(message: str, code: int) -> NoReturn:
    message, code = printable(message, keep="\n"), process.exit_code(code)
    if _as_json():
        _print_error(message, code)
    process.last_words(f"headstart: {message}")
    sys.exit(code)


def _as_json() -> bool:
    return "--json" in sys.argv or "--jsonl" in sys.argv


def _print_error(message: str, code: int) -> None:
    """The error on standard output, for programs; where that cannot be written, standard error has it."""
    with suppress(OSError, SystemExit):
        print_json({"error": message, "exit_code": code}, None if "--jsonl" in sys.argv else 1)
        sys.stdout.flush()


def _flush(stop: SystemExit) -> None:
    """Write the rest of standard output, which a full disk may refuse."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if not stop.code:
            _fail(f"{error.filename or 'standard output'}: {error.strerror}.", 2)
    except SystemExit:  # its reader has left
        pass


def _is_out_of_memory(error: BaseException) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from headstart.inference.memory import is_out_of_memory

    return is_out_of_memory(error)
