"""The errors that users can cause or meet: what is wrong, where, and what to do.

The core knows no command line. A message writes an option as Python does, in backticks: ```shots=0` must be at least
1``. That is what a Python user reads; ``headstart.cli.messages`` turns it into ``--shots 0``. A call in backticks,
```resume('runs/pets')```, becomes a command in the same way.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from headstart._printable import brief, line

MOST_LINES = 1000
"""Lines below a problem, at most."""


class HeadstartError(Exception):
    """One clear message: ``problem`` says what is wrong and where, ``hint`` what to do about it; each is one line, in
    which control characters and line breaks of quoted names are escaped.

    ``option``: the name of the option that is wrong, as Python spells it, where there is one. ``lines``: what is listed
    below the problem, a line each.
    """

    exit_code = 2

    def __init__(self, problem: str, hint: str = "", *, option: str | None = None, lines: Sequence[str] = ()) -> None:
        super().__init__(problem, hint)
        self.problem = line(problem)
        self.hint = line(hint)
        self.option = option
        rest = len(lines) - MOST_LINES
        self.lines = (*map(line, lines[:MOST_LINES]), *([f"… and {rest:,} more"] if rest > 0 else []))

    def __str__(self) -> str:
        return "\n".join([self.problem, *(f"    {one}" for one in self.lines), *(f"  {h}" for h in [self.hint] if h)])


class DataError(HeadstartError):
    """The photos, their labels or their splits cannot be used as they are."""


class WeightsError(HeadstartError):
    """Pretrained weights that are missing, damaged, unreachable or that do not fit the network."""


class DownloadError(HeadstartError):
    """A download that cannot be made (no network, not found, disk full), or whose bytes fail their checksum."""


class OptionError(HeadstartError):
    """An option, or a combination of options, that has no meaning."""


class RunError(HeadstartError):
    """A run folder that cannot be read, written, resumed or overwritten."""


class TrainingError(HeadstartError):
    """Training cannot go on: a loss that is not finite, too little memory."""


class Interrupted(HeadstartError):  # noqa: N818 - it is an event more than an error
    """Ctrl-C: the work stopped at a safe point; ``hint`` says how to resume it."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"Did you mean 'resnet18'?"`` for the closest of the known words, or an empty string."""
    close = difflib.get_close_matches(word[:200], list(known), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(brief(c)) for c in close)}?" if close else ""


def option(name: str, value: object = None) -> str:
    """An option in a message: ``option("shots", 0)`` is ```shots=0```, ``option("shots")`` is ```shots```."""
    return f"`{name}`" if value is None else f"`{name}={value}`"
