"""A function of many items, computed by threads ahead of whoever uses the results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ahead(function: Callable[[A], B], items: Iterable[A], threads: int, most: int) -> Iterator[B]:
    """``function(item)`` of every item, in their order.

    Args:
        function: called in one of the threads; what it raises is raised here, in its turn.
        items: read as far as needed.
        threads: that compute at the same time.
        most: items that are computed, or wait to be used, at any moment: it bounds the memory.
    """
    pool, waiting = ThreadPoolExecutor(threads), deque[Future[B]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
