"""A listener that shows what happens on standard error, in a terminal, a notebook or a log file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from headstart.core.events import EpochEnd, Event, Events, Listener, Message, Progress, Table, Warned
from headstart.core.text import printable

HEARTBEAT_SECONDS = 30.0
MEASURABLE_SECONDS = 1.0
"""Time after which the speed of a task is known well enough to say how long the rest takes."""


class Console:
    """Shows events on standard error; standard output is left to results. ``quiet``: warnings only; ``words``: rewrites
    a text of the library, as the command line does with options.
    """

    def __init__(self, quiet: bool = False, words: Callable[[str], str] = str) -> None:
        # Text from outside is not Rich's markup, nor are its colons emoji.
        self.console = RichConsole(stderr=True, highlight=False, markup=False, emoji=False)
        terminal, jupyter = self.console.is_terminal, self.console.is_jupyter
        self.console.soft_wrap = not (terminal or jupyter)  # a log file's lines are not broken
        self.quiet, self.words = quiet, words
        self.live = terminal or (jupyter and find_spec("ipywidgets") is not None)  # Rich's bars need it in a notebook
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._clocks: dict[str, Clock] = {}
        self._spoke = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Warned):
            self.warning(event.text)
        elif self.quiet:
            return
        elif isinstance(event, Message):
            self._print(self._said(event.text))
        elif isinstance(event, Table):
            rows = [[self._said(v) if isinstance(v, str) else v for v in row] for row in event.rows]
            self._print(make_table(event.title, event.columns, rows))
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, EpochEnd):
            row, target = event.row, self._bars.console if self._bars is not None else self.console
            target.print(
                f"  epoch {row.epoch:3d}   train loss {row.train_loss:.3f}  accuracy {row.train_accuracy:.3f}"
                f"   val loss {row.val_loss:.3f}  accuracy {row.val_accuracy:.3f}   {row.seconds:.1f} s"
            )

    def warning(self, text: str) -> None:
        """One line that should not be missed."""
        self._print(f"Note: {self._said(text)}", style="yellow")

    def _said(self, text: str) -> str:
        """A text as it is shown: what hides or moves the cursor is escaped once more, for events of other senders."""
        return printable(self.words(text), keep="\n")

    def _print(self, what: Any, style: str | None = None) -> None:
        self.close()
        self.console.print(what, style=style)

    def _progress(self, event: Progress) -> None:
        """Bars appear only on a terminal, and go away when done."""
        clock = self._clocks.setdefault(event.task, Clock(event.done))
        if event.done < clock.done:  # another task of the same name
            clock = self._clocks[event.task] = Clock(event.done)
        clock.update(event)
        if event.done >= event.total:
            del self._clocks[event.task]
        if self.live:
            self._bar(event, clock)
        else:
            self._heartbeat(event, clock)

    def _bar(self, event: Progress, clock: Clock) -> None:
        if event.task not in self._tasks:
            if event.done >= event.total:
                return
            if self._bars is None:
                columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
                notes = (TextColumn("{task.fields[note]}", markup=False), TimeLeft(Column(no_wrap=True)))
                how: dict[str, Any] = {"transient": True, "refresh_per_second": 4, "redirect_stdout": False}
                self._bars = Bars(*columns, *notes, console=self.console, **how)
                self._bars.start()
            self._tasks[event.task] = self._bars.add_task(
                event.task, total=event.total, completed=event.done, note=event.note, clock=clock
            )
        assert self._bars is not None
        self._bars.update(self._tasks[event.task], completed=event.done, note=event.note)
        if event.done >= event.total:
            self._bars.remove_task(self._tasks.pop(event.task))
            if not self._tasks:
                self.close()

    def _heartbeat(self, event: Progress, clock: Clock) -> None:
        """A line in a log file every half minute, so that silence does not look like a hang."""
        now = time.monotonic()
        if event.done < event.total and now - self._spoke > HEARTBEAT_SECONDS:
            self._spoke = now
            parts = (f"  {event.task}: {event.done} of {event.total}", event.note, clock.text())
            self.console.print("   ".join(part for part in parts if part))

    def close(self) -> None:
        """Remove the progress bars."""
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._tasks = None, {}


class Clock:
    """The time left of a task: by its own estimate, or by its speed so far. Between updates it counts down."""

    def __init__(self, done: int) -> None:
        self.first, self.done, self.began = done, done, time.monotonic()
        self.end: float | None = None

    def update(self, event: Progress) -> None:
        """Record the task's progress."""
        now, self.done = time.monotonic(), event.done
        if event.seconds_left is not None:
            self.end = now + event.seconds_left
        elif event.done > self.first and now - self.began >= MEASURABLE_SECONDS:
            self.end = now + (now - self.began) / (event.done - self.first) * (event.total - event.done)

    def text(self) -> str:
        """ "about 25 min left", or an empty string while it is unknown."""
        if self.end is None:
            return ""
        seconds = max(0.0, self.end - time.monotonic())
        if seconds < 60:
            return f"about {max(5, 5 * math.ceil(seconds / 5))} s left"
        return f"about {seconds / 3600:.1f} h left" if seconds >= 5400 else f"about {math.ceil(seconds / 60)} min left"


class TimeLeft(ProgressColumn):
    """The text of a task's clock."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["clock"].text(), style="progress.remaining")


@contextmanager
def console_events(quiet: bool = False, listener: Listener | None = None) -> Iterator[Events]:
    """Events for long work: to the console and the listener; with ``quiet`` and a listener, to the listener alone."""
    console = None if quiet and listener else Console(quiet)
    try:
        yield Events(*(one for one in (console, listener) if one))
    finally:
        if console:
            console.close()


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> RichTable:
    """A table without lines, readable in a file too."""
    heads = (Column(column, overflow="fold") for column in columns)
    table = RichTable(*heads, title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 2))
    table.pad_edge = False
    for row in rows:
        table.add_row(*[format(v, "g") if isinstance(v, float) else str(v) for v in row])
    return table
