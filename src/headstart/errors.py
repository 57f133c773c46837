"""Errors a user can cause or meet: what is wrong, where, and what to do. In: nothing. Out: the exceptions all modules
raise.

The command line prints ``str(error)`` and leaves with ``error.exit_code``; nothing else may reach a user for a mistake
of theirs.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HeadstartError(Exception):
    """One clear message: ``problem`` says what is wrong and where, ``hint`` what to do about it."""

    exit_code = 2

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem}\n  {hint}" if hint else problem)
        self.problem = problem
        self.hint = hint


class DataError(HeadstartError):
    """The photos, their labels or their splits cannot be used as they are."""


class WeightsError(HeadstartError):
    """Pretrained weights that are missing, damaged, unreachable or that do not fit the network."""


class DownloadError(HeadstartError):
    """A download that cannot be made (no network, not found, disk full) or whose bytes are not those that were
    promised.
    """


class OptionError(HeadstartError):
    """An option, or a combination of options, that has no meaning."""


class RunError(HeadstartError):
    """A run folder that cannot be read, written, resumed or overwritten."""


class TrainingError(HeadstartError):
    """Training cannot go on (a loss that is not finite, memory that does not suffice)."""


class Interrupted(HeadstartError):  # noqa: N818 - it is an event more than an error
    """Ctrl-C: the work stopped at a safe point; ``hint`` says how to resume it."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"Did you mean 'resnet18'?"`` for the closest of the known words, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
