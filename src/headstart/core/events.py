"""What long work reports while it runs, and who listens: a console, a notebook, a page.

Work below ``reporting`` knows this protocol and no console. A listener is any callable that takes an event::

    hs.train("photos/", listener=lambda event: print(event))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Message:
    """One line of news."""

    text: str


@dataclass(frozen=True)
class Warned:
    """One line that should not be missed."""

    text: str


@dataclass(frozen=True)
class Table:
    """A small table among the messages: the plan, for example."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Progress:
    """How far a task is: ``done`` of ``total`` steps, with a short note beside it.

    ``seconds_left``: what the work itself estimates for all that is still to come, a whole study for example; None
    where a listener may tell from ``done`` and the time that went by.
    """

    task: str
    done: int
    total: int
    note: str = ""
    seconds_left: float | None = None


@dataclass(frozen=True)
class EpochEnd:
    """One finished epoch: ``row`` is a line of history.csv."""

    row: Any


@dataclass(frozen=True)
class Finding:
    """A problem that a check of photos found: its kind ("duplicate", "label", …), severity and one sentence."""

    kind: str
    severity: str
    text: str


Event = Message | Warned | Table | Progress | EpochEnd | Finding
Listener = Callable[[Event], None]


class Events:
    """The reporting end, passed to long work: each method sends one event to every listener. Without listeners the
    work is silent.
    """

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def send(self, event: Event) -> None:
        """Pass an event on as it is."""
        for listener in self.listeners:
            listener(event)

    def message(self, text: str) -> None:
        """One line of news."""
        self.send(Message(text))

    def warning(self, text: str) -> None:
        """One line that should not be missed."""
        self.send(Warned(text))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A small table among the messages."""
        self.send(Table(title, tuple(columns), tuple(map(tuple, rows))))

    def progress(self, task: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        """How far ``task`` is; ``done`` equal to ``total`` ends it."""
        self.send(Progress(task, done, total, note, seconds_left))

    def epoch(self, row: Any) -> None:
        """One finished epoch."""
        self.send(EpochEnd(row))

    def finding(self, kind: str, severity: str, text: str) -> None:
        """A problem that a check found."""
        self.send(Finding(kind, severity, text))
