"""Runs the trainings of a study or a comparison on an executor (``headstart.core.executor``), in their order.

Unpickled elsewhere, the worker keeps the decoded photos and the network for the next job there (see ``Worker``). A job
is submitted only after the one that it starts from has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from headstart.core.estimate import Estimate, time_left
from headstart.core.events import Event, Events, Progress, Warned
from headstart.core.executor import Cluster, Executor, tell_news
from headstart.errors import Interrupted
from headstart.workflows.experiment.jobs import Job, work
from headstart.workflows.experiment.results import JobResult
from headstart.workflows.experiment.worker import Finished, Worker

WATCH_SECONDS = 2
"""How often the machines of a cluster are looked at while jobs run."""


class Runner:
    """Runs ``jobs`` (sources first) with ``worker`` on ``executor``. ``line`` makes the message about a training that
    ended from its result, how many have ended, and "about 5 min left".
    """

    def __init__(
        self, jobs: Sequence[Job], worker: Worker, executor: Executor, events: Events,
        line: Callable[[JobResult, int, str], str],
    ) -> None:  # fmt: skip
        self.jobs, self.worker, self.executor, self.events, self._line = jobs, worker, executor, events, line
        weights = {job.folder: work(job, worker.library.manifest(job.arm.images)) for job in jobs}
        self.estimate = Estimate(weights, {job.folder: (job.arm.name, job.point) for job in jobs})
        self._done, self._watched, self._warned = 0, time.monotonic(), set[str]()
        worker.listen = self._heard

    def run(self, where: Path) -> list[JobResult]:
        """The results, in the order of the jobs.

        Raises:
            Interrupted: by Ctrl-C; trainings that have ended are kept in ``where``.
        """
        results: dict[Path, JobResult] = {}
        if isinstance(self.executor, Cluster):
            where.mkdir(parents=True, exist_ok=True)
            self.executor.check(self._paths(), where)
        self._progress("")
        try:
            for job, finished in self._finished():
                results[job.folder] = finished.result
                self._done += 1
                for warning in finished.warnings:
                    self._warn(warning)
                self.estimate.finished(job.folder, finished.seconds)
                if finished.seconds is not None:
                    left = time_left(self._seconds_left()) if self._done < len(self.jobs) else ""
                    self.events.message(self._line(finished.result, self._done, left))
                self._progress("")
        except (KeyboardInterrupt, Interrupted):
            raise Interrupted(
                f"Stopped; {len(results)} of {len(self.jobs)} trainings are done, and nothing in {where} is lost.",
                "Start it again with the same options to go on.",
            ) from None
        return [results[job.folder] for job in self.jobs]

    def _finished(self) -> Iterator[tuple[Job, Finished]]:
        """Jobs as they end. Each is submitted as soon as the one that it starts from has ended."""
        waiting = list(self.jobs)
        running: dict[Future[Finished], Job] = {}
        try:
            while waiting or running:
                open_ones = {job.folder for job in [*waiting, *running.values()]}
                ready = next((job for job in waiting if job.source not in open_ones), None)
                if ready is not None:
                    waiting.remove(ready)
                    running[self.executor.submit(self.worker, ready)] = ready
                for future in wait(running, 0 if ready else self._patience, FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
                self._watch()
        finally:
            for future in running:
                future.cancel()

    @property
    def _patience(self) -> float | None:
        """Seconds to wait for a job before the machines are looked at."""
        return WATCH_SECONDS if isinstance(self.executor, Cluster) else None

    def _watch(self) -> None:
        """Tell what has happened to the machines of a cluster."""
        if time.monotonic() - self._watched > WATCH_SECONDS:
            tell_news(self.executor, self.events)
            self._watched = time.monotonic()

    def _paths(self) -> list[str]:
        """What the jobs read: photos and weights."""
        named = [path for job in self.jobs for path in (job.options.data, job.options.weights, job.options.images)]
        return [*self.worker.experiment.places.values(), *filter(None, named)]

    def _seconds_left(self) -> float | None:
        """The estimate, where several jobs run at a time."""
        left = self.estimate.seconds_left()
        slots = self.executor.slots if isinstance(self.executor, Cluster) else 1
        return None if left is None else left / max(1, min(slots, len(self.jobs) - self._done))

    def _heard(self, job: Job, event: Event) -> None:
        """Pass on progress and warnings of a job that runs in this process. Its messages are left out: they would be
        the same for every job.
        """
        if isinstance(event, Warned):
            self._warn(event.text)
        part = event.done / event.total if isinstance(event, Progress) and event.task == "training" else 0.0
        self.estimate.progressed(job.folder, part)
        if isinstance(event, Progress):
            self._progress(job.label)
            self.events.send(event)

    def _warn(self, text: str) -> None:
        """Each warning once, though every job may give it."""
        if text not in self._warned:
            self._warned.add(text)
            self.events.send(Warned(text))

    def _progress(self, note: str) -> None:
        self.events.progress("trainings", self._done, len(self.jobs), note, self._seconds_left())
