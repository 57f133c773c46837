"""A process that decodes uploads, one after the other, from standard input to standard output.

It runs no network and knows no other request: whatever a file does to the decoder ends here. ``decoders.py`` starts it.
A photo that takes too much of the processor's time ends the process by ``SIGPROF``.

Request: ``<II`` lengths of the name and the content, then both. Response: ``<BI`` kind and length, then as many bytes.
"""

from __future__ import annotations

import json
import signal
import struct
import sys
from contextlib import suppress
from typing import IO, Any

from headstart.core.ranges import Ranges
from headstart.data.bounds import BadPhoto, Bounds, TooCostly
from headstart.data.decode import decode
from headstart.data.images import centre

REQUEST, RESPONSE = struct.Struct("<II"), struct.Struct("<BI")
READY, PIXELS, BAD, COSTLY = range(4)
"""Kinds of responses: started; the pixels; a problem as text; the same, because of the bounds."""
FORMATS = frozenset(("JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "DIB", "TIFF"))
"""What browsers and phones send. Other formats have decoders that few people have looked at."""
OVERHEAD = 300_000_000
"""Address space beside what a photo takes: its file, the decoder's own tables, memory that is not given back."""


def work(source: IO[bytes], sink: IO[bytes], how: dict[str, Any]) -> None:
    """Answer requests until the input ends. ``how``: "resize", "interpolation", "size", "ranges", the bounds, and
    "seconds" of the processor for one photo.
    """
    ranges = Ranges(*how["ranges"]) if how["ranges"] else None
    bounds = Bounds(how["pixels"], how["scanned"], how["memory"], FORMATS)
    _answer(sink, READY, b"")
    while len(head := source.read(REQUEST.size)) == REQUEST.size:
        name_length, length = REQUEST.unpack(head)
        name, content = source.read(name_length).decode(), source.read(length)
        _limit_time(how["seconds"])
        try:
            photo = decode(content, how["resize"], how["interpolation"], name, bounds, ranges=ranges)
            _answer(sink, PIXELS, centre(photo.pixels, how["size"]).tobytes())
        except TooCostly as bad:
            _answer(sink, COSTLY, bad.problem.encode())
        except BadPhoto as bad:
            _answer(sink, BAD, bad.problem.encode(errors="replace"))
        _limit_time(0)


def _limit_time(seconds: float) -> None:
    """From now on: not on Windows, where ``decoders.py`` alone looks at the clock."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _answer(sink: IO[bytes], kind: int, content: bytes) -> None:
    sink.write(RESPONSE.pack(kind, len(content)) + content)
    sink.flush()


def _limit_memory(memory: int) -> None:
    """An allocation above this fails, and the file is refused, before the machine has to kill a process."""
    if sys.platform == "win32":
        return
    import resource

    with suppress(OSError, ValueError):  # macOS has no /proc, and refuses some values
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        limit = used + memory + OVERHEAD
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    how = json.loads(sys.argv[1])
    _limit_memory(how["memory"])
    work(sys.stdin.buffer, sys.stdout.buffer, how)
