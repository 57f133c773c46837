"""Requests that arrive together share a batch. Photos come from any thread; each gets a future.

Nobody waits for a batch to fill: while the network works on one, the next gathers. Batches have a few fixed lengths
(the rest is empty photos), because the network is laid out anew for each length.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import numpy as np

from headstart.serving.limits import too_busy

LENGTHS = (1, 4, 16, 32)


class Batcher:
    """One thread that answers. ``answer``: photos uint8 [N, S, S, 3] -> N answers of any kind; ``limit``: how many
    photos may wait; ``observe(photos)`` is told of each batch.
    """

    def __init__(
        self, answer: Callable[[np.ndarray], Iterable[Any]], limit: int, observe: Callable[[int], None] = lambda _: None
    ) -> None:
        self.answer, self.limit, self.observe = answer, limit, observe
        self.waiting: deque[tuple[np.ndarray, Future[Any]]] = deque()
        self.changed = threading.Condition()
        self.stopped = False
        self.thread = threading.Thread(target=self._work, name="headstart-batches", daemon=True)

    def start(self, photo: np.ndarray) -> None:
        """Lay the network out for every length, on a photo of the right size, then begin."""
        for length in reversed(LENGTHS):
            self.answer(np.repeat(photo[None], length, 0))
        self.thread.start()

    def stop(self) -> None:
        """Answer what waits, then end."""
        with self.changed:
            self.stopped = True
            self.changed.notify()
        self.thread.join()

    @property
    def alive(self) -> bool:
        return self.thread.is_alive()

    def submit(self, photos: Sequence[np.ndarray]) -> list[Future[Any]]:
        """A future per photo, all or none. Raises Refused (429) where too many wait already."""
        with self.changed:
            if self.stopped or len(self.waiting) + len(photos) > self.limit:
                raise too_busy(f"{len(self.waiting)} photos are waiting")
            pairs: list[tuple[np.ndarray, Future[Any]]] = [(photo, Future()) for photo in photos]
            self.waiting.extend(pairs)
            self.changed.notify()
        return [future for _, future in pairs]

    def _work(self) -> None:
        while batch := self._next():
            self.observe(len(batch))
            photos = np.zeros((_length(len(batch)), *batch[0][0].shape), np.uint8)
            photos[: len(batch)] = [photo for photo, _ in batch]
            try:
                rows = self.answer(photos)
            except Exception as error:  # noqa: BLE001 - the thread must live on; the request is told
                for _, future in batch:
                    with suppress(Exception):  # a request that has gone
                        future.set_exception(error)
                continue
            for (_, future), row in zip(batch, rows, strict=False):
                with suppress(Exception):
                    future.set_result(row)

    def _next(self) -> list[tuple[np.ndarray, Future[Any]]]:
        """Everything that waits, at most the longest batch; empty at the end."""
        with self.changed:
            while True:
                batch: list[tuple[np.ndarray, Future[Any]]] = []
                while self.waiting and len(batch) < LENGTHS[-1]:
                    photo, future = self.waiting.popleft()
                    if future.set_running_or_notify_cancel():
                        batch.append((photo, future))
                if batch or self.stopped:
                    return batch
                self.changed.wait()


def _length(photos: int) -> int:
    return next(length for length in LENGTHS if length >= photos)
