"""One search by several searchers: each is a job of an executor, and all share the storage of one Optuna study."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path

from headstart.core.events import Events
from headstart.core.executor import Cluster, Executor, tell_news
from headstart.core.text import plural
from headstart.errors import Interrupted
from headstart.training.config import TrainOptions
from headstart.training.preparation import Prepared, prepare
from headstart.workflows.tune.search import Search, in_words, open_study, problem_of
from headstart.workflows.tune.space import Range

WATCH_SECONDS = 2
_HERE: list[tuple[TrainOptions, Prepared]] = []


@dataclass(frozen=True)
class Searcher:
    """What each job does: trials of the study until so many have ended, whoever ran them. Plain values."""

    options: TrainOptions
    space: Mapping[str, Range]
    storage: str
    study: str
    trials: int
    seconds: float | None
    family: str

    def __call__(self, number: int) -> int:
        """Search as the searcher of this number. Raises HeadstartError."""
        if not _HERE or _HERE[0][0] != self.options:
            _HERE[:] = [(self.options, prepare(self.options, Events()))]
        study = open_study(self.storage, self.study, self.options.seed + 1 + number)
        Search(_HERE[0][1], self.space, study, Events(), f"{self.family}-{number}").run(self.trials, self.seconds)
        return number


@dataclass
class Together:
    """The searchers of one search, as many as an executor runs at a time."""

    search: Search
    executor: Executor
    storage: str
    trials: int
    seconds: float | None

    def run(self, folder: Path) -> None:
        """Search, and tell of each trial that has ended. Raises HeadstartError, Interrupted."""
        prepared, study = self.search.prepared, self.search.study
        storage = self.storage if "://" in self.storage else os.path.abspath(os.path.expanduser(self.storage))
        searcher = Searcher(
            prepared.options, self.search.space, storage, study.study_name, self.trials, self.seconds,
            uuid.uuid4().hex[:8],
        )  # fmt: skip
        told = {trial.number for trial in self.search.ended}
        if len(told) >= self.trials:
            return
        several = self.executor.slots if isinstance(self.executor, Cluster) else os.cpu_count() or 1
        if isinstance(self.executor, Cluster):
            folder.mkdir(parents=True, exist_ok=True)
            read = (prepared.options.data, prepared.options.weights, prepared.options.images, storage)
            self.executor.check([path for path in read if path], folder)
        self.search.begin()  # before they start: one trial is of the plan's own settings, not one of each searcher
        running = {
            self.executor.submit(searcher, number) for number in range(min(several, self.trials - len(told)))
        }  # fmt: skip
        try:
            while running:
                self._wait(running, told)
        except (KeyboardInterrupt, Interrupted):
            kept = f"Stopped; {plural(len(self.search.ended), 'trial')} of {self.trials} are kept."
            raise Interrupted(kept, "The same command goes on.") from None
        finally:
            for future in running:
                future.cancel()

    def _wait(self, running: set[Future[int]], told: set[int]) -> None:
        """Wait for a moment, and tell what happened meanwhile; trials do not end in the order of their numbers."""
        events = self.search.events
        for future in wait(running, WATCH_SECONDS, FIRST_COMPLETED).done:
            running.remove(future)
            future.result()
        tell_news(self.executor, events)
        for trial in self.search.ended:
            if trial.number in told:
                continue
            told.add(trial.number)
            value = "" if trial.value is None else f" val {trial.value:.3f}"
            words = problem_of(trial) or f"{trial.state.name.lower()}{value}"
            events.message(f"trial {len(told)} of {self.trials}: {words}   {in_words(trial.params)}")
        events.progress("trials", min(len(told), self.trials), self.trials)
