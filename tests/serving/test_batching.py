"""Batches: what waits is shared out, nothing is lost, and a fault is told to those whom it concerns."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait

import numpy as np
import pytest

from headstart.serving.batching import LENGTHS, Batcher
from headstart.serving.limits import Refused


def photo(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def sums(photos: np.ndarray) -> np.ndarray:
    return photos.reshape(len(photos), -1).sum(1, keepdims=True).astype(float)


def test_each_photo_gets_its_own_answer() -> None:
    lengths: list[int] = []

    def answer(photos: np.ndarray) -> np.ndarray:
        lengths.append(len(photos))
        return sums(photos)

    batcher = Batcher(answer, 1000)
    batcher.start(photo(0))
    assert sorted(lengths) == sorted(LENGTHS)  # laid out for each before the first request
    results: dict[int, float] = {}

    def ask(value: int) -> None:
        (future,) = batcher.submit([photo(value)])
        results[value] = float(future.result(10)[0])

    threads = [threading.Thread(target=ask, args=(value,)) for value in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {value: 12.0 * value for value in range(200)}
    assert set(lengths) <= set(LENGTHS)
    batcher.stop()
    assert not batcher.alive


def test_what_arrives_together_shares_a_batch() -> None:
    seen: list[int] = []
    gate = threading.Event()

    def answer(photos: np.ndarray) -> np.ndarray:
        gate.wait(10)
        return sums(photos)

    gate.set()
    batcher = Batcher(answer, 1000, seen.append)
    batcher.start(photo(0))
    gate.clear()
    first = batcher.submit([photo(1)])
    time.sleep(0.1)  # it is at work, and waits at the gate
    rest = [batcher.submit([photo(n)])[0] for n in range(20)]
    gate.set()
    wait([*first, *rest], 10)
    assert seen == [1, 20]
    batcher.stop()


def test_too_many_are_refused_all_or_none() -> None:
    gate = threading.Event()
    gate.set()

    def answer(photos: np.ndarray) -> np.ndarray:
        gate.wait(10)
        return sums(photos)

    batcher = Batcher(answer, 4)
    batcher.start(photo(0))
    gate.clear()
    at_work = batcher.submit([photo(1)])
    time.sleep(0.1)
    batcher.submit([photo(2)] * 3)
    with pytest.raises(Refused) as refused:
        batcher.submit([photo(3)] * 2)
    assert refused.value.status == 429
    assert sum(map(len, batcher.requests)) == 3
    last = batcher.submit([photo(4)])
    gate.set()
    wait([*at_work, *last], 10)
    batcher.stop()


def test_a_fault_is_told_and_the_next_batch_is_answered() -> None:
    faults = [True]

    def answer(photos: np.ndarray) -> np.ndarray:
        if photos.any() and faults:
            faults.pop()
            raise RuntimeError("out of order")
        return sums(photos)

    batcher = Batcher(answer, 100)
    batcher.start(photo(0))
    with pytest.raises(RuntimeError, match="out of order"):
        batcher.submit([photo(1)])[0].result(10)
    assert batcher.submit([photo(1)])[0].result(10)[0] == 12
    batcher.stop()


def test_the_end_answers_what_waits_and_takes_no_more() -> None:
    batcher = Batcher(sums, 100)
    batcher.start(photo(0))
    futures = batcher.submit([photo(n) for n in range(50)])
    batcher.stop()
    assert [f.result(0)[0] for f in futures] == [12 * n for n in range(50)]
    with pytest.raises(Refused):
        batcher.submit([photo(1)])


def test_requests_take_turns() -> None:
    """One of a single photo is in the next batch, however many another one has sent before."""
    batches: list[list[int]] = []
    going = threading.Event()

    def noted(photos: np.ndarray) -> np.ndarray:
        going.wait(10)
        batches.append([int(p[0, 0, 0]) for p in photos])
        return sums(photos)

    going.set()
    batcher = Batcher(noted, 500)
    batcher.start(photo(0))
    going.clear()
    first = batcher.submit([photo(9)])  # the thread takes it, and waits
    many = batcher.submit([photo(1)] * 100)
    one = batcher.submit([photo(2)])
    batches.clear()
    going.set()
    for future in (*first, *many, *one):
        future.result(10)
    assert 2 in batches[0] + batches[1], batches  # of four: the thread may not have taken the first alone
    batcher.stop()
