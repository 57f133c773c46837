"""Requests that arrive together share a batch. Photos come from any thread; each gets a future.

No request waits for a batch to fill: while the network works on one, the next gathers. Batches are padded to a few
fixed lengths, because the network is compiled anew for each length. Requests take turns: one of many photos does not
keep those of one photo waiting.
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
    """One thread that predicts. ``predict``: photos uint8 [N, S, S, 3] -> N results of any kind; ``limit``: how many
    photos may wait; ``observe`` is called with the number of photos in each batch.
    """

    def __init__(
        self,
        predict: Callable[[np.ndarray], Iterable[Any]],
        limit: int,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.predict, self.limit, self.observe = predict, limit, observe
        self.requests: deque[deque[tuple[np.ndarray, Future[Any]]]] = deque()
        self.changed = threading.Condition()
        self.stopped = False
        self.thread = threading.Thread(target=self._work, name="headstart-batches", daemon=True)

    def start(self, photo: np.ndarray) -> None:
        """Prepare the network for every batch length with a photo of its input size, then start the thread."""
        for length in reversed(LENGTHS):
            self.predict(np.repeat(photo[None], length, 0))
        self.thread.start()

    def stop(self) -> None:
        """Finish the photos that wait, then end."""
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
            waiting = sum(map(len, self.requests))
            if self.stopped or waiting + len(photos) > self.limit:
                raise too_busy(f"{waiting} photos are waiting")
            pairs: list[tuple[np.ndarray, Future[Any]]] = [(photo, Future()) for photo in photos]
            if pairs:
                self.requests.append(deque(pairs))
            self.changed.notify()
        return [future for _, future in pairs]

    def _work(self) -> None:
        while batch := self._next():
            self.observe(len(batch))
            length = next(length for length in LENGTHS if length >= len(batch))
            photos = np.zeros((length, *batch[0][0].shape), np.uint8)
            photos[: len(batch)] = [photo for photo, _ in batch]
            try:
                rows = self.predict(photos)
            except Exception as error:  # noqa: BLE001 - the thread must live on; the request gets the error
                for _, future in batch:
                    with suppress(Exception):  # the request was cancelled
                        future.set_exception(error)
                continue
            for (_, future), row in zip(batch, rows, strict=False):
                with suppress(Exception):
                    future.set_result(row)

    def _next(self) -> list[tuple[np.ndarray, Future[Any]]]:
        """Photos that wait, at most the longest batch, one of each request in turn; empty once stopped."""
        with self.changed:
            while True:
                batch: list[tuple[np.ndarray, Future[Any]]] = []
                while self.requests and len(batch) < LENGTHS[-1]:
                    request = self.requests.popleft()
                    photo, future = request.popleft()
                    if request:
                        self.requests.append(request)
                    if future.set_running_or_notify_cancel():
                        batch.append((photo, future))
                if batch or self.stopped:
                    return batch
                self.changed.wait()
