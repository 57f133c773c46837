"""What is said while work goes on. In: sentences, progress, epochs. Out: lines and bars on standard error; standard
output is left to results.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

HEARTBEAT_SECONDS = 30.0


class Voice:
    """Speaks on standard error; ``quiet`` keeps it to warnings. Use as a context manager around long work."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet
        # A notebook draws bars with ipywidgets, where it has them.
        self.live = self.console.is_terminal or (self.console.is_jupyter and find_spec("ipywidgets") is not None)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._spoke = time.monotonic()

    def __enter__(self) -> Voice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_bars()

    def say(self, sentence: str) -> None:
        """One line of news."""
        if not self.quiet:
            self._close_bars()
            self.console.print(sentence, markup=False)

    def warn(self, sentence: str) -> None:
        """One line that should not be missed."""
        self._close_bars()
        self.console.print(f"Note: {sentence}", style="yellow", markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A small table among the messages."""
        if not self.quiet:
            self._close_bars()
            self.console.print(make_table(title, columns, rows))

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """How far a piece of work is; bars appear only on a terminal, and go away when done."""
        if self.quiet or (done >= total and what not in self._tasks):
            return
        if not self.live:
            self._heartbeat(what, done, total, note)
            return
        if self._bars is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
            )
            self._bars = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
            self._bars.start()
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, note="")
        self._bars.update(self._tasks[what], completed=done, note=note)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(what))
            if not self._tasks:
                self._close_bars()

    def _heartbeat(self, what: str, done: int, total: int, note: str) -> None:
        """In a log file: a line now and then, so that silence does not look like a hang."""
        now = time.monotonic()
        if now - self._spoke > HEARTBEAT_SECONDS:
            self._spoke = now
            self.console.print(f"  {what}: {done} of {total}{f'   {note}' if note else ''}", markup=False)

    def step(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        """The epoch loop's progress, with an estimate for the whole training."""
        note = f"epoch {epoch}/{epochs}  loss {loss:.3f}"
        self.progress("training", (epoch - 1) * batches + batch, epochs * batches, note)

    def epoch(self, row: Any) -> None:
        """One finished epoch."""
        if not self.quiet:
            target = self._bars.console if self._bars is not None else self.console
            target.print(
                f"  epoch {row.epoch:3d}   train loss {row.train_loss:.3f}  accuracy {row.train_accuracy:.3f}"
                f"   val loss {row.val_loss:.3f}  accuracy {row.val_accuracy:.3f}   {row.seconds:.1f} s",
                markup=False,
            )

    def _close_bars(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._tasks = None, {}


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A plain table that survives being piped into a file."""
    table = Table(
        title=title or None, title_justify="left", box=None, pad_edge=False, title_style="bold", padding=(0, 2)
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[format(v, "g") if isinstance(v, float) else str(v) for v in row])
    return table
