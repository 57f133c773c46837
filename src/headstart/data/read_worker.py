"""A process that reads photos, from standard input to standard output, for ``readers``, which starts it.

In: how to read, then lists of photos, each pickled. Out: None once it has started; for each list what was read of its
photos, pickled.
"""

from __future__ import annotations

import pickle
import sys
from typing import IO

from headstart.data.images import read_one


def work(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer until the input ends, as it does when the process that asks ends."""
    how = pickle.load(source)
    pickle.dump(None, sink)
    sink.flush()
    while True:
        try:
            photos = pickle.load(source)
        except EOFError:
            return
        pickle.dump([read_one(photo, (), **how) for photo in photos], sink, protocol=5)
        sink.flush()


if __name__ == "__main__":
    work(sys.stdin.buffer, sys.stdout.buffer)
