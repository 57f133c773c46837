"""``ahead``: order, bounded memory, errors in their turn."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from headstart.core.ahead import ahead


def slow(item: int) -> int:
    time.sleep(0.02 if item % 3 == 0 else 0)
    return item * item


@pytest.mark.parametrize("most", [1, 2, 7, 100])
def test_results_come_in_the_order_of_the_items(most: int) -> None:
    assert list(ahead(slow, range(20), 4, most)) == [i * i for i in range(20)]


def test_nothing_of_nothing() -> None:
    assert list(ahead(slow, [], 2, 3)) == []


def test_no_more_than_so_many_are_computed_ahead() -> None:
    started: list[int] = []

    def note(item: int) -> int:
        started.append(item)
        return item

    results = ahead(note, itertools.count(), 4, 5)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    time.sleep(0.05)
    assert max(started) < 3 + 5
    results.close()  # type: ignore[attr-defined]


def test_an_error_is_raised_in_its_turn_and_ends_the_rest() -> None:
    started: list[int] = []

    def fail(item: int) -> int:
        started.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    results = ahead(fail, range(1000), 2, 4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    time.sleep(0.05)
    assert len(started) < 20


def test_several_threads_work_at_once() -> None:
    both = threading.Barrier(2, timeout=10)  # breaks, and so fails, where one thread would do it all

    def meet(item: int) -> int:
        both.wait()
        return item

    assert list(ahead(meet, range(4), 2, 2)) == [0, 1, 2, 3]
