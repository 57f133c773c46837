"""Where the trainings of a study run: in this process, or anywhere that another package offers.

An executor takes what ``concurrent.futures.Executor.submit`` takes, so a pool of Python's own is one. ``work`` and
``job`` can be pickled; unpickled elsewhere, ``work`` keeps the decoded photos and the network for the next job there
(see ``Worker``). A job is submitted only after the one that it starts from has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from headstart.core.registry import Registry
from headstart.workflows.experiment.jobs import Job
from headstart.workflows.experiment.worker import Finished

Work = Callable[[Job], Finished]


class Executor(Protocol):
    """Runs jobs."""

    def submit(self, work: Work, job: Job, /) -> Future[Finished]:
        """Begin ``work(job)``, now or when there is room, and return the future of its result."""
        ...


class LocalExecutor:
    """One job after the other, in this process."""

    def submit(self, work: Work, job: Job, /) -> Future[Finished]:
        """Run the job to its end."""
        future: Future[Finished] = Future()
        future.set_result(work(job))
        return future


EXECUTORS: Registry[Executor] = Registry(
    "executor",
    "headstart.executors",
    {"local": "headstart.workflows.experiment.executor:LocalExecutor"},
    option="executor",
)


def find_executor(executor: str | Executor) -> Executor:
    """An executor by its name, or the object itself. Raises OptionError."""
    return EXECUTORS.get(executor) if isinstance(executor, str) else executor
