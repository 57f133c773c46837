"""Numbers, lists and durations as text."""

from __future__ import annotations

from collections.abc import Sequence


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


def quoted(text: str, most: int = 80) -> str:
    """Foreign text in a message: in quotes, on one line, cut where it is long."""
    return repr(text if len(text) <= most else f"{text[: most - 1]}…")


def duration(seconds: float) -> str:
    """``4.5 s``, ``45 s``, ``10 min``, ``1.5 h``."""
    number, unit = (seconds, "s") if seconds < 90 else (seconds / 60, "min")
    number, unit = (number, unit) if number < 90 else (number / 60, "h")
    return f"{number:.0f} {unit}" if number >= 9.95 else f"{number:.1f} {unit}"


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of an error's message, at most so many characters of it, or its type."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return line if len(line) <= most else f"{line[:most]}…"
