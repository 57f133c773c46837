"""Processes that read photos. Threads would do where photos are large; of small ones a machine of many cores reads no
more with sixteen threads than with two, because each waits for Python's lock a dozen times per photo.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from headstart.core.ahead import ahead
from headstart.data.schema import ImageRef, Photo

MANY_CORES, MANY_PHOTOS = 4, 2000
"""From where on processes are used: each takes half a second to start, and 60 MB."""
MOST = 16
KINDS = (Photo, type(Path()))


def cores() -> int:
    """Those that this process may use: its part of the host's where several train together, and as many as
    OMP_NUM_THREADS says, by which Ray tells a task how many are its own.
    """
    try:
        every = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        every = os.cpu_count() or 2
    if together := _number("LOCAL_WORLD_SIZE"):  # torchrun sets OMP_NUM_THREADS to 1 then
        return max(1, every // together)
    return min(every, _number("OMP_NUM_THREADS") or every)


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else 0


def pays(photos: Sequence[ImageRef]) -> bool:
    """Whether there are enough photos and cores, and the photos mean the same in another process."""
    if getattr(sys, "frozen", False):  # a program that holds Python: what it calls its Python is itself
        return False
    if cores() < MANY_CORES or len(photos) < MANY_PHOTOS or type(photos[0]) not in KINDS:
        return False
    return all(type(photo) in KINDS for photo in photos)


def read_by_processes(
    chunks: Iterator[Sequence[ImageRef]], how: dict[str, Any], here: Callable[[Sequence[ImageRef]], list[Any]],
    crashed: Any,
) -> Iterator[list[Any]]:  # fmt: skip
    """What ``images.read_one`` makes of each chunk of photos, in their order.

    Args:
        chunks: of the photos.
        how: its keyword arguments.
        here: reads a chunk in this process, where no other can be started.
        crashed: what is returned for a photo whose decoder ends the process that reads it.
    """
    count = min(MOST, cores())
    with _Pool(how, count) as pool:

        def read(chunk: Sequence[ImageRef]) -> list[Any]:
            try:
                found = pool.ask(list(chunk))
                if found is not None:
                    return found
                alone = [pool.ask([photo]) for photo in chunk]
            except _NoStart:
                return [] if pool.closed else here(chunk)
            return [crashed if one is None else one[0] for one in alone]

        yield from ahead(read, chunks, count, 3 * count)


class _NoStart(Exception):  # noqa: N818 - it names what happened
    """A process ended before it had started, as all would."""


class _Pool:
    """Processes, each of which answers one request at a time."""

    def __init__(self, how: dict[str, Any], count: int) -> None:
        self.how, self.count = how, count
        self.every: set[subprocess.Popen[bytes]] = set()
        self.started: set[subprocess.Popen[bytes]] = set()
        self.free: queue.SimpleQueue[subprocess.Popen[bytes] | None] = queue.SimpleQueue()
        self.lock, self.closed = threading.Lock(), False

    def __enter__(self) -> _Pool:
        for _ in range(self.count):
            self._add()
        return self

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.closed = True
        self.free.put(None)
        for process in self.every:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError, ValueError):
                    cast(IO[bytes], pipe).close()

    def _add(self) -> None:
        # The paths of this process, which may run from a checkout; -P: nothing from the working folder.
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "headstart.data.read_worker"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what a decoder prints of a broken file is no message of headstart's
                env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends them
            )  # fmt: skip
        except OSError:
            self.free.put(None)
            return
        self.every.add(process)
        with suppress(OSError):  # one that ends at once is met when it is asked
            pickle.dump(self.how, cast(IO[bytes], process.stdin), protocol=5)
        self.free.put(process)

    def _has_started(self, process: subprocess.Popen[bytes]) -> bool:
        try:
            cast(IO[bytes], process.stdin).flush()
            pickle.load(cast(IO[bytes], process.stdout))
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            return False
        self.started.add(process)
        return True

    def ask(self, photos: list[ImageRef]) -> list[Any] | None:
        """What was read of the photos; None where the process has ended before it could answer. Raises _NoStart."""
        process = self.free.get()
        if process is None:  # all have ended, or none starts; whoever else waits is to know it too
            self.free.put(None)
            raise _NoStart
        if process not in self.started and not self._has_started(process):
            self.free.put(None)
            raise _NoStart
        try:
            pickle.dump(photos, cast(IO[bytes], process.stdin), protocol=5)
            cast(IO[bytes], process.stdin).flush()
            found: list[Any] = pickle.load(cast(IO[bytes], process.stdout))
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            process.kill()
            process.wait()
            with self.lock:
                if not self.closed:  # else all were ended, this one too
                    self.every.discard(process)
                    self._add()
            return None
        self.free.put(process)
        return found
