"""Options whose text, as a person types it, is not their value. In: an option's name and its text. Out: the value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headstart.core.lengths import seconds_of
from headstart.errors import OptionError


def numbers(name: str, text: str) -> tuple[float, ...]:
    """The numbers of a list, ``0.5,0.3``. Raises OptionError that names the option."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        problem = f"`{name}={text!r}` is not a list of numbers."
        raise OptionError(problem, f"Write it like `{name}=(0.5, 0.3)`.", option=name) from None


def minutes(name: str, text: str) -> float:
    """Minutes of a length of time, ``20m`` or ``1h30m``. Raises OptionError that names the option."""
    return seconds_of(text, name, bare=False) / 60


READ: Mapping[str, Callable[[str, str], Any]] = {
    "dropout": numbers, "mean": numbers, "std": numbers, "budget_minutes": minutes,
}  # fmt: skip
"""Option → what reads its text."""
