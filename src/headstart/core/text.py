"""Numbers, lists, durations and text from outside, as text that can be shown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterable, Sequence
from typing import Any

from headstart._printable import as_written, brief, elided, escaped, line, printable, quoted

__all__ = [
    "as_written", "brief", "count", "duration", "elided", "escaped", "first_line", "first_lines", "joined",
    "json_text", "line", "listed", "numbered", "plural", "printable", "quoted",
]  # fmt: skip
_FAR = re.compile(r"[^\x20-\x7e\xa1-\xac\xae-\u05ff]+")
"""Where characters may be that cannot be shown; the letters nearby are passed over quickly."""


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


def first_lines(lines: Sequence[str], most: int = 40) -> list[str]:
    """The first ``most`` lines, and one with the number of the others: "… and 1,234 more"."""
    rest = len(lines) - most
    return [*lines[:most], *([f"… and {count(rest)} more"] if rest > 0 else [])]


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line that an error says, or its name, without a full stop."""
    said = next((one.strip() for one in str(error).splitlines() if one.strip()), type(error).__name__)
    return brief(said, most).rstrip(".")


def numbered(name: str, taken: Container[str]) -> str:
    """The name, or "name (2)" and so on where it is taken: phones call every photo image.jpg."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    return found


def duration(seconds: float) -> str:
    """``4.5 s``, ``45 s``, ``10 min``, ``1.5 h``."""
    number, unit = (seconds, "s") if seconds < 90 else (seconds / 60, "min")
    number, unit = (number, unit) if number < 90 else (number / 60, "h")
    return f"{number:.0f} {unit}" if number >= 9.95 else f"{number:.1f} {unit}"


def joined(lines: Iterable[str]) -> str:
    """A text of these lines; a line break within one of them, in a file's name for example, is escaped, and a line
    of more characters than anyone reads is cut."""
    return "\n".join(map(line, lines))


def json_text(value: Any, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON that every reader takes: null for NaN and infinities, which JSON has not. Letters of all languages stay
    readable; what ``printable`` would escape is escaped, the bytes of a file name that are no UTF-8 among it, and comes
    back when it is read.
    """
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    return "\n".join(one if one.isprintable() else _FAR.sub(_escapes, one) for one in text.split("\n"))


def _escapes(found: re.Match[str]) -> str:
    return "".join(char if printable(char) == char else json.dumps(char)[1:-1] for char in found[0])


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
