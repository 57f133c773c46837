"""Uploads are decoded in processes of their own, which end where a photo takes too long: a file that hangs or crashes a
decoder costs one process, and no other request. What counts is the processor's time: on a busy machine every photo
takes longer.

There are two lanes. Ordinary photos are decoded in the first. What its small bounds refuse (many pixels, many scans)
goes to the second, which has fewer processes, more memory and less priority: costly photos wait for each other, and
never delay ordinary ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from headstart.core.child import apart, command, environment
from headstart.data.filenames import raw_problem
from headstart.models.preprocessing import Preprocessing
from headstart.serving.decode_worker import BAD, COSTLY, PIXELS, REQUEST, RESPONSE
from headstart.serving.limits import Limits, too_busy
from headstart.serving.uploads import Upload

QUICK_PIXELS, QUICK_SCANNED, QUICK_MEMORY = 24_000_000, 100_000_000, 64_000_000
"""Bounds of the first lane: a photo within them takes some tenths of a second."""
_START_S = 60.0
PATIENCE_S = 60.0
"""For a photo that takes little of the processor's time, and still does not come: the machine is busy."""


class Decoders:
    """The processes of one server. ``start`` and ``stop`` run in its event loop, as ``decode`` does."""

    def __init__(self, how: Preprocessing, limits: Limits) -> None:
        cores = os.cpu_count() or 2
        self.size = how.image_size
        asked = {"resize": how.resize, "interpolation": how.interpolation, "size": how.image_size, "ranges": how.ranges,
                 "seconds": limits.decode_seconds}  # fmt: skip
        bounds = {"pixels": limits.pixels, "scanned": 20 * limits.pixels, "memory": int(limits.decode_mb * 1e6)}
        least = {"pixels": QUICK_PIXELS, "scanned": QUICK_SCANNED, "memory": QUICK_MEMORY}
        quick = {name: min(value, bounds[name]) for name, value in least.items()}
        self.quick = Lane({**asked, **quick}, min(16, max(2, cores)), limits.decode_seconds)
        self.costly = Lane({**asked, **bounds}, max(1, cores // 8), limits.decode_seconds, nice=19)

    async def start(self) -> None:
        await self.quick.start()
        await self.costly.start()

    async def stop(self) -> None:
        await self.quick.stop()
        await self.costly.stop()

    async def decode(self, upload: Upload) -> np.ndarray | str:
        """The photo as the network sees it, uint8 [S, S, 3]; a problem where it cannot be decoded. Raises Refused where
        the machine is too busy.
        """
        if raw := raw_problem(upload.name):
            return raw
        kind, content = await self.quick.decode(upload)
        if kind == COSTLY:
            kind, content = await self.costly.decode(upload)
        if kind != PIXELS:
            return content.decode()
        return np.frombuffer(content, np.uint8).reshape(self.size, self.size, 3)


class Lane:
    """Processes with the same bounds; each photo takes the first that is free."""

    def __init__(self, how: dict[str, Any], count: int, seconds: float, nice: int = 0) -> None:
        self.how, self.count, self.seconds, self.nice = how, count, seconds, nice
        self.workers: set[_Worker] = set()

    async def start(self) -> None:
        self.free: asyncio.Queue[_Worker] = asyncio.Queue()
        for _ in range(self.count):
            await self._add()

    async def stop(self) -> None:
        for worker in self.workers:
            await worker.kill()
        self.workers.clear()

    async def _add(self) -> None:
        worker = _Worker()
        await worker.start(self.how, self.nice)
        self.workers.add(worker)
        self.free.put_nowait(worker)

    async def decode(self, upload: Upload) -> tuple[int, bytes]:
        """Kind and content of the response (see ``decode_worker``)."""
        worker, whole = await self.free.get(), False
        try:
            try:
                await worker.ready()
            except TimeoutError:
                return BAD, f"could not be read: its decoder did not start within {_START_S:g} s".encode()
            async with asyncio.timeout(max(PATIENCE_S, self.seconds)):
                found = await worker.ask(upload)
            whole = True
            return found
        except TimeoutError:
            raise too_busy(f"{upload.name} was not decoded in {max(PATIENCE_S, self.seconds):g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            if await worker.took_too_long():
                return BAD, f"takes more than {self.seconds:g} s to decode".encode()
            return BAD, b"its decoder crashed, or ran out of memory"
        finally:
            if whole:
                self.free.put_nowait(worker)
            else:  # also where the request was cancelled: the process would answer the next one with this photo
                await asyncio.shield(self._replace(worker))

    async def _replace(self, worker: _Worker) -> None:
        self.workers.discard(worker)
        await worker.kill()
        await self._add()


class _Worker:
    process: asyncio.subprocess.Process
    is_ready = False

    async def start(self, how: dict[str, Any], nice: int) -> None:
        """Start the process; ``ready`` waits until it has imported what it needs."""
        self.process = await asyncio.create_subprocess_exec(
            *command("headstart.serving.decode_worker", json.dumps(how)), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=1 << 20,
            env=environment(OPENBLAS_NUM_THREADS="1"), **apart(),  # after Ctrl-C the server lets requests finish
        )  # fmt: skip
        if sys.platform != "win32":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.process.pid, os.nice(0) + nice)

    async def ready(self) -> None:
        if not self.is_ready:
            async with asyncio.timeout(_START_S):
                await self._response()
            self.is_ready = True

    async def ask(self, upload: Upload) -> tuple[int, bytes]:
        name = upload.name.encode(errors="replace")
        assert self.process.stdin
        self.process.stdin.write(REQUEST.pack(len(name), len(upload.content)) + name)
        self.process.stdin.write(upload.content)
        await self.process.stdin.drain()
        return await self._response()

    async def _response(self) -> tuple[int, bytes]:
        assert self.process.stdout
        kind, length = RESPONSE.unpack(await self.process.stdout.readexactly(RESPONSE.size))
        return kind, await self.process.stdout.readexactly(length)

    async def took_too_long(self) -> bool:
        """Whether the process, which has closed its output, was ended by the limit on its time."""
        return sys.platform != "win32" and await self.process.wait() == -signal.SIGPROF

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
