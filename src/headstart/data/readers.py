"""Processes that read photos. In: photos that are files, and how to read them. Out: what was read of each, in order.

Threads would do where photos are large; of small ones sixteen threads read no more than two, because each waits for
Python's lock a dozen times per photo (docs/explanation/performance.md).
"""

from __future__ import annotations

import json
import os
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Generic, TypeVar, cast

import msgspec
import numpy as np

from headstart.core.ahead import ahead
from headstart.core.child import apart, command, environment
from headstart.data.schema import ImageRef, Photo

T = TypeVar("T")
Process = subprocess.Popen[bytes]
MANY_CORES, MANY_PHOTOS = 4, 2000
"""From where on processes are used: each has to start, and takes 40 MB."""
MOST = 16
KINDS = (Photo, type(Path()))
"""Photos that are read by their path alone."""
LENGTH = struct.Struct("<I")


def cores() -> int:
    """Those that this process may use: its part of the host's where several train together, and as many as
    OMP_NUM_THREADS says, by which Ray tells a task how many are its own.
    """
    if sys.platform == "linux":
        every = len(os.sched_getaffinity(0))
    else:
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
    chunks: Iterator[Sequence[ImageRef]], how: dict[str, Any], kind: type[T],
    here: Callable[[Sequence[ImageRef]], list[T]], crashed: T,
) -> Iterator[list[T]]:  # fmt: skip
    """What ``images.read_one`` makes of each chunk of photos, in their order.

    Args:
        chunks: of the photos.
        how: its keyword arguments.
        kind: the dataclass that it returns.
        here: reads a chunk in this process, where no other can be started.
        crashed: what is returned for a photo whose decoder ends the process that reads it.
    """
    count = min(MOST, cores())
    with _Pool(how, kind, count) as pool:

        def read(chunk: Sequence[ImageRef]) -> list[T]:
            paths = [os.fsencode(cast(Path, getattr(photo, "path", photo))) for photo in chunk]
            try:
                found = pool.ask(paths)
                if found is not None:
                    return found
                alone = [pool.ask([path]) for path in paths]
            except _NoStart:
                return [] if pool.closed else here(chunk)
            return [crashed if one is None else one[0] for one in alone]

        yield from ahead(read, chunks, count, 3 * count)


def as_bytes(value: object) -> bytes:
    """MessagePack; an array of uint8 as its shape and its bytes."""
    return msgspec.msgpack.encode(value, enc_hook=lambda array: (array.shape, array.tobytes()))


def _array(kind: type, value: Any) -> np.ndarray:
    return np.frombuffer(value[1], np.uint8).reshape(value[0])


class _NoStart(Exception):  # noqa: N818 - it names what happened
    """A process ended before it had started, as all would."""


class _Pool(Generic[T]):
    """Processes, each of which answers one request at a time."""

    def __init__(self, how: dict[str, Any], kind: type[T], count: int) -> None:
        self.how, self.count = json.dumps(how), count
        self.decoder = msgspec.msgpack.Decoder(list[kind], dec_hook=_array)  # type: ignore[valid-type]
        self.every, self.started = set[Process](), set[Process]()
        self.free: queue.SimpleQueue[Process | None] = queue.SimpleQueue()
        self.lock, self.closed = threading.Lock(), False

    def __enter__(self) -> _Pool[T]:
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
        try:
            process = subprocess.Popen(
                command("headstart.data.read_worker", self.how), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what a decoder prints of a broken file is no message of headstart's
                env=environment(OPENBLAS_NUM_THREADS="1"), **apart(),
            )  # fmt: skip
        except OSError:
            self.free.put(None)
            return
        self.every.add(process)
        self.free.put(process)

    def ask(self, paths: list[bytes]) -> list[T] | None:
        """What was read of the photos; None where the process ended before it had answered. Raises _NoStart."""
        process = self.free.get()
        if process is None or (process not in self.started and self._answer(process) is None):
            self.free.put(None)  # all have ended, or none starts; whoever else waits is to know it too
            raise _NoStart
        self.started.add(process)
        content = as_bytes(paths)
        with suppress(OSError, ValueError):
            pipe = cast(IO[bytes], process.stdin)
            pipe.write(LENGTH.pack(len(content)) + content)
            pipe.flush()
        found = self._answer(process)
        if found is not None:
            self.free.put(process)
            return found
        process.kill()
        process.wait()
        with self.lock:
            if not self.closed:  # else all were ended, this one too
                self.every.discard(process)
                self._add()
        return None

    def _answer(self, process: Process) -> list[T] | None:
        pipe = cast(IO[bytes], process.stdout)
        with suppress(OSError, ValueError, msgspec.MsgspecError):
            if len(head := pipe.read(LENGTH.size)) == LENGTH.size:
                length = LENGTH.unpack(head)[0]
                if len(content := pipe.read(length)) == length:
                    found: list[T] = self.decoder.decode(content)
                    return found
        return None
