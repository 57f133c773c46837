"""A process that reads photos, from standard input to standard output, for ``readers``, which starts it.

In, as its argument: how to read, as JSON. Then requests, each a length (``<I``) and as many bytes of MessagePack: the
paths of photos. Out: an empty answer once it has started, and one for each request, of the same form: what was read of
its photos.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import IO

import msgspec

from headstart.core.ranges import Ranges
from headstart.data.images import read_one
from headstart.data.readers import LENGTH, as_bytes


def work(source: IO[bytes], sink: IO[bytes], text: str) -> None:
    """Answer until the input ends, as it does when the process that asks ends."""
    how = json.loads(text)
    how["ranges"] = Ranges(*how["ranges"]) if how["ranges"] else None
    answer: list[object] = []
    while True:
        content = as_bytes(answer)
        sink.write(LENGTH.pack(len(content)))
        sink.write(content)
        sink.flush()
        if len(head := source.read(LENGTH.size)) < LENGTH.size:
            return
        paths = msgspec.msgpack.decode(source.read(LENGTH.unpack(head)[0]), type=list[bytes])
        answer = [read_one(Path(os.fsdecode(path)), (), **how) for path in paths]


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints is no answer
    work(sys.stdin.buffer, answers, sys.argv[1])
