"""An event loop for a test, whatever the tests before it have left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """What ``asyncio.run`` returns, in a thread: Playwright leaves a loop running in that where it began."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
