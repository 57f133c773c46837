"""Options after a backbone's name (``mobilenetv2_100:pad_type=same``): which there are, and their values.

A name also comes from the model.json of somebody else, so only what a provider lists is passed on: timm's functions
take options that open files and fetch addresses (``checkpoint_path``, ``pretrained_cfg``), and sizes beyond all memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from headstart.errors import OptionError, did_you_mean

Value = str | int | float | bool


class Values(Protocol):
    """The values that an option takes; ``str()`` says which."""

    def read(self, text: str) -> Value:
        """The value that a text means. Raises ValueError."""


class OneOf:
    """One of some values, as Python writes them."""

    def __init__(self, *values: Value) -> None:
        self.values = {str(value): value for value in values}

    def read(self, text: str) -> Value:
        if text not in self.values:
            raise ValueError
        return self.values[text]

    def __str__(self) -> str:
        return "|".join(self.values)


@dataclass(frozen=True)
class Whole:
    """A whole number from ``low`` to ``high``."""

    low: int
    high: int

    def read(self, text: str) -> int:
        number = int(text) if len(text) < 10 else self.high + 1
        if not self.low <= number <= self.high:
            raise ValueError
        return number

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Share:
    """A number from 0 to below 1."""

    def read(self, text: str) -> float:
        number = float(text)
        if not 0 <= number < 1:  # nor is NaN
            raise ValueError
        return number

    def __str__(self) -> str:
        return "0 to below 1"


def read_options(text: str, allowed: Mapping[str, Values], name: str) -> tuple[tuple[str, Value], ...]:
    """The options in ``pad_type=same,drop_rate=0.1``, in order.

    Raises OptionError, which lists what is allowed, for any other option or value; ``name`` is the backbone's, for the
    message.
    """
    found: dict[str, Value] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        try:
            if key in found:
                raise ValueError
            found[key] = allowed[key].read(value)
        except (KeyError, ValueError):
            what = f"takes no option {part[:60]!r}" if allowed else f"takes no options (:{text[:60]})"
            known = "; ".join(f"{key}={values}" for key, values in allowed.items())
            hint = f"{did_you_mean(key[:60], allowed)} It takes: {known}.".strip() if allowed else "Leave them out."
            raise OptionError(f"backbone {name} {what}", hint, option="backbone") from None
    return tuple(found.items())
