"""Numbers, lists, durations and text from outside, as text that can be shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headstart._printable import brief, elided, line, printable, quoted

__all__ = [
    "brief",
    "count",
    "duration",
    "elided",
    "joined",
    "line",
    "listed",
    "plural",
    "printable",
    "quoted",
]


def count(number: int) -> str:
    """3000 → "3,000"."""
    return f"{number:,}"


def plural(number: int, noun: str, more: str = "") -> str:
    """1 → "1 photo", 3000 → "3,000 photos"; ``more`` is an irregular plural."""
    return f"{count(number)} {noun if number == 1 else more or noun + 's'}"


def listed(items: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """The first ``most`` items and the number of the others: "a, b and 3 more"."""
    rest = len(items) - most
    return separator.join(items[:most]) + (f"{separator.strip(' ,')} and {count(rest)} more" if rest > 0 else "")


def duration(seconds: float) -> str:
    """``4.5 s``, ``45 s``, ``10 min``, ``1.5 h``."""
    number, unit = (seconds, "s") if seconds < 90 else (seconds / 60, "min")
    number, unit = (number, unit) if number < 90 else (number / 60, "h")
    return f"{number:.0f} {unit}" if number >= 9.95 else f"{number:.1f} {unit}"


def joined(lines: Iterable[str]) -> str:
    """A text of these lines; a line break within one of them, in a file's name for example, is escaped, and a line
    of more characters than anyone reads is cut."""
    return "\n".join(map(line, lines))
