"""What is said while work goes on. In: sentences, progress, epochs. Out: lines and bars on standard error; standard
output is left to results.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table as RichTable

from headstart.core.events import EpochEnd, Event, Events, Listener, Message, Progress, Table, Warned

HEARTBEAT_SECONDS = 30.0


class Console:
    """A listener that shows events on standard error; ``quiet`` keeps it to warnings. Standard output is left to
    results.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet
        # A notebook draws bars with ipywidgets, where it has them.
        self.live = self.console.is_terminal or (self.console.is_jupyter and find_spec("ipywidgets") is not None)
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._spoke = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Warned):
            self.warning(event.text)
        elif self.quiet:
            return
        elif isinstance(event, Message):
            self._print(event.text)
        elif isinstance(event, Table):
            self._print(make_table(event.title, event.columns, event.rows))
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, EpochEnd):
            self._epoch(event.row)

    def warning(self, text: str) -> None:
        """One line that should not be missed."""
        self.close()
        self.console.print(f"Note: {text}", style="yellow", markup=False)

    def _print(self, what: Any) -> None:
        self.close()
        self.console.print(what, markup=False)

    def _progress(self, event: Progress) -> None:
        """Bars appear only on a terminal, and go away when done."""
        if event.done >= event.total and event.task not in self._tasks:
            return
        if not self.live:
            self._heartbeat(event)
            return
        if self._bars is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
            )
            self._bars = Bars(*columns, console=self.console, transient=True, refresh_per_second=4)
            self._bars.start()
        if event.task not in self._tasks:
            self._tasks[event.task] = self._bars.add_task(event.task, total=event.total, note="")
        self._bars.update(self._tasks[event.task], completed=event.done, note=event.note)
        if event.done >= event.total:
            self._bars.remove_task(self._tasks.pop(event.task))
            if not self._tasks:
                self.close()

    def _heartbeat(self, event: Progress) -> None:
        """In a log file: a line now and then, so that silence does not look like a hang."""
        now = time.monotonic()
        if now - self._spoke > HEARTBEAT_SECONDS:
            self._spoke = now
            note = f"   {event.note}" if event.note else ""
            self.console.print(f"  {event.task}: {event.done} of {event.total}{note}", markup=False)

    def _epoch(self, row: Any) -> None:
        target = self._bars.console if self._bars is not None else self.console
        target.print(
            f"  epoch {row.epoch:3d}   train loss {row.train_loss:.3f}  accuracy {row.train_accuracy:.3f}"
            f"   val loss {row.val_loss:.3f}  accuracy {row.val_accuracy:.3f}   {row.seconds:.1f} s",
            markup=False,
        )

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._tasks = None, {}


@contextmanager
def console_events(quiet: bool = False, *listeners: Listener) -> Iterator[Events]:
    """Events that a console and other listeners show, around long work."""
    console = Console(quiet)
    try:
        yield Events(console, *listeners)
    finally:
        console.close()


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> RichTable:
    """A plain table that survives being piped into a file."""
    table = RichTable(
        title=title or None, title_justify="left", box=None, pad_edge=False, title_style="bold", padding=(0, 2)
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[format(v, "g") if isinstance(v, float) else str(v) for v in row])
    return table
