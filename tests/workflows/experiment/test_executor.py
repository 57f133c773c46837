"""Executors: where the trainings of a study run, one from outside the package among them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.core.events import Event, Message, Progress
from headstart.core.executor import EXECUTORS, LocalExecutor
from headstart.errors import OptionError
from headstart.workflows.experiment.jobs import Job
from headstart.workflows.experiment.results import Study
from headstart.workflows.experiment.worker import Finished, Worker

Small = Callable[..., Study]
Work = Callable[[Job], Finished]

ARMS = """
    later: {strategy: probe, from: tuned}
    tuned: {strategy: finetune, epochs: 1}
    probe: {strategy: probe}
"""


class SecondFirst:
    """Takes two jobs, then runs the second and the first, elsewhere: all that it gets and gives is pickled."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Finished], bytes]] = []
        self.order: list[str] = []

    def submit(self, work: Work, job: Job, /) -> Future[Finished]:
        future: Future[Finished] = Future()
        self.waiting.append((future, pickle.dumps((work, job))))
        if len(self.waiting) == 2:
            for waiting in reversed(self.waiting):
                self._run(*waiting)
            self.waiting.clear()
        return future

    def _run(self, future: Future[Finished], sent: bytes) -> None:
        work, job = pickle.loads(sent)
        self.order.append(job.folder.name)
        future.set_result(pickle.loads(pickle.dumps(work(job))))


@pytest.fixture
def second_first() -> Iterator[SecondFirst]:
    yield EXECUTORS.register("second-first", SecondFirst())
    EXECUTORS.unregister("second-first")


@pytest.mark.slow
def test_an_executor_from_outside_runs_a_study(small: Small, second_first: SecondFirst) -> None:
    here = small(ARMS, seeds=2, out="here")
    there = small(ARMS, seeds=2, out="there", executor="second-first")
    assert [row.values for row in there.rows] == [row.values for row in here.rows]
    assert [result.job.folder.name for result in there.results] == [r.job.folder.name for r in here.results]
    # An arm waits for the one that it starts from; the others come two by two.
    assert second_first.order == ["probe-0", "tuned-0", "tuned-1", "later-0", "probe-1", "later-1"]


def test_a_pool_of_pythons_own_is_an_executor(photos: Path, weights: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "arms": ("probe", "scratch"), "seeds": 2, "shots": (2,), "backbone": "starter", "weights": weights,
        "epochs": 1, "precision": "float32", "device": "cpu", "quiet": True,
    }  # fmt: skip
    here = hs.compare(photos, out=tmp_path / "here", **options)
    with ThreadPoolExecutor(1) as pool:
        there = hs.compare(photos, out=tmp_path / "there", executor=pool, **options)
    assert [(r.arm, r.seed, r.right) for r in there.results] == [(r.arm, r.seed, r.right) for r in here.results]


def test_an_unknown_executor_is_refused_before_anything_is_done(small: Small, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="There is no executor 'locl'") as caught:
        small(ARMS, executor="locl")
    assert caught.value.option == "executor"
    assert not (tmp_path / "out").exists()


def test_photos_and_network_stay_with_the_worker_of_a_process(small: Small) -> None:
    workers: list[Worker] = []

    class Sent(LocalExecutor):
        def submit(self, work: Work, job: Job, /) -> Future[Finished]:
            there = pickle.loads(pickle.dumps(work))
            workers.append(there)
            return super().submit(there, job)

    small("probe: {strategy: probe}\nfew: {strategy: probe, shots: 2}\n", seeds=2, executor=Sent())
    assert len({id(worker) for worker in workers}) == 1
    assert len(workers) == 4
    assert len(workers[0].library._photos) == 1


def test_progress_tells_the_seconds_left_of_the_whole_study(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    monkeypatch.setattr("headstart.reporting.console.Console.__call__", lambda self, event: events.append(event))
    small(ARMS, seeds=2)
    whole = [event for event in events if isinstance(event, Progress) and event.task == "trainings"]
    assert [(event.done, event.total) for event in whole if event.done][-1] == (6, 6)
    assert [event.done for event in whole] == sorted(event.done for event in whole)
    assert whole[0].seconds_left is None
    assert all(event.seconds_left is not None and event.seconds_left >= 0 for event in whole if event.done)
    assert any(event.note == "tuned, seed 0" and event.seconds_left for event in whole if not event.done)
    assert "left" in next(event.text for event in events if isinstance(event, Message) and "1 of 6" in event.text)
    assert whole[-1].seconds_left == 0
