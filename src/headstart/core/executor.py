"""Where jobs run: in this process, or on what another package offers.

An executor takes what ``concurrent.futures.Executor.submit`` takes, so Python's own pools are executors. Work and job
can be pickled. An executor of several machines is a ``Cluster``: it has to be reached first, and all must see the same
files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from headstart.core.events import Events
from headstart.core.launched import member
from headstart.core.registry import Registry
from headstart.core.text import brief
from headstart.errors import OptionError

J = TypeVar("J")
R = TypeVar("R")


class Executor(Protocol):
    """Runs jobs."""

    def submit(self, work: Callable[[Any], Any], job: Any, /) -> Future[Any]:
        """Begin ``work(job)``, now or when there is room, and return the future of its result."""
        ...


@runtime_checkable
class Cluster(Protocol):
    """What an executor of several machines has besides ``submit``. ``slots``: jobs that it runs at a time."""

    slots: int

    def session(self, device: str, events: Events) -> AbstractContextManager[None]:
        """The time in which jobs can be submitted; ``device`` is what each asks for. Raises HeadstartError."""
        ...

    def check(self, paths: Sequence[str], folder: Path) -> None:
        """That every machine can work: it reads ``paths``, and ``folder``, which exists. Raises RunError."""
        ...

    def news(self) -> list[str]:
        """What has happened to the machines since the last call, as sentences for the user."""
        ...


class LocalExecutor:
    """One job after the other, in this process."""

    def submit(self, work: Callable[[J], R], job: J, /) -> Future[R]:
        """Run the job to its end."""
        future: Future[R] = Future()
        future.set_result(work(job))
        return future


_OWN = {"local": f"{__name__}:LocalExecutor", "ray": "headstart.core.ray_executor:RayExecutor"}
EXECUTORS: Registry[Executor] = Registry("executor", "headstart.executors", _OWN, option="executor")


def find_executor(executor: str | Executor) -> Executor:
    """An executor by its name, or the object itself. What follows a colon or a comma after the name goes to its method
    ``at``: an address, and options. Raises OptionError, also in one of several processes: each would do every job.
    """
    if (me := member()) is not None:
        problem = f"This is process {me.rank + 1} of {me.size}, says {me.by}: they share a training, and nothing else."
        raise OptionError(problem, "Start one process; `executor='ray'` divides the work among machines.")
    if not isinstance(executor, str):
        if callable(getattr(executor, "submit", None)):
            return executor
        known = ", ".join(EXECUTORS.names())
        problem = f"`executor` is of the type {type(executor).__name__}, which has no `submit`."
        raise OptionError(
            problem, f"Give a name ({known}), or an object as `concurrent.futures` has it.", option="executor"
        )
    name, *rest = re.split(r"[:,]", executor, maxsplit=1)
    found = EXECUTORS.get(name)
    at: Any = getattr(found, "at", None)
    if at is not None:
        made: Executor = at(executor[len(name) :])
        return made
    if rest:
        problem = f"`executor={brief(executor)!r}`: the executor {name!r} takes nothing after its name."
        raise OptionError(problem, f"Write `executor={name!r}`.", option="executor")
    return found


@contextmanager
def session(executor: Executor, device: str, events: Events) -> Iterator[None]:
    """The time in which the executor takes jobs. Raises HeadstartError where its machines cannot be reached."""
    if not isinstance(executor, Cluster):
        yield
        return
    with executor.session(device, events):
        yield


def tell_news(executor: Executor, events: Events) -> None:
    """Warn of what has happened to the machines of a cluster since the last call."""
    if isinstance(executor, Cluster):
        for words in executor.news():
            events.warning(words)
