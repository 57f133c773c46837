"""The process around a command: standard streams that are closed, full or left by their reader, and signals to end."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from headstart.core.launched import member
from headstart.errors import HeadstartError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_ended_by = [0]
"""The number of the signal that asked the process to end, other than Ctrl-C; 0: none has."""


def prepare() -> None:
    """Make streams and signals behave as a command needs them. Called once, before anything is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        _open(number, name)
    sys.stdout, sys.stderr = (
        _replaced(sys.stdout, sys.__stdout__, _Output),
        _replaced(sys.stderr, sys.__stderr__, _Told),
    )
    _handle(signal.SIG_DFL, _like_ctrl_c)


def leave_signals() -> None:
    """For a command that has handlers of its own: to end by a signal is what a server is told to do."""
    _handle(_like_ctrl_c, signal.SIG_DFL)


def _handle(before: Any, after: Any) -> None:
    """Replace a handler of the signals that ask a process to end; another one stays: nohup ignores SIGHUP."""
    for ending in (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")):
        with suppress(ValueError):  # only the main thread may
            if ending is not None and signal.getsignal(ending) == before:
                signal.signal(ending, after)


def _open(number: int, name: str) -> None:
    """Open a standard stream that was closed (``>&-``) on the null device. Else the next file that is opened, a model
    perhaps, gets its number, and what a library prints.
    """
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
    if getattr(sys, name) is None:
        setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


_LEFT = {errno.EPIPE, errno.EINVAL} if sys.platform == "win32" else {errno.EPIPE}
"""What writing to a pipe fails with whose reader has left."""


class _Output(io.FileIO):
    """Standard output. Its reader may leave, as ``head`` does: then the command ends, in peace."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            discard_output()  # it would be written again when the process ends
            if error.errno in _LEFT:
                raise SystemExit(0) from None
            error.filename = "standard output"
            raise


class _Told(io.FileIO):
    """Standard error: where nobody reads it, or its disk is full, the work goes on."""

    def write(self, data: ReadableBuffer, /) -> int:
        with suppress(OSError):
            super().write(data)
        return len(memoryview(data).cast("B"))


def _replaced(stream: Any, own: Any, kind: type[io.FileIO]) -> Any:
    """A process's own stream, by way of ``kind``; characters that its encoding lacks are escaped. Another stream (of a
    test, a notebook) stays; so does Windows' console, which is no file.
    """
    if stream is not own or (os.name == "nt" and stream.isatty()):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character must not stop the work
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "w", closefd=False)), stream.encoding, "backslashreplace",
        line_buffering=stream.line_buffering, write_through=stream.write_through,
    )  # fmt: skip


def discard_output() -> None:
    """Send what is still printed on standard output to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _like_ctrl_c(number: int, frame: Any) -> None:
    """A request to end does what Ctrl-C does at this moment: a training stops at a batch, with its state saved."""
    _ended_by[0] = number
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):  # as in a shell's background
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def speaks(error: BaseException | None = None) -> bool:
    """Whether this process prints: of several that share a training, the first one does; of an error about others, the
    error knows. Variables of several processes mean nothing to commands that no processes share.
    """
    try:
        me = member() if sys.argv[1:2] == ["train"] else None
    except HeadstartError:
        return True
    return bool(getattr(error, "speaks", me is None or me.rank == 0))


def exit_code(usual: int) -> int:
    """Of a command that was interrupted: 143 for SIGTERM, 129 for SIGHUP, else the usual one (130, for Ctrl-C)."""
    return 128 + _ended_by[0] if _ended_by[0] and usual == 130 else usual


def last_words(message: str) -> None:
    """Print the message that a command ends with. From here on another Ctrl-C ends the process at once."""
    with suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with suppress(OSError):
        print(wrapped(message) if sys.stderr.isatty() else message, file=sys.stderr)


def wrapped(message: str) -> str:
    """A message broken between words for a terminal; a line that quotes a command stays whole, to be copied."""
    width = max(40, shutil.get_terminal_size().columns)
    return "\n".join(
        line if "headstart " in line.lstrip()[10:] else _wrapped(line, width) for line in message.split("\n")
    )


def _wrapped(line: str, width: int) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
