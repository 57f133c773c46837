"""Events that long work sends to its listeners: a console, a notebook, a page.

A listener is any callable that takes an event::

    hs.train("photos/", listener=lambda event: print(event))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.core.text import joined, line


@dataclass(frozen=True)
class Message:
    """One line of information."""

    text: str


@dataclass(frozen=True)
class Warned:
    """A warning of one line, or with a list below it."""

    text: str


@dataclass(frozen=True)
class Table:
    """A small table, such as the plan."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` steps of a task, with a short note.

    ``seconds_left``: an estimate by the work itself, for a whole study for example; None where a listener can compute
    it from ``done`` and the time spent.
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
OnProgress = Callable[[int, int], None]
"""Called with the steps of a task that are done, and their total."""


class Events:
    """Passed to long work: each method sends one event to every listener. Without listeners the work is silent.

    Control characters and line breaks of names in a text are escaped here, for every listener.
    """

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def send(self, event: Event) -> None:
        """Send any event."""
        for listener in self.listeners:
            listener(event)

    def message(self, text: str) -> None:
        """One line of information."""
        self.send(Message(line(text)))

    def warning(self, text: str, lines: Iterable[str] = ()) -> None:
        """A warning of one line; ``lines``: what is listed below it."""
        self.send(Warned(joined([text, *(f"    {one}" for one in lines)])))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A small table."""
        cells = (tuple(line(v) if isinstance(v, str) else v for v in row) for row in rows)
        self.send(Table(line(title), tuple(map(line, columns)), tuple(cells)))

    def progress(self, task: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        """The progress of a task; ``done`` equal to ``total`` ends it."""
        self.send(Progress(line(task), done, total, line(note), seconds_left))

    def epoch(self, row: Any) -> None:
        """One finished epoch."""
        self.send(EpochEnd(row))

    def finding(self, kind: str, severity: str, text: str) -> None:
        """A problem that a check found."""
        self.send(Finding(kind, severity, line(text)))
