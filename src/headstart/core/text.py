"""Numbers, lists and durations as text."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any


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


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that every reader takes: null for NaN and infinities, which JSON has not; the bytes of a file name that are
    no UTF-8 are escaped, and come back when it is read.
    """
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # surrogates can only be inside strings


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
